"""Networks that refine the luma of a bicubic enlargement: their common part."""

from __future__ import annotations

from collections.abc import Sequence

from common.nn.keras_compat import keras
from common.nn.layers import BicubicUpscale, Channels, RgbToYcbcr, YcbcrToRgb
from common.scales import scale_name, scale_tuple

layers = keras.layers

CORE = "luma_network"  # name of the luma model within the whole one


def luma_model(name: str, scale: int | Sequence[int], core: keras.Model) -> keras.Model:
    """RGB -> YCbCr -> bicubic enlargement -> `core` on Y -> RGB.

    Args:
        name: of the model.
        scale: integer, or a tuple of them for one model that shares the core.
        core: a Keras model named `CORE`, (N, H, W, 1) -> (N, H, W, 1), on luma in the studio range
            (16..235).

    Returns:
        a Keras model: RGB float32 (N, H, W, 3) in [0, 255] -> (N, H*scale, W*scale, 3), unclipped;
        for several scales a dict of these, keyed "x2", "x3", ...
    """
    lr = keras.Input((None, None, 3), name="lr")
    ycbcr = RgbToYcbcr(name="to_ycbcr")(lr)
    answers = {}
    for s in scale_tuple(scale):
        large = BicubicUpscale(s, name=f"bicubic_x{s}")(ycbcr)
        luma = core(Channels(0, 1, name=f"luma_x{s}", dtype="float32")(large))
        chroma = Channels(1, 3, name=f"chroma_x{s}", dtype="float32")(large)
        refined = layers.Concatenate(name=f"ycbcr_x{s}", dtype="float32")([luma, chroma])
        answers[f"x{s}"] = YcbcrToRgb(name=f"x{s}")(refined)
    return keras.Model(lr, answers if isinstance(scale, (tuple, list)) else answers[f"x{scale}"],
                       name=f"{name}_{scale_name(scale)}")
