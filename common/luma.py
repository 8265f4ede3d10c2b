"""The frame of networks that refine the luma of an image that bicubic has enlarged already."""

from common.keras_compat import keras
from common.layers import BicubicUpscale, Channels, RgbToYcbcr, YcbcrToRgb
from common.scales import scale_name, scale_tuple

layers = keras.layers


def luma_model(name, scale, core):
    """RGB -> YCbCr -> bicubic enlargement -> `core` on Y -> RGB.

    Args:
        name: of the model.
        scale: integer, or a tuple of them for one model that shares the core.
        core: a Keras model (N, H, W, 1) -> (N, H, W, 1) on luma in [0, 255] (studio range).

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


def luma_head(model, scale):
    """The same layers as a model from RGB to the refined luma (N, H*scale, W*scale, 1)."""
    return keras.Model(model.input, model.get_layer(f"ycbcr_x{scale}").input[0])
