"""Which device is opened, and what is said where one cannot be."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from common.cli import UserError
from common.device.open import open_device
from common.nn.keras_compat import IS_KERAS_3

ROOT = Path(__file__).resolve().parents[3]
ascend = pytest.mark.skipif(IS_KERAS_3, reason="npu_device exists for TensorFlow 2.6.5 alone")


def test_auto_says_why_it_is_no_other(caplog):
    with caplog.at_level("INFO", "sr_zoo"):
        device = open_device("auto")
    assert (device.chip, device.precision, device.replicas, device.rank) == ("cpu", "float32", 1, 0)
    assert device.is_chief and device.local_replicas == 1
    assert "no NPU: npu_device is not installed; no GPU: TensorFlow sees none" in caplog.text


@pytest.mark.parametrize("arguments, words", [
    (("npu",), "--chip npu: npu_device is not installed; use --chip auto, gpu or cpu"),
    (("gpu",), "--chip gpu: TensorFlow sees no GPU here"),
    (("tpu",), "unknown chip 'tpu'"), (("cpu", "half"), "unknown precision 'half'"),
    (("cpu", "mixed_float16"), "needs a GPU"),
    (("cpu", "float32", {"auto_tune_mode": "RL,GA"}), "auto_tune_mode is --aoe_mode now"),
    (("cpu", "float32", {"precision_mode": "force_fp16"}), "force_fp16 is for inference"),
])
def test_what_cannot_be_is_one_line(arguments, words):
    with pytest.raises(UserError) as caught:
        open_device(*arguments)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.skipif(IS_KERAS_3, reason="this TensorFlow has bfloat16 on a CPU")
def test_bfloat16_that_is_not_here():
    with pytest.raises(UserError, match="cannot do it on a CPU"):
        open_device("cpu", "mixed_bfloat16")


def test_several_npus_are_not_trained_as_one_cpu(monkeypatch, rank_table):
    for name, value in rank_table(2, 1).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="RANK_SIZE or CM_WORKER_SIZE speaks of several NPUs"):
        open_device("auto")


def opened(tmp_path, chip="npu", options=None, **env):
    """A process with the stand-in of the adapter that opens a device and says what it has."""
    code = ("from common.cli import run_command\nfrom common.device.open import open_device\n"
            "from common.training.events import log_to_console\n"
            "def main(argv):\n    with log_to_console():\n"
            f"        d = open_device({chip!r}, 'auto', {options!r})\n"
            "    print('opened', d.chip, d.precision, d.rank, d.processes, d.replicas)\n"
            "run_command(main)")
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=str(tmp_path), capture_output=True, text=True,
        timeout=120,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'standins'}",
             "TF_CPP_MIN_LOG_LEVEL": "3", **env})
    return result.returncode, result.stdout + result.stderr


@ascend
def test_an_npu_comes_first(tmp_path):
    status, text = opened(tmp_path, "auto", ASCEND_DEVICE_ID="3")
    assert status == 0 and "opened npu allow_mix_precision 0 1 1" in text
    assert "device: NPU 3, precision allow_mix_precision (an NPU comes before GPU and CPU)" in text


@ascend
def test_one_that_does_not_open(tmp_path):
    status, text = opened(tmp_path, "npu", NPU_STANDIN_DEVICES="0")
    assert status == 2 and "Traceback" not in text
    assert "error: --chip npu: the device 0 does not open (Failed open npu device 0" in text
    status, text = opened(tmp_path, "auto", NPU_STANDIN_DEVICES="0")
    assert status == 0 and "opened cpu float32" in text
    assert "no NPU: the device 0 does not open" in text


@ascend
def test_an_environment_that_is_wrong(tmp_path, rank_table):
    status, text = opened(tmp_path, ASCEND_DEVICE_ID="first")
    assert status == 2 and "ASCEND_DEVICE_ID=first: the number of a device is wanted" in text
    status, text = opened(tmp_path, **{**rank_table(2, 0), "RANK_ID": ""})
    assert status == 2 and "2 NPU processes need RANK_ID" in text


@ascend
def test_ranks_by_table_and_by_chief(tmp_path, rank_table):
    status, text = opened(tmp_path, **rank_table(2, 1))
    assert status == 0 and "opened npu allow_mix_precision 1 2 2" in text
    assert "device: NPU 1, process 1 of 2" in text
    chief = {"CM_CHIEF_IP": "10.0.0.1", "CM_CHIEF_PORT": "6000", "CM_CHIEF_DEVICE": "0",
             "CM_WORKER_IP": "10.0.0.1", "CM_WORKER_SIZE": "4", "ASCEND_DEVICE_ID": "2"}
    status, text = opened(tmp_path, **chief)  # HCCL gives the rank
    assert status == 0 and "opened npu allow_mix_precision 2 4 4" in text


@ascend
def test_an_option_that_this_adapter_does_not_know(tmp_path):
    older = tmp_path / "older" / "npu_device"
    shutil.copytree(str(ROOT / "tests" / "standins" / "npu_device"), str(older))
    with open(str(older / "options.py"), "a") as file:
        file.write("\ndel OPTIONS['precision_mode_v2']\n")
    status, text = opened(tmp_path, options={"precision_mode_v2": "origin"},
                          PYTHONPATH=f"{ROOT}:{older.parent}")
    assert status == 2
    assert "error: the adapter does not take precision_mode_v2=origin" in text
