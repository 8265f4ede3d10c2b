"""Which device is opened, and what is said where one cannot be."""

import shutil
from pathlib import Path

import pytest

from common.cli import UserError
from common.device.open import open_device

ROOT = Path(__file__).resolve().parents[3]
ascend = pytest.mark.stack("ascend")  # npu_device exists for TensorFlow 2.6.5 alone


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
    (("cpu", "float32", {"auto_tune_mode": "RL,GA"}), "auto_tune_mode is now --aoe_mode"),
    (("cpu", "float32", {"precision_mode": "force_fp16"}), "force_fp16 is for inference"),
])
def test_what_cannot_be_is_one_line(arguments, words):
    with pytest.raises(UserError) as caught:
        open_device(*arguments)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@ascend  # 2.21 has bfloat16 on a CPU
def test_bfloat16_that_is_not_here():
    with pytest.raises(UserError, match="cannot do it on a CPU"):
        open_device("cpu", "mixed_bfloat16")


def test_several_npus_are_not_trained_as_one_cpu(monkeypatch, rank_table):
    for name, value in rank_table(2, 1).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="RANK_SIZE or CM_WORKER_SIZE asks for several NPUs"):
        open_device("auto")


OPEN = """
from common.cli import run_command
from common.device.open import open_device
from common.training.events import log_to_console

def main(argv):
    with log_to_console():
        d = open_device({!r}, "auto", {!r})
    print("opened", d.chip, d.precision, d.rank, d.processes, d.replicas)
run_command(main)
"""


def opening(chip="npu", options=None, **env):
    """A process that opens a device and says what it has, for `forked`."""
    return OPEN.format(chip, options), env


CHIEF = {"CM_CHIEF_IP": "10.0.0.1", "CM_CHIEF_PORT": "6000", "CM_CHIEF_DEVICE": "0",
         "CM_WORKER_IP": "10.0.0.1", "CM_WORKER_SIZE": "4", "ASCEND_DEVICE_ID": "2"}


@ascend
def test_an_npu_comes_first_with_ranks_by_table_or_by_chief(forked, rank_table):
    alone, table, chief, without = forked([
        opening("auto", ASCEND_DEVICE_ID="3"), opening(**rank_table(2, 1)), opening(**CHIEF),
        opening("auto", NPU_STANDIN_DEVICES="0")])
    assert alone[0] == 0 and "opened npu allow_mix_precision 0 1 1" in alone[1]
    assert ("device: NPU 3, precision allow_mix_precision (an NPU comes before GPU and CPU)"
            in alone[1])
    assert table[0] == 0 and "opened npu allow_mix_precision 1 2 2" in table[1]
    assert "device: NPU 1, process 1 of 2" in table[1]
    assert chief[0] == 0 and "opened npu allow_mix_precision 2 4 4" in chief[1]  # HCCL's rank
    assert without[0] == 0 and "opened cpu float32" in without[1]
    assert "no NPU: the device 0 does not open" in without[1]


@ascend
def test_what_does_not_open_is_one_line(forked, tmp_path, rank_table):
    older = tmp_path / "older" / "npu_device"
    shutil.copytree(str(ROOT / "tests" / "standins" / "npu_device"), str(older))
    with open(str(older / "options.py"), "a") as file:
        file.write("\ndel OPTIONS['precision_mode_v2']\n")
    cases = {
        "error: --chip npu: the device 0 does not open (Failed open npu device 0":
            opening(NPU_STANDIN_DEVICES="0"),
        "ASCEND_DEVICE_ID must be a device number, got 'first'":
            opening(ASCEND_DEVICE_ID="first"),
        "RANK_SIZE is 2, but RANK_ID is not set": opening(**{**rank_table(2, 0), "RANK_ID": ""}),
        "error: the adapter refuses precision_mode_v2=origin":
            opening(options={"precision_mode_v2": "origin"}, PYTHONPATH=str(older.parent)),
    }
    for words, (status, text) in zip(cases, forked(list(cases.values()))):
        assert status == 2 and words in text and "Traceback" not in text
