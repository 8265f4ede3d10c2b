"""Layers that both Keras versions lack; with `keras_compat` all a network knows of its backend."""

import numpy as np

from common.bicubic import TAPS, upscale_kernel
from common.nn.keras_compat import IS_KERAS_3, keras, register, tf

# BT.601: YCbCr = RGB_TO_YCBCR @ RGB + YCBCR_OFFSET for RGB in [0, 255].
RGB_TO_YCBCR = np.array([[65.481, 128.553, 24.966],
                         [-37.797, -74.203, 112.0],
                         [112.0, -93.786, -18.214]]) / 255
YCBCR_OFFSET = [16.0, 128.0, 128.0]


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
        # One shift per channel: tf2onnx cannot move a transposition past the sum with a scalar, and
        # TensorFlow on a CPU fails to merge the sum with a vector of one into a convolution.
        shift = np.broadcast_to(self.shift, [inputs.shape[-1]])
        return (inputs + tf.constant(shift, tf.float32)) * tf.constant(self.scale)

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


@register
class BicubicUpscale(keras.layers.Layer):
    """Bicubic enlargement inside a graph: (N, H, W, C) -> (N, H*scale, W*scale, C), float32.

    A replicate pad, a fixed convolution with one phase per output pixel and a pixel shuffle, which
    every export format knows. Equal to `common.bicubic.upscale` of floats.
    """

    def __init__(self, scale, **kwargs):
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

    def call(self, inputs):
        padded = _edge_padded(inputs, TAPS // 2)
        phases = tf.nn.conv2d(padded, tf.constant(self._kernel), 1, "VALID")
        return tf.nn.depth_to_space(phases, self.scale)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        s = self.scale
        return (batch, height and height * s, width and width * s, channels)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


@register
class EdgePad(keras.layers.Layer):
    """Repeat the edge pixels: (N, H, W, C) -> (N, H + 2*pixels, W + 2*pixels, C)."""

    def __init__(self, pixels, **kwargs):
        super().__init__(**kwargs)
        self.pixels = int(pixels)

    def call(self, inputs):
        return _edge_padded(inputs, self.pixels)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        more = 2 * self.pixels
        return (batch, height and height + more, width and width + more, channels)

    def get_config(self):
        return {**super().get_config(), "pixels": self.pixels}


@register
class RgbToYcbcr(keras.layers.Layer):
    """RGB in [0, 255] to YCbCr of BT.601 in the studio range (Y 16..235, Cb and Cr 16..240)."""

    def __init__(self, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)

    def call(self, inputs):
        return _pointwise(inputs, RGB_TO_YCBCR) + tf.constant(YCBCR_OFFSET, tf.float32)


@register
class YcbcrToRgb(keras.layers.Layer):
    """The inverse of `RgbToYcbcr`, not clipped."""

    def __init__(self, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)

    def call(self, inputs):
        return _pointwise(inputs - tf.constant(YCBCR_OFFSET, tf.float32),
                          np.linalg.inv(RGB_TO_YCBCR))


@register
class Channels(keras.layers.Layer):
    """Take channels start..stop-1 of (N, H, W, C)."""

    def __init__(self, start, stop, **kwargs):
        super().__init__(**kwargs)
        self.start, self.stop = int(start), int(stop)

    def call(self, inputs):
        return inputs[..., self.start:self.stop]

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.stop - self.start)

    def get_config(self):
        return {**super().get_config(), "start": self.start, "stop": self.stop}


@register
class Split(keras.layers.Layer):
    """Part the channels of (N, H, W, C) into a list of tensors of the sizes given."""

    def __init__(self, sizes, **kwargs):
        super().__init__(**kwargs)
        self.sizes = [int(size) for size in sizes]

    def call(self, inputs, training=None):
        if training is True:
            # Its gradient is one concatenation; that of a slice pads each part to all channels.
            return tf.split(inputs, self.sizes, axis=-1)
        # An ONNX file of slices needs no transpositions around them.
        ends = np.cumsum(self.sizes)
        return [inputs[..., end - size:end] for end, size in zip(ends, self.sizes)]

    def compute_output_shape(self, input_shape):
        return [(*input_shape[:-1], size) for size in self.sizes]

    def get_config(self):
        return {**super().get_config(), "sizes": self.sizes}


@register
class ZeroState(keras.layers.Layer):
    """Zeros of the height and width of the input, with another number of channels."""

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        self.channels = int(channels)

    def call(self, inputs):
        # As a product and not tf.zeros, so that no shape has to be computed at run time.
        return tf.tile(inputs[..., :1] * 0, [1, 1, 1, self.channels])

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.channels)

    def get_config(self):
        return {**super().get_config(), "channels": self.channels}


@register
class WeightedMean(keras.layers.Layer):
    """The mean of a list of tensors with fixed weights, in float32."""

    def __init__(self, weights, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.mean_weights = [float(weight) for weight in weights]

    def call(self, inputs):
        total = sum(self.mean_weights)
        return tf.add_n([x * (w / total) for x, w in zip(inputs, self.mean_weights)])

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def get_config(self):
        return {**super().get_config(), "weights": self.mean_weights}


@register
class PReLU(keras.layers.Layer):
    """relu(x) - alpha * relu(-x) with one alpha per channel (arXiv 1502.01852), as an NPU has it.

    Args:
        initial: what every alpha starts at.
    """

    def __init__(self, initial=0.25, **kwargs):
        super().__init__(**kwargs)
        self.initial = float(initial)

    def build(self, input_shape):
        super().build(input_shape)
        self.alpha = self.add_weight(name="alpha", shape=(1, 1, int(input_shape[-1])),
                                     initializer=keras.initializers.Constant(self.initial))

    def call(self, inputs):
        alpha = tf.cast(tf.convert_to_tensor(self.alpha), inputs.dtype)
        return tf.nn.relu(inputs) - alpha * tf.nn.relu(-inputs)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "initial": self.initial}


@register
class SpaceToDepth(keras.layers.Layer):
    """Pixel unshuffle of any size: (N, H, W, C) -> (N, ceil(H/b), ceil(W/b), b*b*C).

    The last row and column are repeated up to a multiple of the block. Channels are ordered block
    row, block column, C, as TensorFlow has them; PyTorch has C first.
    """

    def __init__(self, block_size, **kwargs):
        super().__init__(**kwargs)
        self.block_size = int(block_size)

    def call(self, inputs):
        x = _edge_padded_to_multiple(inputs, 1, self.block_size)
        return tf.nn.space_to_depth(_edge_padded_to_multiple(x, 2, self.block_size),
                                    self.block_size)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        b = self.block_size
        return (batch, height and -(-height // b), width and -(-width // b), channels * b * b)

    def get_config(self):
        return {**super().get_config(), "block_size": self.block_size}


@register
class CropTo(keras.layers.Layer):
    """Cut [(N, H', W', C), (N, H, W, any)] at the bottom and right: (N, H*scale, W*scale, C).

    It takes off what `SpaceToDepth` has added; float32.
    """

    def __init__(self, scale=1, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.scale = int(scale)

    def call(self, inputs):
        image, like = inputs
        height, width = (_side(like, axis) * self.scale for axis in (1, 2))
        return image[:, :height, :width]

    def compute_output_shape(self, input_shape):
        (batch, _, _, channels), (_, height, width, _) = input_shape
        s = self.scale
        return (batch, height and height * s, width and width * s, channels)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


@register
class NearestUpscale(keras.layers.Layer):
    """Repeat each pixel: (N, H, W, C) -> (N, H*scale, W*scale, C), with no size computed."""

    def __init__(self, scale=2, **kwargs):
        super().__init__(**kwargs)
        self.scale = int(scale)

    def call(self, inputs):
        return tf.nn.depth_to_space(tf.tile(inputs, [1, 1, 1, self.scale**2]), self.scale)

    def compute_output_shape(self, input_shape):
        return _scaled(input_shape, self.scale)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


@register
class BilinearUpscale(keras.layers.Layer):
    """Bilinear enlargement: (N, H, W, C) -> (N, H*scale, W*scale, C).

    Pixels are squares (PyTorch: align_corners=False) and the edge is repeated. Weighted sums of
    shifted images, one for each phase of an output pixel, and a pixel shuffle: unlike TensorFlow's
    own it can be differentiated twice, as a gradient penalty does, and an NPU has it all.
    """

    def __init__(self, scale=2, **kwargs):
        super().__init__(**kwargs)
        self.scale = int(scale)

    def call(self, inputs):
        ahead = (np.arange(self.scale) + 0.5) / self.scale - 0.5  # of the LR pixel's centre
        taps = np.stack([np.maximum(-ahead, 0), 1 - np.abs(ahead), np.maximum(ahead, 0)], axis=1)
        x = _edge_padded(inputs, 1)
        rows = [_weighted(row, (x[:, :-2], x[:, 1:-1], x[:, 2:])) for row in taps]
        phases = [_weighted(column, (y[:, :, :-2], y[:, :, 1:-1], y[:, :, 2:]))
                  for y in rows for column in taps]
        return tf.nn.depth_to_space(tf.concat(phases, -1), self.scale)

    def compute_output_shape(self, input_shape):
        return _scaled(input_shape, self.scale)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


@register
class SpectralConv2D(keras.layers.Layer):
    """A convolution whose kernel is divided by its largest singular value (arXiv 1802.05957).

    The kernel counts as a matrix of output channels by the rest. Its singular value is estimated
    with a vector u, kept beside the weights: each forward pass with `training=True` improves it by
    one power iteration and others use it as it is, like `torch.nn.utils.spectral_norm`. Padding is
    "same". The normalisation is in float32 and the convolution in the type of the input.

    Args:
        filters, kernel_size, strides, use_bias: as of Conv2D.
    """

    def __init__(self, filters, kernel_size, strides=1, use_bias=False, **kwargs):
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
        # Of one row, orthogonal is: a random direction of length one. All replicas compute the
        # same update.
        first = "only_first_replica" if IS_KERAS_3 else tf.VariableAggregation.ONLY_FIRST_REPLICA
        self.u = self.add_weight(name="u", shape=(1, self.filters), trainable=False,
                                 initializer=keras.initializers.Orthogonal(), aggregation=first)

    def call(self, inputs, training=None):
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

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "kernel_size": self.kernel_size,
                "strides": self.strides, "use_bias": self.use_bias}


def fan_in_uniform():
    """A new initializer, uniform within 1/sqrt(fan in) as PyTorch's: small enough for float16."""
    return keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")


def he_normal(factor=1.0):
    """A new initializer: that of He (arXiv 1502.01852) for ReLU, times a factor."""
    return keras.initializers.VarianceScaling(2 * factor**2, "fan_in", "untruncated_normal")


def _side(x, axis):
    """The length of one side: a number where it is known, else a tensor."""
    return tf.shape(x)[axis] if x.shape[axis] is None else x.shape[axis]


def _direction(vector):
    """A vector at length one, with an epsilon that float16 has."""
    return tf.math.l2_normalize(vector, epsilon=1e-4)


def _weighted(weights, images):
    """The sum of images with weights, of which some are zero."""
    return sum(image * tf.constant(weight, image.dtype)
               for weight, image in zip(weights, images) if weight)


def _scaled(shape, scale):
    batch, height, width, channels = shape
    return (batch, height and height * scale, width and width * scale, channels)


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


def _pointwise(inputs, matrix):
    """Multiply the channels of (N, H, W, C) by a matrix, as a 1x1 convolution."""
    return tf.nn.conv2d(inputs, tf.constant(matrix.T[None, None], tf.float32), 1, "VALID")


def _plain(value):
    return [float(v) for v in value] if isinstance(value, (list, tuple)) else float(value)
