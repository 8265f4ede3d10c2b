"""TensorFlow at the start of a command: imported quietly, with the choices that come before."""

import importlib
import logging
import os
import sys
import tempfile
import warnings

from common.device import npu, onednn


def quiet_tensorflow(chip: str = "auto") -> None:
    """Import TensorFlow without its start-up noise; a command calls it before anything else does.

    It decides on oneDNN too. Where an NPU may be used, nothing is silenced, as the adapter says in
    an INFO line whether it compiled the graph, and TensorFlow keeps its own choice of oneDNN.

    Args:
        chip: as of `open.open_device`.
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
