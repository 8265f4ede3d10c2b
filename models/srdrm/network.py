"""SRDRM: underwater image super-resolution by deep residual multipliers (arXiv 1909.09437)."""

from __future__ import annotations

from common.nn.keras_compat import Tensor, keras
from common.nn.layers import ShiftScale

layers = keras.layers

SCALES = (2, 4, 8)


def build(scale: int, num_blocks: int = 8, num_filters: int = 64,
          tail_kernel: int = 5) -> keras.Model:
    """Build SRDRM, also the generator of SRDRM-GAN.

    Args:
        scale: 2, 4 or 8: one, two or three modules that double the size.
        num_blocks: residual blocks of a module.
        num_filters: features of every layer; four times as many after an enlargement.
        tail_kernel: side of the last kernel: 5 in the released weights and in SRDRM's code, 9 in
            that of SRDRM-GAN.

    Returns:
        a Keras model: RGB float32 (N, H, W, 3) in [0, 255] -> (N, H*scale, W*scale, 3), which its
        tanh keeps in [0, 255].
    """
    lr = keras.Input((None, None, 3), name="lr")
    x = ShiftScale(-127.5, 1 / 127.5, name="to_signed")(lr)
    for i in range(scale.bit_length() - 1):
        x = multiplier(x, num_blocks, num_filters, f"module{i}")
    x = layers.Conv2D(3, tail_kernel, padding="same", activation="tanh", dtype="float32",
                      name="tail")(x)
    sr = ShiftScale(1.0, 127.5, name="to_levels")(x)
    return keras.Model(lr, sr, name=f"srdrm_x{scale}")


def multiplier(x: Tensor, num_blocks: int, num_filters: int, name: str) -> Tensor:
    """The deep residual multiplier: (N, H, W, C) to (N, 2*H, 2*W, 4*num_filters)."""
    head = conv(num_filters, 4, f"{name}_head", activation="relu")(x)
    x = head
    for i in range(num_blocks):
        x = residual_block(x, num_filters, f"{name}_block{i}")
    x = conv(num_filters, 4, f"{name}_body")(x)
    x = layers.BatchNormalization(momentum=0.8, name=f"{name}_body_bn")(x)
    x = layers.Add(name=f"{name}_skip")([x, head])
    x = layers.UpSampling2D(2, name=f"{name}_enlarge")(x)
    return conv(4 * num_filters, 3, f"{name}_upsample_conv", activation="relu")(x)


def residual_block(x: Tensor, num_filters: int, name: str) -> Tensor:
    """conv3 - BN - ReLU - conv3 - BN, added to its input."""
    y = conv(num_filters, 3, f"{name}_conv1")(x)
    y = layers.BatchNormalization(momentum=0.5, name=f"{name}_bn1")(y)
    y = layers.ReLU(name=f"{name}_relu")(y)
    y = conv(num_filters, 3, f"{name}_conv2")(y)
    y = layers.BatchNormalization(momentum=0.5, name=f"{name}_bn2")(y)
    return layers.Add(name=f"{name}_add")([y, x])


def conv(filters: int, kernel: int, name: str, **kwargs) -> keras.layers.Layer:
    """A convolution that keeps the size; for an even kernel the odd zero is below and right."""
    return layers.Conv2D(filters, kernel, padding="same", name=name, **kwargs)
