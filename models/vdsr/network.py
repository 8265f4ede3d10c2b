"""VDSR: very deep super-resolution (Kim, Lee, Lee, CVPR 2016, arXiv 1511.04587)."""

from __future__ import annotations

from collections.abc import Sequence

from common.nn.keras_compat import keras
from common.nn.layers import ShiftScale
from common.nn.luma import CORE, luma_model

layers = keras.layers

SCALES = (2, 3, 4)
JOINT = True  # one network may have several scales


def build(scale: int | Sequence[int], num_layers: int = 20, num_filters: int = 64) -> keras.Model:
    """Build VDSR: RGB in and out, the network on luma, between bicubic enlargement and colour.

    Args:
        scale: 2, 3 or 4, or a tuple of them; all scales share the weights.
        num_layers: convolutions of the luma network.
        num_filters: features between them.

    Returns:
        a Keras model: RGB float32 (N, H, W, 3) in [0, 255] -> (N, H*scale, W*scale, 3), unclipped;
        for several scales a dict of these, keyed "x2", "x3", "x4".
    """
    return luma_model("vdsr", scale, core(num_layers, num_filters))


def core(num_layers: int, num_filters: int) -> keras.Model:
    """Build the luma network: luma (N, H, W, 1) of the enlarged image in [0, 255] -> refined."""
    convs = [layers.Conv2D(num_filters, 3, padding="same", activation="relu",
                           kernel_initializer="he_normal", name=f"conv{i}")
             for i in range(1, num_layers)]
    # The input stays float32 under mixed precision, and so does the sum.
    last = layers.Conv2D(1, 3, padding="same", kernel_initializer="he_normal", dtype="float32",
                         name=f"conv{num_layers}")
    luma = keras.Input((None, None, 1), name="luma")
    x = ShiftScale(0.0, 1 / 255, name="to_unit")(luma)
    for convolution in convs:
        x = convolution(x)
    residual = ShiftScale(0.0, 255.0, name="to_levels")(last(x))
    refined = layers.Add(name="add_input", dtype="float32")([luma, residual])
    return keras.Model(luma, refined, name=CORE)
