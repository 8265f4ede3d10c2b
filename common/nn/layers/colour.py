"""Layers that convert value ranges and colour spaces; they compute in float32 under any policy."""

from __future__ import annotations

from typing import Sequence, Union

import numpy as np

from common.nn.keras_compat import keras, register, tf

# BT.601: YCbCr = RGB_TO_YCBCR @ RGB + YCBCR_OFFSET for RGB in [0, 255].
RGB_TO_YCBCR = np.array([[65.481, 128.553, 24.966],
                         [-37.797, -74.203, 112.0],
                         [112.0, -93.786, -18.214]]) / 255
YCBCR_OFFSET = [16.0, 128.0, 128.0]

PerChannel = Union[float, Sequence[float]]


@register
class ShiftScale(keras.layers.Layer):
    """Convert the value range: `(x + shift) * scale`, in float32.

    Args:
        shift, scale: one number for all channels, or a list of one per channel.
    """

    def __init__(self, shift: PerChannel = 0.0, scale: PerChannel = 1.0, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.shift = _as_floats(shift)
        self.scale = _as_floats(scale)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        # One shift per channel: tf2onnx cannot move a transposition past the sum with a scalar, and
        # TensorFlow on a CPU fails to merge the sum with a vector of one into a convolution.
        shift = np.broadcast_to(self.shift, [inputs.shape[-1]])
        return (inputs + tf.constant(shift, tf.float32)) * tf.constant(self.scale)

    def get_config(self) -> dict:
        return {**super().get_config(), "shift": self.shift, "scale": self.scale}


@register
class RgbToYcbcr(keras.layers.Layer):
    """RGB in [0, 255] to BT.601 YCbCr in the studio range (Y 16..235, Cb and Cr 16..240)."""

    def __init__(self, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return _times_matrix(inputs, RGB_TO_YCBCR) + tf.constant(YCBCR_OFFSET, tf.float32)


@register
class YcbcrToRgb(keras.layers.Layer):
    """The inverse of `RgbToYcbcr`, not clipped."""

    def __init__(self, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return _times_matrix(inputs - tf.constant(YCBCR_OFFSET, tf.float32),
                             np.linalg.inv(RGB_TO_YCBCR))


def _times_matrix(inputs, matrix):
    """Multiply the channels of (N, H, W, C) by a matrix, as a 1x1 convolution."""
    return tf.nn.conv2d(inputs, tf.constant(matrix.T[None, None], tf.float32), 1, "VALID")


def _as_floats(value):
    """A number or a list of them as JSON can hold it."""
    return [float(v) for v in value] if isinstance(value, (list, tuple)) else float(value)
