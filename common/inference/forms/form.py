"""The inference form of a network: made once, run by everything that runs networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from common.inference.forms import operations as op
from common.inference.forms.graph import Node, Rule, ordered, rewritten
from common.inference.forms.reading import read
from common.inference.forms.rewrites import RULES
from common.nn.keras_compat import Tensor, keras, tf


class InferenceForm:
    """A network that is called like its Keras model and cannot be trained or changed.

    It has `name`, `zoo_metadata` if the model has it, and `variables` of its own, in the precision
    that they are used in.

    Args:
        model: where it comes from.
        outputs: its nodes: one, or {name: node}.
    """

    def __init__(self, model: keras.Model, outputs: Any):
        self.name, self._outputs = model.name, outputs
        if hasattr(model, "zoo_metadata"):
            self.zoo_metadata = model.zoo_metadata
        self._order = ordered(tf.nest.flatten(outputs))
        self.variables = []
        for operation in dict.fromkeys(self.operations):
            if isinstance(operation, op.Convolution):
                self.variables += operation.prepare()
            elif isinstance(operation, op.Layer):
                self.variables += operation.layer.variables

    @property
    def operations(self) -> list[op.Operation]:
        """What it computes, one operation after the other."""
        return [node.operation for node in self._order]

    @tf.autograph.experimental.do_not_convert
    def __call__(self, lr: Any, training: bool = False) -> Tensor | dict:
        """What the Keras model answers: RGB float32 (N, H, W, 3) in [0, 255], enlarged."""
        found = {}
        for node in self._order:
            operation = node.operation
            if isinstance(operation, op.Input):
                found[node] = tf.convert_to_tensor(lr, operation.dtype)
                continue
            inputs = [found[each] for each in node.inputs]
            if not isinstance(operation, op.Layer):  # which casts by itself
                inputs = [tf.cast(each, operation.dtype) for each in inputs]
            found[node] = operation.run(*inputs)
        return tf.nest.map_structure(found.get, self._outputs)


def inference_form(model: keras.Model, rules: Sequence[Rule] = RULES) -> Any:
    """The form of a network that is run: the same answers up to rounding, in less time.

    Args:
        model: from `models.create` or `models.load`, of one or several scales and of any
            precision; its weights are copied and it stays as it is.
        rules: what is rewritten.

    Returns:
        an `InferenceForm`; the model itself where it is not made of layers from tensors to tensors.

    Example:
        >>> import models
        >>> import numpy as np
        >>> from common.inference.forms.form import inference_form
        >>> form = inference_form(models.create("edsr", 2, num_blocks=1, num_filters=4))
        >>> form(np.zeros((1, 5, 7, 3), np.float32)).shape
        TensorShape([1, 10, 14, 3])
    """
    try:
        outputs = read(model, [Node(op.Input("float32"))])
    except NotImplementedError:
        return model
    outputs = rewritten(outputs, rules)
    structure = model.output
    return InferenceForm(model, dict(zip(sorted(structure), outputs))
                         if isinstance(structure, dict) else outputs[0])
