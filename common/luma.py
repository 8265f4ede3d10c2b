"""The frame of networks that refine the luma of an image that bicubic has enlarged already."""

from common.keras_compat import keras
from common.layers import BicubicUpscale, Channels, RgbToYcbcr, YcbcrToRgb
from common.losses import PIXEL_LOSSES
from common.scales import scale_name, scale_tuple

layers = keras.layers

CORE = "luma_network"  # what the model that refines luma is called within the whole


def luma_model(name, scale, core):
    """RGB -> YCbCr -> bicubic enlargement -> `core` on Y -> RGB.

    Args:
        name: of the model.
        scale: integer, or a tuple of them for one model that shares the core.
        core: a Keras model named `CORE`, (N, H, W, 1) -> (N, H, W, 1), on luma of the studio range
            in [0, 255].

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


def luma_heads(model, scale):
    """The same layers as {scale: model from RGB to the refined luma (N, H*scale, W*scale, 1)}."""
    return {s: keras.Model(model.input, model.get_layer(f"ycbcr_x{s}").input[0])
            for s in scale_tuple(scale)}


def luma_loss(name, margin=0):
    """A pixel loss between a luma head's output and the luma of the RGB patch, both in [0, 1].

    Args:
        name: of `PIXEL_LOSSES`.
        margin: pixels of the patch's border, where the zeros around it reach, that do not count.
    """
    loss, to_ycbcr = PIXEL_LOSSES[name], RgbToYcbcr()

    def inner(luma):
        return luma[:, margin:-margin, margin:-margin] if margin else luma

    return lambda luma, hr: loss(inner(luma) / 255, inner(to_ycbcr(hr)[..., :1]) / 255)
