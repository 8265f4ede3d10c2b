"""SRCNN: the first convolutional network for super-resolution (Dong et al., arXiv 1501.00092)."""

from __future__ import annotations

from collections.abc import Sequence

from common.nn.keras_compat import keras
from common.nn.layers import EdgePad, ShiftScale
from common.nn.luma import CORE, luma_model

layers = keras.layers

SCALES = (2, 3, 4)


def build(scale: int, kernels: Sequence[int] = (9, 5, 5),
          num_filters: Sequence[int] = (64, 32)) -> keras.Model:
    """Build SRCNN: RGB in and out, the network on luma, between bicubic enlargement and colour.

    Args:
        scale: 2, 3 or 4; all have the same layers.
        kernels: sides of the three kernels: (9, 1, 5), (9, 3, 5) or (9, 5, 5) in the paper.
        num_filters: features after the first and the second layer.

    Returns:
        a Keras model: RGB float32 (N, H, W, 3) in [0, 255] -> (N, H*scale, W*scale, 3), unclipped.
    """
    return luma_model("srcnn", scale, core(kernels, num_filters))


def core(kernels: Sequence[int], num_filters: Sequence[int]) -> keras.Model:
    """Build the luma network: (N, H, W, 1) luma of the enlarged image in [0, 255] -> refined luma.

    The paper initialises every layer with a deviation of 0.001; here only the last one, since the
    others would need thousands of steps to start learning.
    """
    luma = keras.Input((None, None, 1), name="luma")
    # The paper's convolutions have no padding. Here the edge is repeated before them, so that the
    # output keeps the size and no zeros enter.
    x = EdgePad(sum(side // 2 for side in kernels), name="pad")(luma)
    x = ShiftScale(0.0, 1 / 255, name="to_unit")(x)
    for i, (side, filters) in enumerate(zip(kernels[:2], num_filters), 1):
        x = layers.Conv2D(filters, side, activation="relu", name=f"conv{i}",
                          kernel_initializer="he_normal")(x)
    x = layers.Conv2D(1, kernels[2], name="conv3", dtype="float32",
                      kernel_initializer=keras.initializers.RandomNormal(0.0, 0.001))(x)
    refined = ShiftScale(0.0, 255.0, name="to_levels")(x)
    return keras.Model(luma, refined, name=CORE)
