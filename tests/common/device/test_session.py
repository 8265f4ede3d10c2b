"""The configuration of graph sessions, beside ones that are written out by hand."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from google.protobuf import text_format

from common.cli import UserError
from common.device import npu
from common.device import session as device
from common.device.chip_options import check_options
from common.device.session import cores, npu_config, session_config, uses_npu
from common.inference import frozen
from common.nn.keras_compat import tf

ROOT = Path(__file__).resolve().parents[3]
STANDINS = ROOT / "tests" / "standins"

# The adapter's own examples set memory_optimization to RewriterConfig.OFF, a number that this field
# calls MANUAL.
NPU = """
allow_soft_placement: true
graph_options {
  rewrite_options {
    remapping: OFF
    memory_optimization: MANUAL
    custom_optimizers {
      name: "NpuOptimizer"
      parameter_map { key: "use_off_line" value { b: true } }
      parameter_map { key: "graph_run_mode" value { i: 0 } }
      parameter_map { key: "precision_mode" value { s: "allow_mix_precision" } }
    }
  }
}
"""
MORE = """
allow_soft_placement: true
graph_options {
  rewrite_options {
    remapping: OFF
    memory_optimization: MANUAL
    custom_optimizers {
      name: "NpuOptimizer"
      parameter_map { key: "use_off_line" value { b: true } }
      parameter_map { key: "graph_run_mode" value { i: 0 } }
      parameter_map { key: "precision_mode_v2" value { s: "mixed_float16" } }
      parameter_map { key: "deterministic" value { i: 1 } }
      parameter_map { key: "enable_dump" value { b: true } }
      parameter_map { key: "dump_path" value { s: "FOLDER" } }
      parameter_map { key: "op_compiler_cache_mode" value { s: "force" } }
    }
  }
}
"""
CPU = """
allow_soft_placement: true
intra_op_parallelism_threads: CORES
inter_op_parallelism_threads: 2
device_count { key: "GPU" value: 0 }
"""


def by_hand(text):
    return text_format.Parse(text, tf.compat.v1.ConfigProto())


def test_the_npus():
    assert npu_config({"precision_mode": "allow_mix_precision"}) == by_hand(NPU)


def test_the_npus_with_further_options(tmp_path):
    options = check_options({"precision_mode_v2": "mixed_float16", "deterministic": True,
                                 "npu_dump_path": str(tmp_path), "op_compiler_cache_mode": "force"})
    assert npu_config(options) == by_hand(MORE.replace("FOLDER", str(tmp_path)))


@pytest.mark.parametrize("chip", ["cpu", "auto"])
def test_the_cpus(chip, caplog):
    with caplog.at_level("INFO", "sr_zoo"):
        assert session_config(chip) == by_hand(CPU.replace("CORES", str(cores())))
    if chip == "auto":
        assert "no NPU: npu_device is not installed; no GPU" in caplog.text


def test_the_gpus(monkeypatch):
    monkeypatch.setattr(tf.config.experimental, "list_physical_devices", lambda kind: ["GPU:0"])
    assert session_config("gpu") == by_hand(
        "allow_soft_placement: true gpu_options { allow_growth: true }")


def test_auto_takes_an_npu_whose_device_is_here(tmp_path, monkeypatch, caplog):
    loaded = []
    monkeypatch.setattr(npu, "missing", lambda name: None)
    monkeypatch.setattr(npu, "load_adapter", lambda name: loaded.append(name) or
                        SimpleNamespace(compat=SimpleNamespace(enable_v1=lambda: None)))
    monkeypatch.setenv("SR_ZOO_NPU_DEVICES", str(tmp_path / "davinci0"))
    with caplog.at_level("INFO", "sr_zoo"):
        assert not uses_npu(session_config("auto")) and not loaded
    assert f"no NPU: no device {tmp_path / 'davinci0'}; no GPU" in caplog.text
    assert uses_npu(session_config("npu")) and len(loaded) == 1  # asked for, it is tried
    (tmp_path / "davinci0").touch()
    assert uses_npu(session_config("auto")) and len(loaded) == 2


def test_a_mixlist_without_mixed_precision_is_refused(tmp_path):
    (tmp_path / "list.json").write_text("{}")
    for mode in (None, "force_fp16"):
        with pytest.raises(UserError, match="--modify_mixlist needs mixed precision"):
            session_config("cpu", mode, {"modify_mixlist": str(tmp_path / "list.json")})


@pytest.mark.parametrize("broken", ["__init__", "run"])
def test_an_npu_that_does_not_open_or_run_is_one_line(broken, monkeypatch):
    with tf.Graph().as_default() as graph:
        lr = tf.compat.v1.placeholder(tf.float32, (1, 8, 8, 3), name=frozen.INPUT)
        tf.identity(lr, name=frozen.OUTPUT)
    identity = frozen.FrozenGraph("a.pb", graph.as_graph_def(), "none", 1, 8, 0, 1)
    image = np.zeros((8, 8, 3), np.uint8)

    def fail(*arguments, **kwargs):
        raise tf.errors.InternalError(None, None, "GE initialize failed\nE10001")

    def enlarge():
        with frozen.FrozenUpscaler(identity, "auto") as upscaler:
            return upscaler(image)

    assert (enlarge() == image).all()
    monkeypatch.setattr(tf.compat.v1.Session, broken, fail)
    monkeypatch.setattr(tf.compat.v1.Session, "__del__", lambda self: None, raising=False)
    with pytest.raises(tf.errors.InternalError):  # of the CPU it would be a fault of the zoo's
        enlarge()
    monkeypatch.setattr(device, "session_config",
                        lambda *arguments: npu_config({"precision_mode": "allow_mix_precision"}))
    with pytest.raises(UserError, match="the NPU cannot run a.pb: GE initialize failed E10001;"):
        enlarge()


@pytest.mark.parametrize("chip, words", [("npu", "--chip npu: npu_device is not installed"),
                                         ("gpu", "--chip gpu: TensorFlow sees no GPU"),
                                         ("tpu", "unknown chip 'tpu'")])
def test_a_chip_that_is_not_here_is_an_error(chip, words):
    with pytest.raises(UserError, match=words):
        session_config(chip)


SESSION = """
import tensorflow as tf
from google.protobuf import text_format
from common.device.session import session_config

config = session_config("npu")
assert config == text_format.Parse('''PROTO''', tf.compat.v1.ConfigProto()), config
with tf.compat.v1.Session(config=config) as session:
    x = tf.compat.v1.placeholder(tf.float32, [2])
    assert session.run(2 * x, {x: [1, 2]}).tolist() == [2, 4]
print(tf.__version__)
""".replace("PROTO", NPU)


def run_session(python, tmp_path):
    """Run `SESSION` with the stand-ins; what they recorded."""
    record = tmp_path / "calls"
    result = subprocess.run(
        [python, "-c", SESSION], cwd=str(tmp_path), capture_output=True, text=True, timeout=120,
        env={"PATH": os.environ["PATH"], "TF_CPP_MIN_LOG_LEVEL": "3",
             "PYTHONPATH": f"{ROOT}:{STANDINS}", "NPU_STANDIN_RECORD": str(record)})
    assert result.returncode == 0, result.stderr
    return record.read_text(), result.stdout.strip()


@pytest.mark.stack("ascend")  # npu_device exists for TensorFlow 2.6.5 alone
@pytest.mark.process
def test_an_adapter_of_tensorflow_2_is_loaded(tmp_path):
    assert '"call": "enable_v1"' in run_session(sys.executable, tmp_path)[0]


def test_an_adapter_of_tensorflow_1_is_loaded(tmp_path, tf1_python):
    calls, version = run_session(tf1_python, tmp_path)
    assert version.startswith("1.15") and calls == '{"call": "npu_init"}\n'
