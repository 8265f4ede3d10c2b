"""RRDBNet, the generator of ESRGAN (arXiv 1809.00219)."""

from __future__ import annotations

from collections.abc import Callable

from common.nn.keras_compat import Tensor, keras
from common.nn.layers import (
    CropTo,
    NearestUpscale,
    Scale,
    ShiftScale,
    SpaceToDepth,
    fan_in_uniform,
    he_normal,
)

layers = keras.layers

SCALES = (1, 2, 4)


def build(scale: int, num_blocks: int = 23, num_filters: int = 64,
          num_growth: int = 32) -> keras.Model:
    """Build RRDBNet; the defaults are the paper's.

    x2 and x1 are Real-ESRGAN's (arXiv 2107.10833): the x4 network after a pixel unshuffle by 2 and
    by 4; an image of another size is padded with its edge.

    Args:
        scale: 1, 2 or 4.
        num_blocks: residual-in-residual dense blocks.
        num_filters: features between the blocks.
        num_growth: features that each layer of a dense block adds.

    Returns:
        a Keras model: RGB float32 (N, H, W, 3) in [0, 255] -> (N, H*scale, W*scale, 3), unclipped.
    """
    lr = keras.Input((None, None, 3), name="lr")
    x = ShiftScale(0, 1 / 255, name="to_unit")(lr)
    if scale < 4:
        x = SpaceToDepth(4 // scale, name="unshuffle")(x)
    head = conv(num_filters, "head")(x)
    x = head
    for i in range(num_blocks):
        x = rrdb(x, num_filters, num_growth, f"block{i}")
    x = layers.Add(name="long_skip")([head, conv(num_filters, "body")(x)])
    for i in range(2):
        x = NearestUpscale(2, name=f"upsample{i}_nearest")(x)
        x = lrelu(conv(num_filters, f"upsample{i}_conv")(x), f"upsample{i}_lrelu")
    x = lrelu(conv(num_filters, "hr_conv")(x), "hr_lrelu")
    sr = ShiftScale(0, 255, name="to_range")(conv(3, "tail")(x))
    if scale < 4:
        sr = CropTo(scale, name="crop")([sr, lr])
    return keras.Model(lr, sr, name=f"rrdbnet_x{scale}")


def rrdb(x: Tensor, num_filters: int, num_growth: int, name: str) -> Tensor:
    """Three dense blocks, their output times 0.2 added to the input (figure 4 of the paper)."""
    y = x
    for j in range(1, 4):
        y = dense_block(y, num_filters, num_growth, f"{name}_dense{j}")
    return layers.Add(name=f"{name}_add")([x, Scale(0.2, name=f"{name}_scale")(y)])


def dense_block(x: Tensor, num_filters: int, num_growth: int, name: str) -> Tensor:
    """Five convolutions, each of all features before it, the last times 0.2 added to the input."""
    features = [x]
    for k in range(1, 5):
        y = residual_conv(num_growth, f"{name}_conv{k}")(concatenated(features, f"{name}_in{k}"))
        features.append(lrelu(y, f"{name}_lrelu{k}"))
    y = residual_conv(num_filters, f"{name}_conv5")(concatenated(features, f"{name}_in5"))
    return layers.Add(name=f"{name}_add")([x, Scale(0.2, name=f"{name}_scale")(y)])


def concatenated(features: list[Tensor], name: str) -> Tensor:
    """The features side by side; a single one as it is."""
    return features[0] if len(features) == 1 else layers.Concatenate(name=name)(features)


def lrelu(x: Tensor, name: str) -> Tensor:
    """Leaky ReLU of slope 0.2."""
    return layers.LeakyReLU(0.2, name=name)(x)


def conv(filters: int, name: str,
         initializer: Callable[[], keras.initializers.Initializer] = fan_in_uniform,
         ) -> keras.layers.Layer:
    """A 3x3 convolution that keeps the size; `initializer` makes its initializer."""
    return layers.Conv2D(filters, 3, padding="same", kernel_initializer=initializer(), name=name)


def residual_conv(filters: int, name: str) -> keras.layers.Layer:
    """A convolution of a dense block; starts at a tenth of He's weights, as deep networks need."""
    return conv(filters, name, lambda: he_normal(0.1))
