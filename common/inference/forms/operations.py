"""What the nodes of an inference form compute.

Each has `dtype`, in which it computes, `run(*tensors)` and `size(*sizes)`: what is known of the
side of its output, as in `graph.Surroundings.size`, from that of its inputs.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.nn.keras_compat import Tensor, keras, tf
from common.nn.layers import (
    BicubicUpscale,
    BilinearUpscale,
    EdgePad,
    RgbToYcbcr,
    SpaceToDepth,
    YcbcrToRgb,
)


@dataclass(eq=False)
class Operation:
    """A computation in `dtype` that keeps height and width."""

    dtype: str

    def size(self, *sizes):
        return sizes[0]


class Input(Operation):
    """The network's LR images."""

    def size(self):
        return 1, 0


@dataclass(eq=False)
class Layer(Operation):
    """A Keras layer as it is; `listed`: it takes its inputs as a list."""

    layer: keras.layers.Layer
    listed: bool = False

    def run(self, *inputs: Tensor) -> Tensor:
        return self.layer(list(inputs) if self.listed else inputs[0], training=False)

    def size(self, *sizes):
        if isinstance(self.layer, SpaceToDepth):
            return 1, 0
        if sizes[0] is None:
            return None
        multiple, more = sizes[0]
        if isinstance(self.layer, (BicubicUpscale, BilinearUpscale)):
            return multiple * self.layer.scale, more * self.layer.scale
        if isinstance(self.layer, EdgePad):
            return multiple, more + 2 * self.layer.pixels
        return sizes[0] if isinstance(self.layer, (RgbToYcbcr, YcbcrToRgb)) else None


_apart = contextvars.ContextVar("padding apart", default=False)


@contextlib.contextmanager
def padding_apart() -> Iterator[None]:
    """Within `with`, convolutions with zeros of their own are traced as a pad and a plain one.

    TensorFlow computes the two in one step; the LiteRT converter of TensorFlow 2.6 lacks that.
    """
    token = _apart.set(True)
    try:
        yield
    finally:
        _apart.reset(token)


@dataclass(eq=False)
class Convolution(Operation):
    """A convolution with a square kernel, and its bias.

    Args:
        kernel: (side, side, inputs, outputs). `prepare` makes it and the bias variables.
        bias: (outputs,).
        stride: of both sides.
        padding: "SAME", "VALID", or zeros ((above, below), (left, right)).
    """

    kernel: Any
    bias: Any
    stride: int = 1
    padding: str | tuple = "SAME"

    def prepare(self) -> list[tf.Variable]:
        """Store the arrays in the precision that is computed in."""
        self.kernel, self.bias = (tf.Variable(tf.cast(array, self.dtype), trainable=False)
                                  for array in (self.kernel, self.bias))
        return [self.kernel, self.bias]

    def run(self, x: Tensor) -> Tensor:
        padding = self.padding
        if not isinstance(padding, str):
            padding = [[0, 0], *map(list, padding), [0, 0]]
            if _apart.get():
                x, padding = tf.pad(x, padding), "VALID"
        return tf.nn.bias_add(tf.nn.conv2d(x, self.kernel, self.stride, padding), self.bias)

    def size(self, size):
        if size is None:
            return None
        multiple, more = size
        if self.padding != "SAME":
            padded = 0 if self.padding == "VALID" else sum(self.padding[0])
            more += padded - self.kernel.shape[0] + self.stride
        if multiple % self.stride or more % self.stride:
            return None
        return multiple // self.stride, more // self.stride


@dataclass(eq=False)
class Affine(Operation):
    """`x * factor + shift`, an array of one number per channel each."""

    factor: np.ndarray
    shift: np.ndarray

    def run(self, x: Tensor) -> Tensor:
        if (self.factor != 1).any():
            same = (self.factor == self.factor[0]).all()  # by one number is faster
            x = x * tf.constant(self.factor[0] if same else self.factor, self.dtype)
        return x + tf.constant(self.shift, self.dtype) if self.shift.any() else x

    def tiled(self, times: int) -> Affine:
        """The same for a tensor whose channels are repeated."""
        return Affine(self.dtype, np.tile(self.factor, times), np.tile(self.shift, times))


@dataclass(eq=False)
class Pointwise(Operation):
    """An activation: relu, leaky (of `slope`), prelu (of a slope per channel) or tanh."""

    kind: str
    slope: Any = None

    def run(self, x: Tensor) -> Tensor:
        if self.kind == "leaky":
            return tf.nn.leaky_relu(x, self.slope)
        if self.kind != "prelu":
            return {"relu": tf.nn.relu, "tanh": tf.nn.tanh}[self.kind](x)
        slope = tf.constant(self.slope, self.dtype)
        if (self.slope <= 1).all():
            return tf.maximum(x, x * slope)
        return tf.nn.relu(x) - slope * tf.nn.relu(-x)

    @property
    def positively_homogeneous(self) -> bool:
        """Whether a positive factor before it may as well come after it."""
        return self.kind != "tanh"

    def tiled(self, times: int) -> Pointwise:
        """The same for a tensor whose channels are repeated."""
        return self if self.kind != "prelu" else Pointwise(self.dtype, self.kind,
                                                           np.tile(self.slope, times))

    def split(self, sizes: Sequence[int]) -> list[Pointwise]:
        """The same for each part of a tensor whose channels are divided."""
        if self.kind != "prelu":
            return [self] * len(sizes)
        return [Pointwise(self.dtype, self.kind, part)
                for part in np.split(self.slope, np.cumsum(sizes)[:-1])]


class Sum(Operation):
    """The sum of tensors, added one by one, so that each is freed as soon as it is in."""

    def run(self, *inputs: Tensor) -> Tensor:
        total = inputs[0]
        for each in inputs[1:]:
            total = total + each
        return total


@dataclass(eq=False)
class Mean(Operation):
    """The mean of tensors with weights that add up to 1."""

    weights: Sequence[float]

    def run(self, *inputs: Tensor) -> Tensor:
        return Sum(self.dtype).run(*(x * tf.cast(weight, self.dtype)
                                     for x, weight in zip(inputs, self.weights)))


class Concatenation(Operation):
    """Tensors side by side in the channels."""

    def run(self, *inputs: Tensor) -> Tensor:
        return tf.concat(inputs, -1)


@dataclass(eq=False)
class Channels(Operation):
    """Channels start..stop-1."""

    start: int
    stop: int

    def run(self, x: Tensor) -> Tensor:
        return x[..., self.start:self.stop]


@dataclass(eq=False)
class Shuffle(Operation):
    """A pixel shuffle by `block`, or where `repeats` an enlargement that repeats each pixel."""

    block: int
    repeats: bool = False

    def run(self, x: Tensor) -> Tensor:
        if self.repeats:
            x = tf.tile(x, [1, 1, 1, self.block**2])
        return tf.nn.depth_to_space(x, self.block)

    def size(self, size: tuple | None) -> tuple | None:
        return size and (size[0] * self.block, size[1] * self.block)
