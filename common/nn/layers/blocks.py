"""Layers inside network blocks: activation, residual scaling, splitting and weighting features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.nn.keras_compat import keras, register, tf


@register
class PReLU(keras.layers.Layer):
    """relu(x) - alpha * relu(-x) with one alpha per channel (arXiv 1502.01852).

    Keras's own PReLU uses operations that an Ascend NPU lacks.

    Args:
        initial: initial value of every alpha.
    """

    def __init__(self, initial: float = 0.25, **kwargs):
        super().__init__(**kwargs)
        self.initial = float(initial)

    def build(self, input_shape):
        super().build(input_shape)
        self.alpha = self.add_weight(name="alpha", shape=(1, 1, int(input_shape[-1])),
                                     initializer=keras.initializers.Constant(self.initial))

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        alpha = tf.cast(tf.convert_to_tensor(self.alpha), inputs.dtype)
        return tf.nn.relu(inputs) - alpha * tf.nn.relu(-inputs)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict:
        return {**super().get_config(), "initial": self.initial}


@register
class Scale(keras.layers.Layer):
    """Multiply by a constant: the residual scaling of a deep network.

    `keras.layers.Rescaling` does the same, but `.h5` files name this class.
    """

    def __init__(self, factor: float, **kwargs):
        super().__init__(**kwargs)
        self.factor = float(factor)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs * tf.cast(self.factor, inputs.dtype)

    def get_config(self) -> dict:
        return {**super().get_config(), "factor": self.factor}


@register
class Channels(keras.layers.Layer):
    """Select channels start..stop-1 of (N, H, W, C)."""

    def __init__(self, start: int, stop: int, **kwargs):
        super().__init__(**kwargs)
        self.start, self.stop = int(start), int(stop)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs[..., self.start:self.stop]

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.stop - self.start)

    def get_config(self) -> dict:
        return {**super().get_config(), "start": self.start, "stop": self.stop}


@register
class Split(keras.layers.Layer):
    """Split the channels of (N, H, W, C) into a list of tensors with `sizes` channels."""

    def __init__(self, sizes: Sequence[int], **kwargs):
        super().__init__(**kwargs)
        self.sizes = [int(size) for size in sizes]

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> list[tf.Tensor]:
        if training is True:
            # The gradient of a split is one concatenation; that of a slice pads to all channels.
            return tf.split(inputs, self.sizes, axis=-1)
        # Exported to ONNX, slices need no transpositions around them.
        ends = np.cumsum(self.sizes)
        return [inputs[..., end - size:end] for end, size in zip(ends, self.sizes)]

    def compute_output_shape(self, input_shape: tuple) -> list[tuple]:
        return [(*input_shape[:-1], size) for size in self.sizes]

    def get_config(self) -> dict:
        return {**super().get_config(), "sizes": self.sizes}


@register
class ZeroState(keras.layers.Layer):
    """Zeros with the input's height and width and `channels` channels."""

    def __init__(self, channels: int, **kwargs):
        super().__init__(**kwargs)
        self.channels = int(channels)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        # A product instead of tf.zeros, so that no shape has to be computed at run time.
        return tf.tile(inputs[..., :1] * 0, [1, 1, 1, self.channels])

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.channels)

    def get_config(self) -> dict:
        return {**super().get_config(), "channels": self.channels}


@register
class WeightedMean(keras.layers.Layer):
    """The mean of a list of tensors with fixed weights, in float32."""

    def __init__(self, weights: Sequence[float], **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.mean_weights = [float(weight) for weight in weights]

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        total = sum(self.mean_weights)
        return tf.add_n([x * (w / total) for x, w in zip(inputs, self.mean_weights)])

    def compute_output_shape(self, input_shape: list[tuple]) -> tuple:
        return input_shape[0]

    def get_config(self) -> dict:
        return {**super().get_config(), "weights": self.mean_weights}
