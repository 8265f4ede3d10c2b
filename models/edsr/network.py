"""EDSR: Enhanced Deep Residual Networks for single image super-resolution (arXiv 1707.02921)."""

from __future__ import annotations

from common.nn.keras_compat import Tensor, keras
from common.nn.layers import DepthToSpace, Scale, ShiftScale, fan_in_uniform

layers = keras.layers

SCALES = (2, 3, 4, 8)
DIV2K_MEAN = [0.4488 * 255, 0.4371 * 255, 0.4040 * 255]


def build(scale: int, num_blocks: int = 32, num_filters: int = 256,
          res_scale: float = 0.1) -> keras.Model:
    """Build EDSR; the defaults are the paper's large network.

    Args:
        scale: 2, 3, 4 or 8; 4 and 8 are two and three stages of 2.
        num_blocks: residual blocks (baseline: 16).
        num_filters: features of every layer (baseline: 64).
        res_scale: factor of each residual branch (baseline: 1).

    Returns:
        a Keras model: RGB float32 (N, H, W, 3) in [0, 255] -> (N, H*scale, W*scale, 3), unclipped.
    """
    lr = keras.Input((None, None, 3), name="lr")
    head = conv(num_filters, "head")(ShiftScale([-m for m in DIV2K_MEAN], name="subtract_mean")(lr))
    x = head
    for i in range(num_blocks):
        x = residual_block(x, num_filters, res_scale, f"block{i}")
    x = layers.Add(name="long_skip")([head, conv(num_filters, "body")(x)])
    x = upsample(x, scale, num_filters)
    sr = ShiftScale(DIV2K_MEAN, name="add_mean")(conv(3, "tail")(x))
    return keras.Model(lr, sr, name=f"edsr_x{scale}")


def residual_block(x: Tensor, num_filters: int, res_scale: float, name: str) -> Tensor:
    """conv3 - ReLU - conv3, scaled, added to its input; no batch normalisation."""
    y = conv(num_filters, f"{name}_conv1", activation="relu")(x)
    y = conv(num_filters, f"{name}_conv2")(y)
    if res_scale != 1:
        y = Scale(res_scale, name=f"{name}_scale")(y)
    return layers.Add(name=f"{name}_add")([x, y])


def upsample(x: Tensor, scale: int, num_filters: int) -> Tensor:
    """conv3 and pixel shuffle, once for x2 and x3, stacked for x4 and x8."""
    for i, stage in enumerate([3] if scale == 3 else [2] * (scale.bit_length() - 1)):
        x = conv(num_filters * stage**2, f"upsample{i}_conv")(x)
        x = DepthToSpace(stage, name=f"upsample{i}_shuffle")(x)
    return x


def conv(filters: int, name: str, **kwargs) -> keras.layers.Layer:
    """A 3x3 convolution that keeps the size."""
    return layers.Conv2D(filters, 3, padding="same", kernel_initializer=fan_in_uniform(),
                         name=name, **kwargs)
