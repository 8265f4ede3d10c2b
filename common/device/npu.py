"""The Ascend NPU: finding it, opening it, and what it does once it is open.

Signatures are those of the TensorFlow adapter, see `chip_options`. Neither TensorFlow nor Keras is
imported before an NPU is asked for.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
from collections import namedtuple
from typing import Any

from common.cli import UserError, one_line
from common.device.chip_options import global_options, uses_float16
from common.device.machine import npu_count, npu_paths
from common.device.ranks import check_environment

# rank and processes: of this process among all that train together; float16: see `uses_float16`.
Npu = namedtuple("Npu", "adapter handle device_id rank processes float16")
_opened = None


class NoNpu(Exception):
    """No NPU can be used; the text says why."""


def missing(*packages: str) -> str | None:
    """Why no package of the adapter can be imported; None if one is installed."""
    if any(importlib.util.find_spec(name) for name in packages):
        return None
    return f"{' and '.join(packages)} {'is' if len(packages) == 1 else 'are'} not installed"


def no_device() -> str | None:
    """Why there is no NPU's device file; None if there is one."""
    return None if npu_count() else f"no device {npu_paths()}".strip()


def load_adapter(name: str) -> Any:
    """Import a module of the adapter.

    Raises:
        NoNpu: it is not installed, or a library that it needs is missing.
    """
    why = missing(name.split(".")[0])
    if why:
        raise NoNpu(why)
    try:
        return importlib.import_module(name)
    except Exception as error:  # CANN's libraries may raise anything
        raise NoNpu(f"{name} cannot be imported ({one_line(error)}); has CANN's set_env.sh been "
                    "sourced?") from error


def open_npu(options: dict) -> Npu:
    """Open the NPU of this process and make it TensorFlow's default device; once per process.

    Args:
        options: checked, see `check_options` and `with_precision`.

    Returns:
        an `Npu`.

    Raises:
        NoNpu: none can be opened.
        UserError: the adapter refuses an option, or an environment variable is wrong.
    """
    global _opened
    if _opened is not None:
        return _opened
    adapter = load_adapter("npu_device")
    size = check_environment(os.environ)
    for name, value in global_options(options).items():
        *groups, last = name.split(".")
        try:
            config = adapter.global_options()
            for group in groups:
                config = getattr(config, group)
            setattr(config, last, value)
        except (ValueError, TypeError, AttributeError) as error:
            raise UserError(f"the adapter refuses {name}={value}: "
                            f"{one_line(error)}") from error
    device_id = os.environ.get("ASCEND_DEVICE_ID") or "0"
    if not device_id.isdigit():
        raise UserError(f"ASCEND_DEVICE_ID must be a device number, got {device_id!r}")
    try:
        handle = adapter.open(int(device_id))
        handle.as_default()
    except RuntimeError as error:
        raise NoNpu(f"the device {device_id} does not open ({one_line(error)})") from error
    rank = getattr(handle, "worker_id", int(os.environ.get("RANK_ID") or 0))
    _opened = Npu(adapter, handle, int(device_id), rank if size > 1 else 0, size,
                  uses_float16(options))
    return _opened


def opened() -> Npu | None:
    """The NPU that this process has opened, or None."""
    return _opened


def processes() -> int:
    """How many processes train together, each on its own NPU; 1 without an NPU."""
    return _opened.processes if _opened else 1


def saturates() -> bool:
    """Whether an overflow gives the largest number and sets a global flag, not infinity."""
    if _opened is None:
        return False
    return not getattr(_opened.adapter, "is_inf_nan_enabled", lambda: True)()


def on_host() -> Any:
    """A `with` block whose operations pass the open NPU by; the adapter ignores `tf.device`."""
    from tensorflow.python.eager import context

    return context.device("/job:localhost/replica:0/task:0/device:CPU:0")


def keep_dtype_scope() -> Any:
    """A `with` block whose operations the open NPU's adapter does not cast."""
    return getattr(_opened.adapter, "keep_dtype_scope", contextlib.nullcontext)()


def set_loop_size(steps: int) -> None:
    """Say how often a loop turns, and takes from its iterator, in the next call of its function."""
    _opened.adapter.set_npu_loop_size(steps)


def loss_scale_optimizer() -> Any:
    """The adapter's class for loss scaling where the precision needs it; else None."""
    return _opened.adapter.train.optimizer.NpuLossScaleOptimizer if (
        _opened and _opened.float16) else None


def add_up(tensors: list) -> list:
    """Sum each tensor over all processes, in one call."""
    return _opened.adapter.distribute.all_reduce(tensors, reduction="sum")


def broadcast(variables: list) -> None:
    """Give every process the values that the variables have on rank 0."""
    _opened.adapter.distribute.broadcast(variables, root_rank=0)
