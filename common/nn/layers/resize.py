"""Layers that change height and width: pixel shuffles, enlargements, padding and cropping."""

from __future__ import annotations

import numpy as np

from common.bicubic import TAPS, upscale_kernel
from common.nn.keras_compat import keras, register, tf


@register
class DepthToSpace(keras.layers.Layer):
    """Pixel shuffle (arXiv 1609.05158): (N, H, W, C*b*b) -> (N, H*b, W*b, C).

    Channels are ordered block row, block column, C, as in TensorFlow; PyTorch has C first.
    """

    def __init__(self, block_size: int, **kwargs):
        super().__init__(**kwargs)
        self.block_size = int(block_size)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.nn.depth_to_space(inputs, self.block_size)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*_enlarged(input_shape, self.block_size)[:-1],
                input_shape[-1] // self.block_size**2)

    def get_config(self) -> dict:
        return {**super().get_config(), "block_size": self.block_size}


@register
class SpaceToDepth(keras.layers.Layer):
    """Pixel unshuffle of any size: (N, H, W, C) -> (N, ceil(H/b), ceil(W/b), b*b*C).

    The last row and column are repeated up to a multiple of the block. Channels are ordered block
    row, block column, C, as in TensorFlow; PyTorch has C first.
    """

    def __init__(self, block_size: int, **kwargs):
        super().__init__(**kwargs)
        self.block_size = int(block_size)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        x = _edge_padded_to_multiple(inputs, 1, self.block_size)
        return tf.nn.space_to_depth(_edge_padded_to_multiple(x, 2, self.block_size),
                                    self.block_size)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        batch, height, width, channels = input_shape
        b = self.block_size
        return (batch, height and -(-height // b), width and -(-width // b), channels * b * b)

    def get_config(self) -> dict:
        return {**super().get_config(), "block_size": self.block_size}


@register
class CropTo(keras.layers.Layer):
    """Crop [(N, H', W', C), (N, H, W, any)] at the bottom and right to (N, H*scale, W*scale, C).

    Removes what `SpaceToDepth` has added; float32.
    """

    def __init__(self, scale: int = 1, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.scale = int(scale)

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        image, like = inputs
        height, width = (_side(like, axis) * self.scale for axis in (1, 2))
        return image[:, :height, :width]

    def compute_output_shape(self, input_shape: list[tuple]) -> tuple:
        image, like = input_shape
        return (image[0], *_enlarged(like, self.scale)[1:3], image[-1])

    def get_config(self) -> dict:
        return {**super().get_config(), "scale": self.scale}


@register
class EdgePad(keras.layers.Layer):
    """Repeat the edge pixels: (N, H, W, C) -> (N, H + 2*pixels, W + 2*pixels, C)."""

    def __init__(self, pixels: int, **kwargs):
        super().__init__(**kwargs)
        self.pixels = int(pixels)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return _edge_padded(inputs, self.pixels)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        batch, height, width, channels = input_shape
        more = 2 * self.pixels
        return (batch, height and height + more, width and width + more, channels)

    def get_config(self) -> dict:
        return {**super().get_config(), "pixels": self.pixels}


@register
class NearestUpscale(keras.layers.Layer):
    """Repeat each pixel: (N, H, W, C) -> (N, H*scale, W*scale, C), without computing a size."""

    def __init__(self, scale: int = 2, **kwargs):
        super().__init__(**kwargs)
        self.scale = int(scale)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        # Not by tf.tile, which OpenVINO moves to another axis when it reads a graph.
        return tf.nn.depth_to_space(tf.concat([inputs] * self.scale**2, -1), self.scale)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return _enlarged(input_shape, self.scale)

    def get_config(self) -> dict:
        return {**super().get_config(), "scale": self.scale}


@register
class BilinearUpscale(keras.layers.Layer):
    """Bilinear enlargement: (N, H, W, C) -> (N, H*scale, W*scale, C).

    Pixels are squares (PyTorch: align_corners=False) and the edge is repeated. The layer is a
    pixel shuffle of weighted sums of shifted images, one sum per phase of an output pixel. Unlike
    TensorFlow's own it can be differentiated twice, as a gradient penalty needs, and an Ascend NPU
    has all of its operations.
    """

    def __init__(self, scale: int = 2, **kwargs):
        super().__init__(**kwargs)
        self.scale = int(scale)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        ahead = (np.arange(self.scale) + 0.5) / self.scale - 0.5  # of the LR pixel's centre
        taps = np.stack([np.maximum(-ahead, 0), 1 - np.abs(ahead), np.maximum(ahead, 0)], axis=1)
        x = _edge_padded(inputs, 1)
        rows = [_weighted(row, (x[:, :-2], x[:, 1:-1], x[:, 2:])) for row in taps]
        phases = [_weighted(column, (y[:, :, :-2], y[:, :, 1:-1], y[:, :, 2:]))
                  for y in rows for column in taps]
        return tf.nn.depth_to_space(tf.concat(phases, -1), self.scale)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return _enlarged(input_shape, self.scale)

    def get_config(self) -> dict:
        return {**super().get_config(), "scale": self.scale}


@register
class BicubicUpscale(keras.layers.Layer):
    """Bicubic enlargement inside a graph: (N, H, W, C) -> (N, H*scale, W*scale, C), float32.

    A replicate pad, a fixed convolution with one phase per output pixel and a pixel shuffle, which
    every export format knows. Equal to `common.bicubic.upscale` of floats.
    """

    def __init__(self, scale: int, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.scale = int(scale)

    def build(self, input_shape):
        super().build(input_shape)
        taps = upscale_kernel(self.scale)
        channels, phases = int(input_shape[-1]), self.scale**2
        kernel = np.einsum("it,ju->tuij", taps, taps).reshape(TAPS, TAPS, 1, phases, 1)
        kernel = kernel * np.eye(channels).reshape(channels, 1, channels)
        self._kernel = kernel.reshape(TAPS, TAPS, channels, phases * channels).astype("float32")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        padded = _edge_padded(inputs, TAPS // 2)
        phases = tf.nn.conv2d(padded, tf.constant(self._kernel), 1, "VALID")
        return tf.nn.depth_to_space(phases, self.scale)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return _enlarged(input_shape, self.scale)

    def get_config(self) -> dict:
        return {**super().get_config(), "scale": self.scale}


def _enlarged(shape, scale):
    """The shape with height and width times `scale`, where they are known."""
    batch, height, width, channels = shape
    return (batch, height and height * scale, width and width * scale, channels)


def _side(x, axis):
    """The length of one side: a number where it is known, else a tensor."""
    return tf.shape(x)[axis] if x.shape[axis] is None else x.shape[axis]


def _weighted(weights, images):
    """The weighted sum of images; some weights are zero."""
    return sum(image * tf.constant(weight, image.dtype)
               for weight, image in zip(weights, images) if weight)


def _edge_padded_to_multiple(x, axis, block):
    """Repeat the last row (axis 1) or column (2) up to a multiple of the block."""
    side = x.shape[axis]
    if side is not None and side % block == 0:
        return x
    last = x[:, -1:] if axis == 1 else x[:, :, -1:]
    x = tf.concat([x] + [last] * (block - 1), axis)
    stop = _side(x, axis) // block * block
    return x[:, :stop] if axis == 1 else x[:, :, :stop]


def _edge_padded(x, pixels):
    """As concatenations, since TensorFlow's own pad cannot repeat an edge more than once."""
    x = tf.concat([x[:, :1]] * pixels + [x] + [x[:, -1:]] * pixels, 1)
    return tf.concat([x[:, :, :1]] * pixels + [x] + [x[:, :, -1:]] * pixels, 2)
