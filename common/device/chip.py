"""What the chip in use asks of the code that runs on it, whichever chip that is."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any

from common.device import machine, npu


def fixed_shapes() -> bool:
    """Whether each new shape of an input is compiled for minutes, so that one should serve all."""
    return npu.opened() is not None


def on_host() -> Any:
    """A `with` block whose operations run on the host, as what is written into files."""
    return npu.on_host() if npu.opened() else contextlib.nullcontext()


def only_a_cpu() -> bool:
    """Whether this machine shows neither an NPU nor a GPU; TensorFlow is not imported for it."""
    return not machine.gpu_driver() and npu.missing("npu_device", "npu_bridge") is not None


def at_once(variables: Sequence = (), read: Callable | None = None) -> Any:
    """A `with` block that makes, assigns and reads variables eagerly, for all kinds of chips.

    It is for a chip on which each such operation is dear; see `npu_variables.at_once`.

    Args:
        variables: those that the block reads.
        read: compiled function to the values of all of them.
    """
    if not npu.opened():
        return contextlib.nullcontext()
    from common.device import npu_variables

    return npu_variables.at_once(variables, read)


def keep_float32() -> Any:
    """A `with` block whose operations must not be cast to fewer bits.

    Keras policies leave operations outside layers alone; this is for a chip whose compiler casts.
    """
    return npu.keep_dtype_scope() if npu.opened() else contextlib.nullcontext()


def in_float32(function: Callable) -> Callable:
    """Decorate a loss: its operations and those of its gradient must not be cast to fewer bits.

    The loss is a function of tensors, or of nests that hold some, to one tensor. The gradients of
    what computes its arguments may be cast.
    """
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        if not npu.opened():
            return function(*args, **kwargs)
        return _with_kept_gradient(functools.partial(function, **kwargs), args)
    return wrapper


def _with_kept_gradient(function, args):
    """Call a function in float32, so that its part of a gradient is computed in float32 too.

    The adapter goes by where an operation is made, and a tape makes those of a gradient later.
    """
    from common.nn.keras_compat import tf

    flat = tf.nest.flatten(args)
    tensors = [value for value in flat if tf.is_tensor(value)]

    def kept(*given):
        given_next = iter(given)
        values = [next(given_next) if tf.is_tensor(value) else value for value in flat]
        with keep_float32(), tf.GradientTape(persistent=True) as tape:
            tape.watch(given)
            result = function(*tf.nest.pack_sequence_as(args, values))

        def backward(slope):
            with keep_float32():
                return tape.gradient(result, given, output_gradients=slope)

        return result, backward

    return tf.custom_gradient(kept)(*tensors) if tensors else kept()[0]


def runs_loops() -> bool:
    """Whether the chip itself runs a compiled loop of training steps, without the host."""
    return npu.opened() is not None


def steps_in_a_call(count: int) -> None:
    """Tell the chip how many steps the next call of a compiled loop of training steps takes."""
    if npu.opened():
        npu.set_loop_size(count)


def with_loss_scaling(optimizer: Any, leader: Any = None) -> tuple[Any, Any]:
    """Prepare an optimizer for the loss scaling that the precision in use needs, if any.

    Args:
        optimizer: a Keras optimizer.
        leader: the optimizer, from here, that is applied before this one in the same step.

    Returns:
        the optimizer to apply and the one that scales the loss. Both are the same, except where an
        overflow shows in one flag for all that the chip has computed, which the leader reads and
        clears: then the leader scales, and where it leaves out a step, this one has to as well.
    """
    from common.nn.keras_compat import policy_name
    from common.nn.keras_compat import with_loss_scaling as with_scaling_of_keras

    wrap = npu.loss_scale_optimizer()
    if policy_name() == "mixed_float16":
        optimizer = with_scaling_of_keras(optimizer)
    elif wrap and leader is not None and npu.saturates():
        return optimizer, leader
    elif wrap:
        optimizer = wrap(optimizer)
    return optimizer, optimizer


def all_computed(gradients: list) -> list:
    """The gradients of several optimizers, none of which is applied before all are computed.

    It matters only where an overflow shows in one flag, see `with_loss_scaling`.
    """
    if not npu.saturates():
        return gradients
    from common.nn.keras_compat import tf

    return tf.tuple(gradients)
