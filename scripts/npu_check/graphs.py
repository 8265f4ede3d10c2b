"""Find operations in a traced graph that an Ascend NPU cannot run."""

import re

from common.nn.keras_compat import keras, tf
from scripts.npu_check.findings import Finding, merged

SMALLEST_EPSILON = 1e-4  # below it float16 has few digits left, and none at all below 6e-8

_REFUSED_TYPES = ("float64", "complex64", "complex128", "variant", "string")
# The adapter ignores the shape of this output too (npu_utils.cpp, kNegligibleUnknownShapeOutput).
_SHAPELESS = ("FusedBatchNormV3", 5)
# Mixed precision runs these in float16; other operations follow their inputs.
_LOWERED = re.compile(r"(Depthwise)?Conv[23]D|(Batch)?MatMul|.*PartitionedCall|(Stateless)?While"
                      r"|(Stateless)?If")
_PASSED_ON = ("Identity", "Cast", "Reshape", "ExpandDims", "Squeeze", "BroadcastTo", "Square",
              "StopGradient")
_DIVISIONS = ("RealDiv", "Div", "Xdivy")
_SINGULAR = ("Rsqrt", "Sqrt", "Reciprocal", "Inv", "Log")


def check_graph(graph, support, layers=()):
    """Find faults in a traced function and the functions that it calls.

    Args:
        graph: of a concrete function.
        support: a `support.Support`.
        layers: Keras layers, to name the layer that an operation is from.

    Returns:
        list of `Finding`, merged.
    """
    named, found = {layer.name: layer for layer in layers}, []

    def add(kind, op, problem, advice, name=None):
        layer = _layer_of(op, named)
        found.append(Finding(kind, name or op.name, layer and layer.name, problem, advice, 1))

    # Keras places an update with its variable, which is on the NPU where there is one.
    with_variables = {variable.device for variable in getattr(graph, "variables", ())}
    for op in operations(graph):
        _check_type(op, support, add)
        for i, tensor in enumerate(op.outputs):
            _check_tensor(op, i, tensor, add)
        if "device:" in op.device and op.device not in with_variables:
            add("device", op, f"placed on {op.device}",
                "leave tf.device out of the step: the adapter places it")
    for op, epsilon in _small_epsilons(graph):
        # On the NPU's stack its statistics and epsilon are float32 inside one operator.
        if not isinstance(_layer_of(op, named), keras.layers.BatchNormalization):
            add("epsilon", op, f"an epsilon of {epsilon:g} guards a division or a root and may be "
                               "0 in float16", f"use {SMALLEST_EPSILON:g} or more")
    return merged(found)


def operations(graph, _seen=None):
    """The operations that a function and the functions that it calls need, each function once.

    Leftovers of gradients do not count: they are pruned before a graph is compiled.
    """
    seen = set() if _seen is None else _seen
    for op in _needed(graph):
        yield op
        for name in _called(op):
            if name not in seen:
                seen.add(name)
                yield from operations(graph._get_function(name).graph, seen)


def _needed(graph):
    if not hasattr(graph, "control_outputs"):  # not a function
        return graph.get_operations()
    needed, ahead = set(), [*(tensor.op for tensor in graph.outputs), *graph.control_outputs]
    while ahead:
        op = ahead.pop()
        if op not in needed:
            needed.add(op)
            ahead += [*(tensor.op for tensor in op.inputs), *op.control_inputs]
    return [op for op in graph.get_operations() if op in needed]


def _called(op):
    for value in op.node_def.attr.values():
        for function in (value.func, *value.list.func):
            if function.name:
                yield function.name


def _check_type(op, support, add):
    if op.type in support.refused:
        add("operator", op, f"{op.type} is not supported", support.refused[op.type])
    elif op.type not in support.ops:
        add("operator", op, f"{op.type} is not among the operators in {support.source}",
            "use others, or add it there with its source if CANN has it")


def _check_tensor(op, i, tensor, add):
    name = tensor.dtype.base_dtype.name
    if name in _REFUSED_TYPES:
        add("type", op, f"{name} is not supported", "use float32, or int32", tensor.name)
    shape = tensor.shape
    if tensor.dtype in (tf.resource, tf.variant) or (op.type, i) == _SHAPELESS:
        return
    if shape.rank is None or (shape.rank == 4 and not shape.is_fully_defined()):
        add("shape", op, f"a tensor of shape {shape} is dynamic" if shape.rank else
            "the shape of a tensor is unknown",
            "give batches of one size (drop_remainder), patches and tiles of one size",
            tensor.name)


def _small_epsilons(graph):
    """(operation, value) of small constants added to a divisor or to the argument of a root."""
    seen, inner = set(), set()
    graphs = [graph]
    for graph in graphs:  # grows while it is iterated
        at_risk = {}
        for op in _needed(graph):
            for name in _called(op):
                if name not in seen:
                    seen.add(name)
                    graphs.append(graph._get_function(name).graph)
                    inner.add(id(graphs[-1]))
            half = any(t.dtype == tf.float16 for t in op.outputs)
            # Variables and what is computed from them alone are float32. Data enter the step as
            # float32, but may have any type where they enter a function inside it.
            at_risk[op.name] = half or bool(_LOWERED.match(op.type)) or (
                op.type == "Placeholder" and id(graph) in inner
                and op.outputs[0].dtype != tf.resource) or any(
                at_risk.get(t.op.name, False) for t in op.inputs)
            if op.type in ("Add", "AddV2", "Maximum") and at_risk[op.name]:
                for constant, other in (op.inputs, op.inputs[::-1]):
                    value = _scalar(constant)
                    if value is None or other.op.type == "Const":
                        continue
                    vanished = value == 0 and half and op.type != "Maximum"
                    small = 0 < value < 0.999 * SMALLEST_EPSILON  # 1e-4 itself is rounded
                    if (small or vanished) and _divides(op.outputs[0]):
                        yield op, value


def _scalar(tensor):
    """The value of a constant of one number, also behind a cast; else None."""
    op = tensor.op
    while op.type in ("Cast", "Identity") and op.inputs:
        op = op.inputs[0].op
    if op.type != "Const" or not op.outputs[0].dtype.is_floating:
        return None
    value = tf.make_ndarray(op.get_attr("value"))
    return float(value.reshape(-1)[0]) if value.size == 1 else None


def _divides(tensor):
    for op in tensor.consumers():
        if op.type in _SINGULAR or (op.type in _DIVISIONS and op.inputs[1].name == tensor.name):
            return True
        if op.type in _PASSED_ON and _divides(op.outputs[0]):
            return True
    return False


def _layer_of(op, named):
    """The innermost Keras layer in the name of an operation, or None."""
    for part in reversed(op.name.split("/")[:-1]):
        for name in (part, re.sub(r"_\d+$", "", part)):
            if name in named:
                return named[name]
    return None
