"""The one file that knows the chip: which device a run uses, in which precision, on how many.

`npu` beside it knows the NPU's options, `cluster` who else trains, `session` the configuration of
graph sessions.
"""

import contextlib
import importlib
import logging
import os
import sys
import tempfile
import threading
import warnings
from dataclasses import dataclass
from typing import Any

from common.cli import UserError, end_at_once, one_line, unknown
from common.device import npu, onednn
from common.device.cluster import PATIENCE, find_cluster, local_share
from common.device.ranks import check_environment
from common.device.session import CHIPS, cores, session_config
from common.device.watch import Watch, give_up

__all__ = ["CHIPS", "PRECISIONS", "Device", "open_device", "quiet_tensorflow", "session_config"]

PRECISIONS = ("auto", "float32", "mixed_float16", "mixed_bfloat16")

log = logging.getLogger("sr_zoo")


@dataclass(frozen=True)
class Device:
    """What `open_device` opened: the devices of this process, which is one of `processes`."""

    chip: str
    precision: str
    strategy: Any
    description: str
    rank: int = 0
    processes: int = 1
    watch: Any = None

    @property
    def replicas(self):
        """How many devices, of all processes, share one step."""
        return self.strategy.num_replicas_in_sync * npu.processes()

    @property
    def local_replicas(self):
        """How many of them are this process's."""
        return self.replicas // self.processes

    @property
    def is_chief(self):
        """Whether this process is the one that writes files and says what happens."""
        return self.rank == 0

    @contextlib.contextmanager
    def together(self):
        """Within `with`, a process that is lost ends the others with one clear line.

        All leave the block together, so that none is taken for lost that is done.
        """
        from common.nn.keras_compat import tf

        try:
            try:
                yield self
            except SystemExit:  # the end after a signal, which all processes come to
                self._leave()
                raise
            self._leave()
        except tf.errors.OpError as error:
            if self.watch:
                self.watch.explain()
            if isinstance(error, tf.errors.ResourceExhaustedError):
                raise UserError("out of memory or of disk space (a smaller --batch_size or "
                                f"--patch_size needs less): {one_line(error)[:300]}") from error
            raise
        finally:
            if self.watch:
                self.watch.stop()

    def _leave(self):
        from common.device.exchange import agree
        from common.nn.keras_compat import tf

        # One that has been through here may be gone before its answer has come to the others.
        with contextlib.suppress(tf.errors.OpError):
            agree(self)


def quiet_tensorflow(chip="auto"):
    """Import TensorFlow without its start-up noise; entry points call it before they use it.

    Nothing is silenced where an NPU may be used: the adapter says in an INFO line whether the
    graph was compiled for it.
    """
    onednn.drop_of_another(os.environ, onednn.tensorflow_version())
    if chip == "npu" or (chip == "auto" and not npu.missing("npu_device", "npu_bridge")):
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    onednn.choose()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logging.getLogger("absl").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(tensorflow|keras|flatbuffers)\b.*")
    # TensorFlow 2.21 prints on import before it reads its log level: hold that back, and show it
    # if the import fails.
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            importlib.import_module("tensorflow")
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def open_device(chip="auto", precision="auto", npu_options=None):
    """Choose the device, set it up and set the precision policy of the models built next.

    One log line says which device it is and why it is no other. Where environment variables tell
    of other processes (see `cluster`, for NPUs `npu`), it waits for these.

    Args:
        chip: auto (an NPU if one opens, else a GPU, else the CPU), npu, gpu or cpu.
        precision: auto (mixed_float16 on a GPU, float32 on a CPU), float32, mixed_float16 or
            mixed_bfloat16; on an NPU the adapter casts, and the policy stays float32.
        npu_options: dict of `npu.OPTIONS`; they are checked on every chip.

    Returns:
        a `Device`; its strategy spreads a step over all GPUs that TensorFlow sees.

    Raises:
        UserError: a chip that is not here, or a precision or option that it cannot do.
    """
    if chip not in CHIPS:
        raise unknown("chip", chip, CHIPS)
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    options = npu.check_options(npu_options, training=True)
    not_these = []
    if chip in ("auto", "npu"):
        try:
            return _open_npu(precision, options)
        except npu.NoNpu as error:
            if chip == "npu":
                raise UserError(f"--chip npu: {error}; use --chip auto, gpu or cpu") from error
            not_these.append(f"no NPU: {error}")
            if check_environment(os.environ) > 1:
                raise UserError(f"RANK_SIZE or CM_WORKER_SIZE speaks of several NPUs, but {error}; "
                                "unset it to train on another chip") from error
    return _open_gpu_or_cpu(chip, precision, not_these)


def _open_npu(precision, options):
    # Before anything else touches TensorFlow: what was made before would not be on the NPU.
    here = npu.open_npu(npu.with_precision(options, precision))
    from common.nn.keras_compat import set_policy, tf

    set_policy("float32")
    options = npu.with_precision(options, precision)
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
    """The strategy over all processes; waits until they are up."""
    from tensorflow.python.distribute import collective_all_reduce_strategy as collective

    from common.nn.keras_compat import tf

    # `Watch` does this sooner; on TensorFlow 2.6 each of the two would hold up the other.
    collective.CollectiveAllReduceExtended._enable_check_health = False
    end_at_once()
    os.environ["TF_CONFIG"] = cluster.tf_config
    others = len(cluster.addresses) - 1
    patience = threading.Timer(PATIENCE, give_up, [
        f"the other processes did not come up within {PATIENCE} s; start all of "
        f"{', '.join(cluster.addresses)}"])
    patience.daemon = True
    patience.start()
    log.info("waiting for %d other process%s", others, "es" if others > 1 else "")
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        strategy.reduce("sum", tf.zeros([]), axis=None)
        return strategy
    finally:
        patience.cancel()
