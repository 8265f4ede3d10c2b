"""BSRN: Block State-based Recursive Network (arXiv 1811.12546).

Not the Blueprint Separable Residual Network of 2022, which has the same short name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from common.cli import UserError
from common.nn.keras_compat import Tensor, keras
from common.nn.layers import DepthToSpace, ShiftScale, Split, WeightedMean, ZeroState
from common.scales import scale_name, scale_tuple

layers = keras.layers

SCALES = (2, 3, 4)
JOINT = True  # one network may have several scales
MOST_RECURSIONS = 256  # the weights do not say how many there are


def build(scale: int | Sequence[int], num_features: int = 64, num_states: int = 64,
          num_recursions: int = 16, output_every: int = 1) -> keras.Model:
    """Build BSRN; the defaults are the paper's.

    One module is applied repeatedly to the features and a state beside them. Each recursion gives
    an image, and the output is their mean, later ones weighted more; so fewer recursions with the
    same weights give a cheaper network.

    Args:
        scale: 2, 3 or 4, or a tuple of them for one network with shared features.
        num_features: c of the paper.
        num_states: s of the paper.
        num_recursions: R of the paper.
        output_every: r of the paper: recursions between two outputs; R is a multiple of it.

    Returns:
        a Keras model: RGB float32 (N, H, W, 3) in [0, 255] -> (N, H*scale, W*scale, 3), unclipped;
        for several scales a dict of these, keyed "x2", "x3", "x4". The images of the single
        recursions are the inputs of its layers `ensemble_x<scale>`, see `intermediate_outputs`.

    Raises:
        UserError: more recursions than `MOST_RECURSIONS`, or less than one.
    """
    if not 1 <= num_recursions <= MOST_RECURSIONS:
        raise UserError(f"bsrn: num_recursions must be 1 to {MOST_RECURSIONS}, got "
                        f"{num_recursions}")
    lr = keras.Input((None, None, 3), name="lr")
    features = conv(num_features, "first_conv")(ShiftScale(-127.5, name="to_centre")(lr))
    states = recursions(features, num_features, num_states, num_recursions)
    kept = states[output_every - 1::output_every]
    ensemble = [2.0 ** i for i in range(len(kept))]
    answers = {}
    for s in scale_tuple(scale):
        head = upscaler(s, num_features)
        images = [ShiftScale(127.5, name=f"output{i}_x{s}")(head(x)) for i, x in enumerate(kept)]
        answers[f"x{s}"] = WeightedMean(ensemble, name=f"ensemble_x{s}")(images)
    return keras.Model(lr, answers if isinstance(scale, (tuple, list)) else answers[f"x{scale}"],
                       name=f"bsrn_{scale_name(scale)}")


def recursions(x: Tensor, num_features: int, num_states: int, count: int) -> list[Tensor]:
    """Apply the one module `count` times; returns the features after each."""
    width = num_features + num_states
    first = conv(width, "module_conv1", activation="relu", kernel_initializer=small())
    second = conv(width, "module_conv2", kernel_initializer=small())
    third = conv(width, "module_conv3")
    state, results = ZeroState(num_states, name="state0")(x), []
    for i in range(count):
        y = second(first(layers.Concatenate(name=f"join{i}a")([x, state])))
        change, state = Split([num_features, num_states], name=f"split{i}a")(y)
        x = layers.Add(name=f"add{i}a")([x, change])
        y = third(layers.Concatenate(name=f"join{i}b")([x, state]))
        change, state = Split([num_features, num_states], name=f"split{i}b")(y)
        x = layers.Add(name=f"add{i}b")([x, change])
        results.append(x)
    return results


def small() -> keras.initializers.Initializer:
    """A new initializer; Keras 3 repeats the values of one that is used twice."""
    return keras.initializers.VarianceScaling(1e-4, "fan_in", "truncated_normal")


def upscaler(scale: int, num_features: int) -> Callable[[Tensor], Tensor]:
    """conv3, ReLU and pixel shuffle, twice for x4, then conv3 to an image centred on 0."""
    stages = [(conv(num_features * block**2, f"upscale_x{scale}_conv{i + 1}", activation="relu"),
               block) for i, block in enumerate([2, 2] if scale == 4 else [scale])]
    last = conv(3, f"last_conv_x{scale}", dtype="float32")

    def apply(x):
        for convolution, block in stages:
            x = DepthToSpace(block)(convolution(x))
        return last(x)
    return apply


def intermediate_outputs(model: keras.Model, scale: int) -> keras.Model:
    """A model of the same layers that returns the images of all output recursions as a list."""
    images = model.get_layer(f"ensemble_x{scale}").input
    return keras.Model(model.input, images if isinstance(images, list) else [images])


def conv(filters: int, name: str, **kwargs) -> keras.layers.Layer:
    """A 3x3 convolution that keeps the size."""
    return layers.Conv2D(filters, 3, padding="same", name=name, **kwargs)
