"""Find operations in a traced graph that an Ascend NPU cannot run."""

import re

from common.nn.keras_compat import keras, tf
from scripts.npu_check.findings import Finding, merged
from scripts.npu_check.float16 import (
    LARGEST,
    SMALLEST_EPSILON,
    in_float16,
    large_constant,
    small_epsilon,
)
from scripts.npu_check.loops import decided_by_data

_REFUSED_TYPES = ("float64", "complex64", "complex128", "variant", "string")
# Shapes that may stay open: the adapter ignores the first (npu_utils.cpp,
# kNegligibleUnknownShapeOutput), and the second is a constant by then.
_NEGLIGIBLE = {("FusedBatchNormV3", 5), ("BroadcastGradientArgs", 0), ("BroadcastGradientArgs", 1)}
_SIZED_BY_VALUES = ("Where", "NonZero", "Unique", "UniqueV2", "UniqueWithCounts",
                    "UniqueWithCountsV2", "ListDiff", "DynamicPartition")


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
    for each in graphs(graph):
        needed = _needed(each)
        lowered = in_float16(needed, each is not graph)
        for op in needed:
            _check_type(op, support, add)
            _check_shapes(op, each is graph, add)
            if op.name in lowered:
                _check_numbers(op, _layer_of(op, named), add)
            if decided_by_data(op):
                add("loop", op, "data decide how often the loop runs",
                    "give it a number of rounds that is known when it is traced, or unroll it")
            if "device:" in op.device and op.device not in with_variables:
                add("device", op, f"placed on {op.device}",
                    "leave tf.device out of the step: the adapter places it")
    return merged(found)


def graphs(graph):
    """A function's graph and those of the functions that it calls, each once."""
    found, seen = [graph], set()
    for each in found:  # grows while it is iterated
        for op in _needed(each):
            for name in _called(op):
                if name not in seen:
                    seen.add(name)
                    found.append(each._get_function(name).graph)
    return found


def operations(graph):
    """The operations that a function and the functions that it calls need, each function once.

    Leftovers of gradients do not count: they are pruned before a graph is compiled.
    """
    for each in graphs(graph):
        yield from _needed(each)


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
    for tensor in op.outputs:
        name = tensor.dtype.base_dtype.name
        if name in _REFUSED_TYPES:
            add("type", op, f"{name} is not supported", "use float32, or int32", tensor.name)


def _check_shapes(op, outermost, add):
    """Find where a dynamic shape begins; what follows from it is not told again."""
    begins = not any(_is_dynamic(tensor) for tensor in op.inputs)
    # What a function is called with, and what it returns, is looked at where it comes from.
    passes = op.type.endswith("PartitionedCall") or (op.type == "Placeholder" and not outermost)
    for tensor in op.outputs if begins and not passes else ():
        if not _is_dynamic(tensor):
            continue
        if op.type in _SIZED_BY_VALUES:
            add("shape", op, f"the values decide the shape {tensor.shape} of {op.type}",
                "use a mask of the full size, for instance tf.where with three arguments",
                tensor.name)
        else:
            add("shape", op, f"a tensor of shape {tensor.shape} is dynamic"
                if tensor.shape.rank is not None else "the shape of a tensor is unknown",
                "give batches of one size (drop_remainder), patches and tiles of one size",
                tensor.name)


def _is_dynamic(tensor):
    return (tensor.dtype not in (tf.resource, tf.variant)
            and (tensor.op.type, tensor.value_index) not in _NEGLIGIBLE
            and not tensor.shape.is_fully_defined())


def _check_numbers(op, layer, add):
    value = small_epsilon(op)
    # On the NPU's stack its statistics and epsilon are float32 inside one operator.
    if value is not None and not isinstance(layer, keras.layers.BatchNormalization):
        add("epsilon", op, f"an epsilon of {value:g} guards a division or a root and may be 0 in "
                           "float16", f"use {SMALLEST_EPSILON:g} or more")
    value = large_constant(op)
    if value is not None:
        add("range", op, f"a constant of {value:g} may be infinite in float16",
            f"stay within {LARGEST:g}, or scale the other side")


def _layer_of(op, named):
    """The innermost Keras layer in the name of an operation, or None."""
    for part in reversed(op.name.split("/")[:-1]):
        for name in (part, re.sub(r"_\d+$", "", part)):
            if name in named:
                return named[name]
    return None
