"""A convolution with spectral normalisation, which Keras 2.6 lacks."""

from __future__ import annotations

from common.nn.keras_compat import IS_KERAS_3, keras, register, tf
from common.nn.layers.initializers import fan_in_uniform


@register
class SpectralConv2D(keras.layers.Layer):
    """A convolution whose kernel is divided by its largest singular value (arXiv 1802.05957).

    The kernel is taken as a matrix of output channels by all other axes. A vector u, stored with
    the weights, estimates its largest singular value: a forward pass with `training=True` improves
    u by one power iteration, any other uses it as it is, like `torch.nn.utils.spectral_norm`.
    Padding is "same". The normalisation is in float32, the convolution in the input's type.

    Args:
        filters, kernel_size, strides, use_bias: as for Conv2D.
    """

    def __init__(self, filters: int, kernel_size: int, strides: int = 1, use_bias: bool = False,
                 **kwargs):
        # A mixed policy would round the kernel before it is normalised.
        super().__init__(**{**kwargs, "dtype": "float32", "autocast": False})
        self.filters, self.kernel_size = int(filters), int(kernel_size)
        self.strides, self.use_bias = int(strides), bool(use_bias)

    def build(self, input_shape):
        super().build(input_shape)
        size = self.kernel_size
        self.kernel = self.add_weight(
            name="kernel", shape=(size, size, int(input_shape[-1]), self.filters),
            initializer=fan_in_uniform())
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")
        # An orthogonal matrix of one row is a random direction of length one. All replicas compute
        # the same update, so one of them is enough.
        first = "only_first_replica" if IS_KERAS_3 else tf.VariableAggregation.ONLY_FIRST_REPLICA
        self.u = self.add_weight(name="u", shape=(1, self.filters), trainable=False,
                                 initializer=keras.initializers.Orthogonal(), aggregation=first)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        kernel = tf.convert_to_tensor(self.kernel)
        matrix, u = tf.reshape(kernel, [-1, self.filters]), tf.convert_to_tensor(self.u)
        fixed = tf.stop_gradient(matrix)
        v = _direction(tf.matmul(u, fixed, transpose_b=True))
        if training:
            u = _direction(tf.matmul(v, fixed))
            self.u.assign(u)
        sigma = tf.reduce_sum(tf.matmul(v, matrix) * u)
        kernel = tf.cast(kernel / sigma, inputs.dtype)
        outputs = tf.nn.conv2d(inputs, kernel, self.strides, "SAME")
        if self.use_bias:
            outputs += tf.cast(tf.convert_to_tensor(self.bias), outputs.dtype)
        return outputs

    def get_config(self) -> dict:
        return {**super().get_config(), "filters": self.filters, "kernel_size": self.kernel_size,
                "strides": self.strides, "use_bias": self.use_bias}


def _direction(vector):
    """A vector at length one, with an epsilon that float16 can hold."""
    return tf.math.l2_normalize(vector, epsilon=1e-4)
