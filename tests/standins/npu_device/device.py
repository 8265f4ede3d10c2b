"""Opening a device, and the state that goes with it."""

import contextlib
import json
import os

import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2
from tensorflow.python.eager import context, def_function
from tensorflow.python.framework import ops

from npu_device import operations
from npu_device.options import Config

_state = {"handle": None, "default": False, "options": None, "within": None}
_function, _call = tf.function, def_function.Function.__call__


def record(call, **values):
    """Add a call to the file of records."""
    path = os.environ.get("NPU_STANDIN_RECORD")
    if path:
        handle = _state["handle"]
        row = {"rank": handle.worker_id if handle else None, "call": call, **values}
        with _open_file(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


_open_file = open


def global_options():
    """The options that `open` reads."""
    if _state["options"] is None:
        _state["options"] = Config(frozen=lambda: _state["handle"] is not None)
    return _state["options"]


def open(device_id=None):  # noqa: A001 - the adapter's name
    """Open a device; its number is by default that of ASCEND_DEVICE_ID."""
    if device_id is None:
        device_id = int(os.getenv("ASCEND_DEVICE_ID", "0"))
    used = bool(context.context()._initialized)
    if _state["handle"] is not None:
        raise RuntimeError(f"Failed create npu instance on device {device_id} as existed instance")
    if device_id >= int(os.getenv("NPU_STANDIN_DEVICES", "8")):
        raise RuntimeError(f"Failed open npu device {device_id} : no such device")
    if os.getenv("CM_WORKER_SIZE") is not None and os.getenv("RANK_SIZE") is not None:
        raise ValueError("RANK_SIZE and CM_WORK_SIZE cannot be configured at the same time")
    workers = int(os.getenv("RANK_SIZE") or os.getenv("CM_WORKER_SIZE") or "1")
    worker = _worker_id(device_id) if workers > 1 else 0
    options = global_options().given()
    _state["handle"] = NpuDeviceHandle(context.context(), device_id, {}, workers, worker)
    record("open", device_id=device_id, options=options, tensorflow_was_used=used)
    return _state["handle"]


def _worker_id(device_id):
    chief, table = os.getenv("CM_CHIEF_IP"), os.getenv("RANK_TABLE_FILE")
    if chief is not None and table is not None:
        raise RuntimeError("CM_CHIEF_IP and RANK_TABLE_FILE cannot be configured at the same time.")
    if chief is not None:
        for name in ("CM_CHIEF_PORT", "CM_CHIEF_DEVICE"):
            if not os.getenv(name):
                raise RuntimeError(f"You must specify {name} in distribution mode")
        return device_id
    if table is None:
        raise RuntimeError("CM_CHIEF_IP and RANK_TABLE_FILE are all not be configured.")
    if not os.getenv("RANK_ID"):
        raise RuntimeError("You must specify rank id by set env RANK_ID in distribution mode")
    with _open_file(table, encoding="utf-8") as file:
        devices = [device for server in json.load(file)["server_list"]
                   for device in server["device"]]
    ranks = [int(device["rank_id"]) for device in devices]
    if sorted(ranks) != list(range(int(os.environ["RANK_SIZE"]))):
        raise RuntimeError(f"the rank table has ranks {ranks}")
    return int(os.environ["RANK_ID"])


class NpuDeviceHandle:
    """What `open` returns."""

    def __init__(self, ctx, device_id, device_options, workers_num, worker_id):
        self._device_id = device_id
        self.workers_num = workers_num
        self.worker_id = worker_id

    def name(self):
        """The device as TensorFlow would call it."""
        return f"/job:localhost/replica:0/task:0/device:NPU:{self._device_id}"

    def scope(self):
        """The device for a `with`."""
        return contextlib.nullcontext()

    def is_cluster_worker(self):
        """Whether there are other processes."""
        return self.workers_num > 1 and self.workers_num > self.worker_id >= 0

    def as_default(self):
        """Run on the device from now on."""
        tf.function = npu_compat_function
        def_function.Function.__call__ = _never_nested_call
        ops.device = lambda *_: contextlib.nullcontext()  # the adapter ignores tf.device
        operations.note_all()
        _state["default"] = True
        record("as_default")
        return self


def global_npu_ctx():
    """The handle of the default device, or None."""
    return _state["handle"] if _state["default"] else None


def npu_compat_function(func=None, *args, **kwargs):
    """`tf.function` without XLA."""
    for name in ("experimental_compile", "jit_compile"):
        if kwargs.get(name):
            kwargs[name] = False
    return _function(*args, **kwargs)(func) if func is not None else _function(*args, **kwargs)


def _never_nested_call(self, *args, **kwargs):
    """Run a `tf.function`; one that is called within another becomes part of it."""
    if _state["within"] is not None:
        try:
            return self._python_function(*args, **kwargs)
        except Exception:  # as the adapter does
            return _call(self, *args, **kwargs)
    _state["within"] = self._python_function.__name__
    operations.note("function", _state["within"])
    try:
        return _call(self, *args, **kwargs)
    finally:
        _state["within"] = None


def set_npu_loop_size(loop_size):
    """Steps that the device takes on its own."""
    record("set_npu_loop_size", loop_size=loop_size)


def set_device_sat_mode(mode):
    """0: overflows saturate; 1: they give infinity."""
    os.environ["NPU_STANDIN_INF_NAN"] = str(mode)


def is_inf_nan_enabled():
    """Whether overflows give infinity."""
    return os.environ.get("NPU_STANDIN_INF_NAN") == "1"


@contextlib.contextmanager
def keep_dtype_scope():
    """Operators that are not cast: an attribute of those that are made within."""
    record("keep_dtype_scope")
    kept = {"_keep_dtype": attr_value_pb2.AttrValue(i=1)}
    with ops.get_default_graph()._attr_scope(kept):
        yield
