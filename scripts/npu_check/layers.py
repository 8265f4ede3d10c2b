"""Find Keras layers that an Ascend NPU cannot run."""

from common.nn.keras_compat import keras
from scripts.npu_check.findings import Finding, merged


def check_layers(layers, support):
    """Find refused layers; a graph does not show, for instance, that it is from Keras's PReLU."""
    found = []
    for layer in layers:
        for name, advice in support.layers.items():
            kind = getattr(keras.layers, name, None)
            if kind is not None and isinstance(layer, kind):
                found.append(Finding("layer", layer.name, layer.name,
                                     f"{name} of Keras is not supported", advice, 1))
        raw = type(layer).__name__ in ("TFOpLambda", "SlicingOpLambda")
        if raw or not isinstance(layer, keras.layers.Layer):
            found.append(Finding("layer", layer.name, layer.name,
                                 "a raw operation on a symbolic tensor, which no list covers",
                                 "write a registered layer in common/nn/layers/", 1))
    return merged(found)


def all_layers(model):
    """The layers of a model and within its layers, each once, and Keras 3's raw operations."""
    layers = {}
    for layer in getattr(model, "operations", None) or model.layers:
        inner = all_layers(layer) if hasattr(layer, "layers") else [layer]
        if isinstance(layer, keras.layers.Wrapper):
            inner.append(layer.layer)
        layers.update((id(each), each) for each in inner)
    return list(layers.values())
