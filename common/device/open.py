"""Opening a device: an NPU, the GPUs or the CPU, alone or with other processes.

`npu` knows how an NPU opens, `cluster` which processes belong together.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

from common.cli import UserError, end_at_once, unknown
from common.device import npu, onednn
from common.device.chip_options import check_options, with_precision
from common.device.cluster import PATIENCE, find_cluster, local_share
from common.device.device import Device
from common.device.ranks import check_environment
from common.device.session import CHIPS, cores
from common.device.watch import Watch, give_up

PRECISIONS = ("auto", "float32", "mixed_float16", "mixed_bfloat16")

log = logging.getLogger("sr_zoo")


def open_device(chip: str = "auto", precision: str = "auto",
                chip_options: dict[str, Any] | None = None) -> Device:
    """Choose the device, open it and set the precision policy of the models built next.

    One log line says which device it is and why no other. Where environment variables describe
    other processes (see `cluster`, for NPUs `npu`), it waits for them.

    Args:
        chip: auto (an NPU if one opens, else a GPU, else the CPU), npu, gpu or cpu.
        precision: auto (mixed_float16 on a GPU, float32 on a CPU), float32, mixed_float16 or
            mixed_bfloat16; on an NPU the adapter casts, and the policy stays float32.
        chip_options: dict of `chip_options.OPTIONS`; they are checked whatever the chip.

    Returns:
        a `Device`; its strategy spreads a step over all GPUs that TensorFlow sees.

    Raises:
        UserError: the chip is not here, or it has no such precision or option.
    """
    if chip not in CHIPS:
        raise unknown("chip", chip, CHIPS)
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    options = check_options(chip_options, training=True)
    not_these = []
    if chip in ("auto", "npu"):
        try:
            return _open_npu(precision, options)
        except npu.NoNpu as error:
            if chip == "npu":
                raise UserError(f"--chip npu: {error}; use --chip auto, gpu or cpu") from error
            not_these.append(f"no NPU: {error}")
            if check_environment(os.environ) > 1:
                raise UserError(f"RANK_SIZE or CM_WORKER_SIZE asks for several NPUs, but {error}; "
                                "unset it to train on another chip") from error
    return _open_gpu_or_cpu(chip, precision, not_these)


def _open_npu(precision, options):
    # Before anything else uses TensorFlow: what is made earlier is not on the NPU.
    here = npu.open_npu(with_precision(options, precision))
    from common.nn.keras_compat import set_policy, tf

    set_policy("float32")
    options = with_precision(options, precision)
    mode = options.get("precision_mode_v2", options.get("precision_mode"))
    description = f"NPU {here.device_id}" + _which(here.rank, here.processes)
    log.info("device: %s, precision %s (an NPU comes before GPU and CPU)", description, mode)
    return Device("npu", mode, tf.distribute.get_strategy(), description, here.rank, here.processes)


def _open_gpu_or_cpu(chip, precision, not_these):
    from common.nn.keras_compat import IS_KERAS_3, set_policy, tf

    gpus = tf.config.list_physical_devices("GPU") if chip != "cpu" else []
    gpus = local_share(os.environ, gpus)
    if chip == "gpu" and not gpus:
        raise UserError("--chip gpu: TensorFlow sees no GPU here; use --chip auto or cpu, or check "
                        "the driver with nvidia-smi")
    if gpus:
        tf.config.set_visible_devices(gpus, "GPU")
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
        names = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
                 for gpu in gpus]
        chip, description = "gpu", f"{len(gpus)} x {names[0]}"
    else:
        if chip == "auto":
            not_these.append("no GPU: TensorFlow sees none")
        tf.config.set_visible_devices([], "GPU")
        chip, description = "cpu", f"CPU ({cores()} cores)"
    if precision == "auto":
        precision = "mixed_float16" if chip == "gpu" else "float32"
    if chip == "cpu" and precision == "mixed_float16":
        raise UserError("--precision mixed_float16 needs a GPU; on a CPU use float32 or "
                        "mixed_bfloat16")
    if chip == "cpu" and precision == "mixed_bfloat16" and not IS_KERAS_3:
        raise UserError(f"--precision mixed_bfloat16: TensorFlow {tf.__version__} cannot do it on "
                        "a CPU; use float32")
    if chip == "cpu" and onednn.note():
        not_these.append(onednn.note())
    why = "; ".join(not_these) or "as asked for"
    cluster = find_cluster(os.environ)
    rank, processes = (cluster.rank, len(cluster.addresses)) if cluster else (0, 1)
    description += _which(rank, processes)
    log.info("device: %s, precision %s (%s)", description, precision, why)
    watch = None
    if cluster:
        strategy = _join(cluster)
        watch = Watch(cluster)
    elif len(gpus) > 1:
        strategy = tf.distribute.MirroredStrategy()
    else:
        strategy = tf.distribute.get_strategy()
    set_policy(precision)
    return Device(chip, precision, strategy, description, rank, processes, watch)


def _which(rank, processes):
    return f", process {rank} of {processes}" if processes > 1 else ""


def _join(cluster):
    """Wait until all processes have started; returns the strategy over them."""
    from tensorflow.python.distribute import collective_all_reduce_strategy as collective

    from common.nn.keras_compat import tf

    # `Watch` notices a loss sooner; on TensorFlow 2.6 the two checks block each other.
    collective.CollectiveAllReduceExtended._enable_check_health = False
    end_at_once()
    os.environ["TF_CONFIG"] = cluster.tf_config
    others = len(cluster.addresses) - 1
    patience = threading.Timer(PATIENCE, give_up, [
        f"the other processes did not start within {PATIENCE} s; start all of "
        f"{', '.join(cluster.addresses)}"])
    patience.daemon = True
    patience.start()
    log.info("waiting for %d other process%s", others, "es" if others > 1 else "")
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        # All batches are whole; it would exchange for each whether they are.
        strategy.extended.experimental_enable_get_next_as_optional = False
        strategy.reduce("sum", tf.zeros([]), axis=None)
        return strategy
    finally:
        patience.cancel()
