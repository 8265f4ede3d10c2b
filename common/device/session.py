"""Configures graph sessions, which run frozen graphs on TensorFlow 1.15, 2.6.5 and 2.21.

It imports no Keras and runs on Python 3.7.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any

from common.cli import UserError, one_line, unknown
from common.device import npu, onednn
from common.device.chip_options import check_mixlist, check_options, session_parameters

CHIPS = ("auto", "npu", "gpu", "cpu")

log = logging.getLogger("sr_zoo")


def session_config(chip: str = "auto", precision_mode: str | None = "allow_mix_precision",
                   chip_options: dict | None = None) -> Any:
    """The `ConfigProto` of a session on a chip: `tf.compat.v1.Session(config=session_config())`.

    For an NPU the adapter is loaded. It changes TensorFlow for the whole process and switches
    TensorFlow 2 to graphs. Close such a session explicitly.

    Args:
        chip: auto (an NPU if there is one and its adapter loads, else a GPU, else the CPU), npu,
            gpu or cpu.
        precision_mode: of the NPU, see `chip_options.PRECISION_MODES`; None: the device's default.
        chip_options: dict of further `chip_options.OPTIONS`; precision_mode_v2 replaces
            `precision_mode`.

    Raises:
        UserError: the chip is not here, or the adapter has no such option.
    """
    import tensorflow as tf  # of any version, without the Keras of `keras_compat`

    if chip not in CHIPS:
        raise unknown("chip", chip, CHIPS)
    options = dict(chip_options or {})
    if "precision_mode_v2" not in options:
        options.setdefault("precision_mode", precision_mode)
    options = check_options(options)
    check_mixlist(options)
    not_these = []
    if chip in ("auto", "npu"):
        try:
            _load_adapter(tf, look=chip == "auto")
            log.info("session: NPU %s (%s)", os.environ.get("ASCEND_DEVICE_ID") or 0, chip)
            return npu_config(options)
        except npu.NoNpu as error:
            if chip == "npu":
                raise UserError(f"--chip npu: {error}; use --chip auto, gpu or cpu") from error
            not_these.append(f"no NPU: {error}")
    config = tf.compat.v1.ConfigProto(allow_soft_placement=True)
    gpus = tf.config.experimental.list_physical_devices("GPU") if chip != "cpu" else []
    if gpus:
        config.gpu_options.allow_growth = True
    elif chip == "gpu":
        raise UserError("--chip gpu: TensorFlow sees no GPU here; use --chip auto or cpu")
    else:
        config.intra_op_parallelism_threads = cores()
        config.inter_op_parallelism_threads = 2
        config.device_count["GPU"] = 0
        if chip == "auto":
            not_these.append("no GPU: TensorFlow sees none")
    if not gpus and onednn.note():
        not_these.append(onednn.note())
    log.info("session: %s (%s)", "GPU" if gpus else "CPU", "; ".join(not_these) or "asked for")
    return config


def npu_config(options: dict) -> Any:
    """The `ConfigProto` of an NPU for options from `chip_options.check_options`."""
    import tensorflow as tf
    from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig

    config = tf.compat.v1.ConfigProto(allow_soft_placement=True)
    rewrite = config.graph_options.rewrite_options
    rewrite.remapping = RewriterConfig.OFF
    rewrite.memory_optimization = RewriterConfig.OFF  # as the adapter itself sets it
    optimizer = rewrite.custom_optimizers.add()
    optimizer.name = "NpuOptimizer"
    optimizer.parameter_map["use_off_line"].b = True
    optimizer.parameter_map["graph_run_mode"].i = 0  # inference; by itself the adapter trains
    for name, value in session_parameters(options).items():
        if isinstance(value, bool):
            optimizer.parameter_map[name].b = value
        elif isinstance(value, int):
            optimizer.parameter_map[name].i = value
        else:
            optimizer.parameter_map[name].s = value.encode()
    return config


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def uses_npu(config: Any) -> bool:
    """Whether a `ConfigProto` from `session_config` is for an NPU."""
    optimizers = config.graph_options.rewrite_options.custom_optimizers
    return any(optimizer.name == "NpuOptimizer" for optimizer in optimizers)


@contextlib.contextmanager
def plain_errors(config: Any, path: str | os.PathLike) -> Iterator[None]:
    """Turn an NPU's errors into one line; it opens, and compiles the graph, in the first run.

    Args:
        config: of the session, from `session_config`.
        path: of the frozen graph that it runs.

    Raises:
        UserError: the NPU cannot run the graph. Errors of other chips are not touched.
    """
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        if not uses_npu(config):
            raise
        raise UserError(f"the NPU cannot run {path}: {one_line(error)[:300]}; see CANN's logs, or "
                        "use --chip gpu or cpu") from error


def _load_adapter(tf, look):
    """Load the adapter of this TensorFlow for graph sessions, or raise `npu.NoNpu`.

    `look`: whether to require a device file first. The adapter changes TensorFlow when it is
    loaded, and reports a missing device only in the first run.
    """
    name = "npu_bridge" if tf.__version__.startswith("1.") else "npu_device"
    why = look and (npu.missing(name) or npu.no_device())
    if why:
        raise npu.NoNpu(why)
    if name == "npu_bridge":
        npu.load_adapter("npu_bridge.npu_init")
        return
    adapter = npu.load_adapter(name)
    try:
        adapter.compat.enable_v1()
    except Exception as error:  # the adapter's library does not load
        raise npu.NoNpu(f"npu_device cannot run sessions ({error})") from error
