import json
import os

import pytest

from common.device.adapter_log import compiled
from common.modelzoo.report import (
    NewResults,
    begin_log,
    device_used,
    last_start,
    report_case,
)

# As npu_device.cpp of the adapter writes them, and what graph sessions say.
LINES = """\
2026-07-01 10:00:00.000000: I npu_device.cpp:412] __inference_initialise_12 fully compiled on npu
2026-07-01 10:00:09.000000: I npu_device.cpp:412] __inference_distributed_step_345 fully compiled \
on npu
2026-07-01 10:01:09.000000: I npu_device.cpp:395] __inference_validate_9 compiled in mix mode on npu
"""
SESSION = "The model has been compiled on the Ascend AI processor"


@pytest.fixture
def run(tmp_path):
    """`run(seconds_per_step=0.25)`: the folder of a finished run."""
    def write(**speed):
        speed = {"images_per_sec": 16.0, **speed} if speed else {}
        (tmp_path / "config.yaml").write_text("scale: 2\nbatch_size: 4\n")
        (tmp_path / "summary.json").write_text(json.dumps(
            {"timing": {}, "seconds": 77, "images": [{"psnr": 30}, {"psnr": 31}]}))
        (tmp_path / "metrics.jsonl").write_text(
            '{"step": 1, "loss": 0.75}\n' + json.dumps({"step": 5, "loss": 0.5, **speed}) + "\n")
        return tmp_path
    return write


def test_a_log_tells_its_starts_apart(tmp_path):
    log = tmp_path / "0" / "train_0.log"
    begin_log(log)
    with open(log, "a") as file:
        file.write(f"device: NPU 0, precision float32 (as asked for)\n{LINES}")
    assert device_used(log) == "NPU 0" and "fully compiled" in last_start(log)
    assert compiled({log: last_start(log)}) == [
        f"{log}: compiled for the NPU: distributed_step, initialise",
        f"{log}: only partly compiled for the NPU: validate (the rest runs on the host, which is "
        "slow)"]
    begin_log(log)
    assert last_start(log).strip() == "" and device_used(log) == "not said in the log"
    assert log.read_text().count("==== started 2") == 2
    assert compiled({log: last_start(log)}) == [
        f"notice: no line in {log} says that the NPU compiled anything; check with npu-smi that it "
        "is used"]
    log.write_text(log.read_text() + SESSION)
    assert compiled({log: last_start(log)}) == [f"{log}: {SESSION}"]


def test_a_case_is_printed_and_written(run, capsys):
    folder = run(seconds_per_step=0.25)
    (folder / "0").mkdir()
    report_case(folder, "edsr", "perf", 2, folder / "0" / "train_0.log", 80)
    assert capsys.readouterr().out.splitlines()[1:] == [
        "Final Performance images/sec : 16", "Final Performance sec/step : 0.25",
        "E2E Training Duration sec : 80", "Final Train Accuracy : 30.500"]
    assert (folder / "0" / "train_edsr_bs4_2p_perf_loss.txt").read_text() == "0.75\n0.5\n"
    text = (folder / "0" / "edsr_bs4_2p_perf.log").read_text()
    assert text.startswith("Network = edsr\nRankSize = 2\nBatchSize = 4\n")
    assert "ActualLoss = 0.5\nE2ETrainingTime = 80\n" in text


def test_a_single_step_has_no_speed(run, tmp_path, capsys):
    report_case(run(), "edsr", "acc", 1, tmp_path / "train_0.log", 80)
    assert capsys.readouterr().out.splitlines()[1:] == [
        "[CANN-Modelzoo] no speed of a single step: the first one is not timed",
        "E2E Training Duration sec : 80", "Final Train Accuracy : 30.500"]
    text = (tmp_path / "edsr_bs4_1p_acc.log").read_text()
    assert "ActualFPS" not in text and "TrainAccuracy = 30.500\n" in text


def test_results_are_told_from_those_of_an_earlier_job(run, capsys):
    folder = run(seconds_per_step=0.25)
    results = NewResults(folder)
    results.print_lines()
    assert "nothing was trained" in capsys.readouterr().out
    os.utime(str(run() / "summary.json"), (1, 1))
    results.print_lines()
    out = capsys.readouterr().out
    assert "no speed of a single step" in out and "E2E Training Duration sec : 77" in out


def test_without_a_summary_nothing_is_said(tmp_path, capsys):
    NewResults(tmp_path).print_lines()
    assert capsys.readouterr().out == ""
