"""Take a Keras model apart into nodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.inference.forms import operations as op
from common.inference.forms.graph import Node
from common.nn import layers as zoo
from common.nn.keras_compat import Call, calls, keras

layers = keras.layers


def read(model: keras.Model, inputs: Sequence[Node]) -> list[Node]:
    """The nodes of a functional model's outputs, those of the models inside it included.

    Raises:
        NotImplementedError: it is not functional, a layer takes more than tensors, or an unknown
            layer has several outputs.
    """
    made_of = list(calls(model))
    found, known = dict(zip(map(id, model.inputs), inputs)), {}
    for call in made_of:
        given = [found[id(tensor)] for tensor in call.inputs]
        if isinstance(call.layer, keras.Model):
            made = read(call.layer, given)
        else:
            made = _nodes(call, given, known)
        if len(made) != len(call.outputs):
            raise NotImplementedError(f"{call.layer.name} has {len(call.outputs)} outputs")
        found.update(zip(map(id, call.outputs), made))
    return [found[id(tensor)] for tensor in model.outputs]


def _nodes(call: Call, inputs: list[Node], known: dict) -> list[Node]:
    """The nodes of a layer's outputs; `known`: its operations, which its calls share."""
    layer = call.layer
    if isinstance(layer, zoo.Split):
        ends = np.cumsum(layer.sizes)
        return [Node(op.Channels(layer.compute_dtype, int(end - size), int(end)), inputs)
                for end, size in zip(ends, layer.sizes)]
    if id(layer) not in known:
        read_layer = _READERS.get(type(layer))
        operations = read_layer and read_layer(layer, int(call.outputs[0].shape[-1]))
        known[id(layer)] = operations or [op.Layer(layer.compute_dtype, layer, call.listed)]
    for operation in known[id(layer)]:
        inputs = [Node(operation, inputs)]
    return inputs


def _convolution(layer, _) -> list | None:
    """The convolution and its activation; None for what a `Convolution` cannot be."""
    kernel = np.asarray(layer.kernel)
    activation = _activation(layer.compute_dtype, layer.activation)
    if (layer.data_format != "channels_last" or layer.groups != 1 or set(layer.dilation_rate) != {1}
            or len({*layer.strides}) != 1 or layer.padding not in ("same", "valid")
            or kernel.shape[0] != kernel.shape[1] or activation is None):
        return None
    bias = np.asarray(layer.bias) if layer.use_bias else np.zeros(layer.filters, np.float32)
    return [op.Convolution(layer.compute_dtype, kernel, bias, layer.strides[0],
                           layer.padding.upper()), *activation]


def _activation(dtype, function):
    """What an activation function is, as a list: [] for none, None for an unknown one."""
    name = keras.activations.serialize(function)
    if name == "linear":
        return []
    return [op.Pointwise(dtype, name)] if name in ("relu", "tanh") else None


def _batch_normalisation(layer, _) -> list | None:
    axis = layer.axis if isinstance(layer.axis, int) else layer.axis[0]
    if axis not in (-1, 3):
        return None
    mean, variance, gamma, beta = (np.asarray(value).astype(np.float64) for value in (
        layer.moving_mean, layer.moving_variance, layer.gamma if layer.scale else 1.0,
        layer.beta if layer.center else 0.0))
    factor = gamma / np.sqrt(variance + layer.epsilon)
    shift = beta - mean * factor
    return [op.Affine(layer.compute_dtype, np.float32(factor), np.float32(shift))]


def _shift_scale(layer, channels) -> list:
    factor, shift = (np.broadcast_to(np.float64(value), [channels])
                     for value in (layer.scale, layer.shift))
    return [op.Affine(layer.compute_dtype, np.float32(factor), np.float32(shift * factor))]


def _scale(layer, channels) -> list:
    return [op.Affine(layer.compute_dtype, np.full(channels, layer.factor, np.float32),
                      np.zeros(channels, np.float32))]


def _relu(layer, _) -> list | None:
    if layer.max_value is not None or layer.negative_slope or layer.threshold:
        return None
    return [op.Pointwise(layer.compute_dtype, "relu")]


def _leaky_relu(layer, _) -> list:
    slope = layer.negative_slope if hasattr(layer, "negative_slope") else layer.alpha
    return [op.Pointwise(layer.compute_dtype, "leaky", float(slope))]


def _prelu(layer, _) -> list:
    return [op.Pointwise(layer.compute_dtype, "prelu", np.asarray(layer.alpha).ravel())]


def _concatenation(layer, _) -> list | None:
    return [op.Concatenation(layer.compute_dtype)] if layer.axis in (-1, 3) else None


def _weighted_mean(layer, _) -> list:
    weights = np.float64(layer.mean_weights)
    return [op.Mean(layer.compute_dtype, tuple(weights / weights.sum()))]


def _upsampling(layer, _) -> list | None:
    size = set(layer.size)
    if len(size) != 1 or layer.interpolation != "nearest" or layer.data_format != "channels_last":
        return None
    return [op.Shuffle(layer.compute_dtype, *size, repeats=True)]


_READERS = {
    layers.Conv2D: _convolution,
    layers.BatchNormalization: _batch_normalisation,
    layers.ReLU: _relu,
    layers.LeakyReLU: _leaky_relu,
    layers.Activation: lambda layer, _: _activation(layer.compute_dtype, layer.activation),
    layers.Add: lambda layer, _: [op.Sum(layer.compute_dtype)],
    layers.Concatenate: _concatenation,
    layers.UpSampling2D: _upsampling,
    zoo.Channels: lambda layer, _: [op.Channels(layer.compute_dtype, layer.start, layer.stop)],
    zoo.DepthToSpace: lambda layer, _: [op.Shuffle(layer.compute_dtype, layer.block_size)],
    zoo.NearestUpscale: lambda layer, _: [op.Shuffle(layer.compute_dtype, layer.scale, True)],
    zoo.PReLU: _prelu,
    zoo.Scale: _scale,
    zoo.ShiftScale: _shift_scale,
    zoo.WeightedMean: _weighted_mean,
}
