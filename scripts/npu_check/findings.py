"""What an Ascend NPU would stumble over in a traced graph, or in the layers of a model."""

import json
import os
import re
from collections import Counter, namedtuple
from pathlib import Path

from common.cli import UserError
from common.nn.keras_compat import keras, tf

SMALLEST_EPSILON = 1e-4  # below it float16 has few digits left, and none at all below 6e-8
LIST = Path(__file__).with_name("npu_ops.txt")
# Where CANN keeps the list that the adapter reads, below $ASCEND_OPP_PATH.
CANN_LISTS = ("built-in/framework/tensorflow/npu_supported_ops.json",
              "framework/built-in/tensorflow/npu_supported_ops.json")

# kind: a word; name: of the first operation, layer or function; layer: of Keras, where it can be
# told, or None; problem and advice: text; count: how many alike there are.
Finding = namedtuple("Finding", "kind name layer problem advice count")

# Names of the operators that the NPU has; advice by name for operators and Keras layers that it
# refuses; where the names are from.
Support = namedtuple("Support", "ops refused layers source")

_REFUSED_TYPES = ("float64", "complex64", "complex128", "variant", "string")
_ADAPTERS_OWN = ("IteratorV2", "IteratorGetNext", "Placeholder", "_Arg", "_Retval")
# The adapter does not count this output either (npu_utils.cpp, kNegligibleUnknownShapeOutput).
_SHAPELESS = ("FusedBatchNormV3", 5)
# What mixed precision runs in float16 first; other operations follow what they get.
_LOWERED = re.compile(r"(Depthwise)?Conv[23]D|(Batch)?MatMul|.*PartitionedCall|(Stateless)?While"
                      r"|(Stateless)?If")
_PASSED_ON = ("Identity", "Cast", "Reshape", "ExpandDims", "Squeeze", "BroadcastTo", "Square",
              "StopGradient")
_DIVISIONS = ("RealDiv", "Div", "Xdivy")
_SINGULAR = ("Rsqrt", "Sqrt", "Reciprocal", "Inv", "Log")


def read_support(path=LIST, environment=os.environ):
    """What the NPU supports: CANN's own list where it is installed, else this project's.

    Args:
        path: of this project's list; the refusals are its in any case.
        environment: where ASCEND_OPP_PATH is looked up.

    Raises:
        UserError: CANN's list cannot be read.
    """
    lines, ops, refused, layers = [], set(), {}, {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):
            lines[-1] += line
        elif line and not line.startswith("#"):
            lines.append(line)
    for line in lines:
        names, _, advice = (part.strip() for part in line.partition("|"))
        if advice:
            target = refused if names.startswith("!") else layers
            target.update(dict.fromkeys(names.split()[1:], advice))
        else:
            ops.update(names.split())
    for cann in CANN_LISTS:
        cann = Path(environment.get("ASCEND_OPP_PATH", ""), cann)
        if environment.get("ASCEND_OPP_PATH") and cann.is_file():
            try:
                ops = {*json.loads(cann.read_text(encoding="utf-8")), *_ADAPTERS_OWN}
            except ValueError as error:
                raise UserError(f"{cann} is no JSON file: {error}") from error
            return Support(ops, refused, layers, str(cann))
    return Support(ops, refused, layers, path.name)


def check_graph(graph, support, layers=()):
    """Findings in a traced function and in the functions that it calls.

    Args:
        graph: of a concrete function.
        support: a `Support`.
        layers: the Keras layers whose names operations can carry.

    Returns:
        list of `Finding`; those of one kind and problem in one layer are one.
    """
    named, found = {layer.name: layer for layer in layers}, []

    def add(kind, op, problem, advice, name=None):
        layer = _layer_of(op, named)
        found.append(Finding(kind, name or op.name, layer and layer.name, problem, advice, 1))

    # Keras puts an update where its variable is, which is on the NPU where there is one.
    with_variables = {variable.device for variable in getattr(graph, "variables", ())}
    for op in operations(graph):
        _check_type(op, support, add)
        for i, tensor in enumerate(op.outputs):
            _check_tensor(op, i, tensor, add)
        if "device:" in op.device and op.device not in with_variables:
            add("device", op, f"placed on {op.device}",
                "leave tf.device out of the step: the adapter places it")
    for op, epsilon in _small_epsilons(graph):
        # On the NPU's stack its statistics and epsilon are of float32 inside one operator.
        if not isinstance(_layer_of(op, named), keras.layers.BatchNormalization):
            add("epsilon", op, f"an epsilon of {epsilon:g} guards a division or a root and may be "
                               "0 in float16", f"use {SMALLEST_EPSILON:g} or more")
    return merged(found)


def check_layers(layers, support):
    """Findings among the layers of a model; a PReLU of Keras cannot be told from its graph."""
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
                                 "a raw operation on a symbolic tensor, which no list tells",
                                 "write a registered layer in common/nn/layers/", 1))
    return merged(found)


def all_layers(model):
    """The layers of a model and of the models in it, each once, and what else Keras 3 calls."""
    layers = {}
    for layer in getattr(model, "operations", None) or model.layers:
        inner = all_layers(layer) if hasattr(layer, "layers") else [layer]
        layers.update((id(each), each) for each in inner)
    return list(layers.values())


def operations(graph, _seen=None):
    """The operations that a function and those that it calls need, each function once.

    What gradients have left over is pruned before a graph is compiled.
    """
    seen = set() if _seen is None else _seen
    for op in _needed(graph):
        yield op
        for name in _called(op):
            if name not in seen:
                seen.add(name)
                yield from operations(graph._get_function(name).graph, seen)


def merged(findings):
    """The findings with those that say the same of one layer counted as one."""
    counts = Counter((f.kind, f.problem, f.layer) for f in findings)
    first = {}
    for finding in findings:
        first.setdefault((finding.kind, finding.problem, finding.layer), finding)
    return [finding._replace(count=counts[key]) for key, finding in first.items()]


def _needed(graph):
    if not hasattr(graph, "control_outputs"):  # no function
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
    """(operation, value) of constants that are added to what is then divided by."""
    seen, inner = set(), set()
    graphs = [graph]
    for graph in graphs:  # it grows
        at_risk = {}
        for op in _needed(graph):
            for name in _called(op):
                if name not in seen:
                    seen.add(name)
                    graphs.append(graph._get_function(name).graph)
                    inner.add(id(graphs[-1]))
            half = any(t.dtype == tf.float16 for t in op.outputs)
            # Variables are float32, and so is what is made of them alone; data enter the step as
            # float32, but may be anything where they enter a function inside it.
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
    """The value of a constant of one number, also through a cast; else None."""
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
