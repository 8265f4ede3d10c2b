"""Layers that both Keras versions lack; with `keras_compat` all a network knows of its backend."""

from common.keras_compat import keras, register, tf


@register
class ShiftScale(keras.layers.Layer):
    """Range conversion per channel, in float32 whatever the policy: `(x + shift) * scale`.

    Args:
        shift, scale: numbers, or a list of one per channel.
    """

    def __init__(self, shift=0.0, scale=1.0, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.shift = _plain(shift)
        self.scale = _plain(scale)

    def call(self, inputs):
        return (inputs + tf.constant(self.shift)) * tf.constant(self.scale)

    def get_config(self):
        return {**super().get_config(), "shift": self.shift, "scale": self.scale}


@register
class Scale(keras.layers.Layer):
    """Multiply by a constant: the residual scaling of a deep network."""

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = float(factor)

    def call(self, inputs):
        return inputs * tf.cast(self.factor, inputs.dtype)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


@register
class DepthToSpace(keras.layers.Layer):
    """Pixel shuffle (arXiv 1609.05158): (N, H, W, C*b*b) -> (N, H*b, W*b, C).

    Channels are ordered block row, block column, C, as TensorFlow has them; PyTorch has C first.
    """

    def __init__(self, block_size, **kwargs):
        super().__init__(**kwargs)
        self.block_size = int(block_size)

    def call(self, inputs):
        return tf.nn.depth_to_space(inputs, self.block_size)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        b = self.block_size
        return (batch, height and height * b, width and width * b, channels // (b * b))

    def get_config(self):
        return {**super().get_config(), "block_size": self.block_size}


def _plain(value):
    return [float(v) for v in value] if isinstance(value, (list, tuple)) else float(value)
