"""Find constants that float16 cannot hold, where an NPU may compute in float16."""

import re

import numpy as np

from common.nn.keras_compat import tf

SMALLEST_EPSILON = 1e-4  # below it float16 has few digits left, and none at all below 6e-8
LARGEST = float(np.finfo(np.float16).max)  # 65504

# Mixed precision runs these in float16; other operations follow their inputs.
_LOWERED = re.compile(r"(Depthwise)?Conv[23]D|(Batch)?MatMul|.*PartitionedCall|(Stateless)?While"
                      r"|(Stateless)?If")
_PASSED_ON = ("Identity", "Cast", "Reshape", "ExpandDims", "Squeeze", "BroadcastTo", "Square",
              "StopGradient")
_DIVISIONS = ("RealDiv", "Div", "Xdivy")
_SINGULAR = ("Rsqrt", "Sqrt", "Reciprocal", "Inv", "Log")


def in_float16(needed, inner):
    """Names of the operations of one graph that an NPU may run in float16.

    Args:
        needed: the graph's operations, in order.
        inner: whether it is called from another graph.
    """
    names = set()
    for op in needed:
        # Variables and what is computed from them alone are float32. Data enter the step as
        # float32, but may have any type where they enter a function inside it.
        entered = op.type == "Placeholder" and inner and op.outputs[0].dtype != tf.resource
        if (any(tensor.dtype == tf.float16 for tensor in op.outputs) or _LOWERED.match(op.type)
                or entered or any(tensor.op.name in names for tensor in op.inputs)):
            names.add(op.name)
    return names


def small_epsilon(op):
    """The small constant that an addition or a maximum puts under a division or a root, or None."""
    if op.type not in ("Add", "AddV2", "Maximum"):
        return None
    half = op.outputs[0].dtype == tf.float16
    for tensor, other in (op.inputs, op.inputs[::-1]):
        constant = _constant(tensor)
        if constant is None or constant.size != 1 or other.op.type == "Const":
            continue
        value = float(constant.reshape(-1)[0])
        vanished = value == 0 and half and op.type != "Maximum"
        small = 0 < value < 0.999 * SMALLEST_EPSILON  # 1e-4 itself is rounded
        if (small or vanished) and _divides(op.outputs[0]):
            return value
    return None


def large_constant(op):
    """The largest constant beyond float16 among an operation's inputs, or None.

    Infinity in float32 is meant so and stays what it is; in float16 it may be a number cut off.
    """
    if op.type in ("Cast", "Identity"):  # the operation behind it counts
        return None
    found = []
    for tensor in op.inputs:
        constant = _constant(tensor)
        if constant is not None and constant.size:
            sizes = np.abs(constant.astype(np.float64))
            if tensor.dtype != tf.float16:
                sizes = sizes[np.isfinite(sizes)]
            found += [size for size in [sizes.max(initial=0)] if size > LARGEST]
    return max(found, default=None)


def _constant(tensor):
    """The value of a floating constant, also behind a cast; else None."""
    op = tensor.op
    while op.type in ("Cast", "Identity") and op.inputs:
        op = op.inputs[0].op
    if op.type != "Const" or not op.outputs[0].dtype.is_floating:
        return None
    return tf.make_ndarray(op.get_attr("value"))


def _divides(tensor):
    for op in tensor.consumers():
        if op.type in _SINGULAR or (op.type in _DIVISIONS and op.inputs[1].name == tensor.name):
            return True
        if op.type in _PASSED_ON and _divides(op.outputs[0]):
            return True
    return False
