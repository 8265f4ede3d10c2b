"""What the chip in use asks of the code that runs on it, whichever chip that is."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

from common.device import npu


def fixed_shapes() -> bool:
    """Whether each new shape of an input is compiled for minutes, so that one should serve all."""
    return npu.opened() is not None


def in_float32(function: Callable) -> Callable:
    """Decorate a function whose operations must not be cast to fewer bits: large sums, as losses.

    Keras policies leave such operations alone; this is for a chip whose compiler casts.
    """
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        with npu.keep_dtype_scope() if npu.opened() else contextlib.nullcontext():
            return function(*args, **kwargs)
    return wrapper


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
