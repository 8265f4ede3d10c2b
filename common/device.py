"""The one file that knows the chip: which device a run uses, in which precision, on how many."""

import importlib.util
import logging
import os
import sys
import tempfile
import warnings
from dataclasses import dataclass
from typing import Any

from common.cli import UserError

CHIPS = ("auto", "npu", "gpu", "cpu")
PRECISIONS = ("auto", "float32", "mixed_float16", "mixed_bfloat16")

log = logging.getLogger("sr_zoo")


@dataclass(frozen=True)
class Device:
    """What `open_device` opened."""

    chip: str
    precision: str
    strategy: Any
    description: str

    @property
    def replicas(self):
        """How many devices share one step."""
        return self.strategy.num_replicas_in_sync


def quiet_tensorflow(chip="auto"):
    """Import TensorFlow without its start-up noise; entry points call it before they use it.

    Nothing is silenced where an NPU may be used: the adapter says in an INFO line whether the
    graph was compiled for it.
    """
    if chip == "npu" or (chip == "auto" and _npu_package()):
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # off by default in TensorFlow 2.6
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


def open_device(chip="auto", precision="auto"):
    """Choose the device, set it up and set the precision policy of the models built next.

    Args:
        chip: auto (a GPU where there is one, else the CPU), gpu or cpu.
        precision: auto (mixed_float16 on a GPU, float32 on a CPU), float32, mixed_float16 or
            mixed_bfloat16.

    Returns:
        a `Device`; its strategy spreads a step over all GPUs that TensorFlow sees.

    Raises:
        UserError: a chip that is not here, or a precision that it cannot do.
    """
    from common.keras_compat import IS_KERAS_3, set_policy, tf

    if chip not in CHIPS:
        raise UserError(f"unknown chip {chip!r}; choose one of {', '.join(CHIPS)}")
    if precision not in PRECISIONS:
        raise UserError(f"unknown precision {precision!r}; choose one of {', '.join(PRECISIONS)}")
    if chip == "npu":
        raise UserError("--chip npu: no NPU can be opened here; use --chip auto, gpu or cpu")
    gpus = tf.config.list_physical_devices("GPU")
    if chip == "gpu" and not gpus:
        raise UserError("--chip gpu: TensorFlow sees no GPU here; use --chip auto or cpu, or check "
                        "the driver with nvidia-smi")
    if chip == "cpu" or not gpus:
        why = "asked for" if chip == "cpu" else "TensorFlow sees no GPU"
        tf.config.set_visible_devices([], "GPU")
        chip, description = "cpu", f"CPU ({os.cpu_count()} cores; {why})"
        strategy = tf.distribute.get_strategy()
    else:
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
        names = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
                 for gpu in gpus]
        chip, description = "gpu", f"{len(gpus)} x {names[0]}"
        strategy = (tf.distribute.MirroredStrategy() if len(gpus) > 1
                    else tf.distribute.get_strategy())
    if precision == "auto":
        precision = "mixed_float16" if chip == "gpu" else "float32"
    if chip == "cpu" and precision == "mixed_float16":
        raise UserError("--precision mixed_float16 needs a GPU; on a CPU use float32 or "
                        "mixed_bfloat16")
    if chip == "cpu" and precision == "mixed_bfloat16" and not IS_KERAS_3:
        raise UserError(f"--precision mixed_bfloat16: TensorFlow {tf.__version__} cannot do it on "
                        "a CPU; use float32")
    set_policy(precision)
    log.info("device: %s, precision %s", description, precision)
    return Device(chip, precision, strategy, description)


def _npu_package():
    return any(importlib.util.find_spec(name) for name in ("npu_device", "npu_bridge"))
