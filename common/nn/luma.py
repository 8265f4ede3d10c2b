"""Networks that refine the luma of a bicubic enlargement: their common part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from common.nn.keras_compat import keras
from common.nn.layers import BicubicUpscale, Channels, RgbToYcbcr, YcbcrToRgb
from common.nn.losses import PIXEL_LOSSES
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


def luma_heads(model: keras.Model, options: Any) -> dict[int | None, keras.Model]:
    """The models that training runs, as `heads` of a `PixelStep`.

    Returns:
        {scale: model from RGB to the refined luma (N, H*scale, W*scale, 1)} over the same layers;
        for luma patches (--dataset hdf5) {None: the core}.
    """
    if options.dataset == "hdf5":
        return {None: model.get_layer(CORE)}
    return {s: keras.Model(model.input, model.get_layer(f"ycbcr_x{s}").input[0])
            for s in scale_tuple(options.scale)}


def luma_loss(name: str) -> Callable:
    """A pixel loss between a luma head's output and the luma of the HR patch, both over 255.

    The HR patch is RGB or luma (one channel) in [0, 255].
    """
    loss, to_ycbcr = PIXEL_LOSSES[name], RgbToYcbcr()

    def luma_of(hr):
        return hr if hr.shape[-1] == 1 else to_ycbcr(hr)[..., :1]

    return lambda luma, hr: loss(luma / 255, luma_of(hr) / 255)
