"""modelarts_entry.py, in this process where a process does not show more.

The stand-in of moxing in tests/standins keeps the buckets.
"""

import functools
import importlib
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

import modelarts_entry
from common.cli import run_command
from common.training.events import read_metrics
from common.weights import read_metadata

ROOT = Path(__file__).resolve().parents[1]
STANDINS = ROOT / "tests" / "standins"
ENTRY = ROOT / "modelarts_entry.py"
TINY = ["--num_blocks", "1", "--num_filters", "4", "--batch_size", "2", "--patch_size", "16",
        "--chip", "cpu", "--val_images", "1"]
FOUR = [*TINY, "--train_steps", "4", "--val_every", "2", "--log_every", "1"]


@pytest.fixture(scope="module")
def div2k(tmp_path_factory):
    """Photographs in the layout that DIV2K is published in."""
    folder = tmp_path_factory.mktemp("DIV2K")
    photos = [data.coffee(), data.rocket(), data.astronaut(), data.chelsea()]
    for i, photo in enumerate(photos):
        name = "DIV2K_train_HR/000{}.png" if i < 3 else "DIV2K_valid_HR/080{}.png"
        path = folder / name.format(i + 1)
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.ascontiguousarray(photo[100:164, 100:180])).save(str(path))
    return folder


@pytest.fixture
def job(tmp_path, div2k, call, monkeypatch):
    """A job whose `run` starts no process for the entry, for its command or to copy."""
    monkeypatch.syspath_prepend(str(STANDINS))
    import moxing

    monkeypatch.setattr(moxing.file, "copy_parallel",
                        functools.partial(moxing.file.copy_parallel, is_processing=False))
    monkeypatch.setattr(subprocess, "Popen", functools.partial(start_here, subprocess.Popen))
    yield Job(tmp_path, div2k, call)
    for name in ("moxing", "moxing.file"):
        sys.modules.pop(name)


def start_here(popen, command, **kwargs):
    """In place of `subprocess.Popen`: a command of the zoo runs in this process."""
    if "-m" not in command[1:2] or not command[2].startswith(("models.", "scripts.")):
        return popen(command, **kwargs)
    with pytest.raises(SystemExit) as end:
        run_command(importlib.import_module(command[2]).main, command[3:])
    return Ended(end.value.code)


class Ended:
    """A process that goes on for a while after its work is done, so that the entry copies."""

    pid, stdout, stderr, returncode = 0, None, None, None

    def __init__(self, status):
        self._status = status

    def poll(self):
        return self.returncode

    def wait(self, timeout=None):
        if self.returncode is None:
            time.sleep(0.4 if timeout is None else min(timeout, 0.4))
            self.returncode = self._status
            if timeout is not None:
                raise subprocess.TimeoutExpired("", timeout)
        return self.returncode


class Job:
    """A machine with its `cache`, a bucket, and the data in that bucket."""

    def __init__(self, folder, div2k, call):
        self._call = call
        self.folder, self.bucket = folder, folder / "buckets" / "b"
        self.bucket.mkdir(parents=True)
        (self.bucket / "data").symlink_to(div2k)
        self.result, self.out = folder / "cache" / "result", self.bucket / "out"
        self.cwd = folder / "elsewhere"
        self.cwd.mkdir()
        # PYTHONPATH as ModelArts has it: without the zoo.
        self.env = {**os.environ, "PYTHONPATH": str(STANDINS),
                    "MOXING_BUCKETS": str(folder / "buckets")}

    def command(self, *flags, model="edsr", data_url="obs://b/data", train_url="obs://b/out/",
                entry=ENTRY):
        model = ["--model", model] if model else []
        return [sys.executable, str(entry), *model, "--data_url", data_url, "--train_url",
                train_url, "--modelarts_data_dir", str(self.folder / "cache" / "data"),
                "--modelarts_result_dir", str(self.result), *flags]

    def start(self, *flags, **kwargs):
        return subprocess.Popen(self.command(*flags, **kwargs), cwd=str(self.cwd), env=self.env,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, *flags, env=None, **kwargs):
        arguments = self.command(*flags, **kwargs)[2:]
        return self._call(modelarts_entry.main, *arguments, cwd=self.cwd, env={
            "MOXING_BUCKETS": self.env["MOXING_BUCKETS"], **(env or {})})

    def sent(self):
        """The names of the files in the bucket's folder."""
        return {str(path.relative_to(self.out)) for path in self.out.rglob("*") if path.is_file()}


def one_line(result):
    """The text of a run that ends with a user's mistake."""
    assert result.returncode == 2, result.stdout + result.stderr
    assert len(result.stderr.splitlines()) == 1 and result.stderr.startswith("error: ")
    return result.stderr


def numbers(text):
    """ModelZoo's final lines as a dict."""
    return {key: float(value) for key, value in re.findall(
        r"^(Final Performance images/sec|Final Performance sec/step|E2E Training Duration sec|"
        r"Final Train Accuracy) : (\S+)$", text, re.MULTILINE)}


def check_numbers(text, folder):
    found = numbers(text)
    summary = json.loads((folder / "summary.json").read_text())
    last = [row for row in read_metrics(folder / "metrics.jsonl") if "images_per_sec" in row][-1]
    assert last["step"] == summary["steps"]
    assert found == {
        "Final Performance images/sec": pytest.approx(last["images_per_sec"], rel=1e-5),
        "Final Performance sec/step": pytest.approx(last["seconds_per_step"], rel=1e-5),
        "E2E Training Duration sec": summary["seconds"],
        "Final Train Accuracy": pytest.approx(
            np.mean([image["psnr"] for image in summary["images"]]), abs=6e-4)}


# ---- folders ------------------------------------------------------------------------------------

def test_with_folders_the_training_writes_where_modelarts_looks(job, div2k):
    result = job.run(*FOUR, data_url=str(div2k), train_url="../T/")
    assert result.returncode == 0, result.stderr
    target = job.folder / "T"
    assert read_metadata(target / "edsr_x2.h5")["options"]["num_filters"] == 4
    assert "Step nr: [4/4]" in (target / "train.log").read_text()
    assert (target / "samples" / "comparison.png").is_file()
    own = [line for line in result.stdout.splitlines() if line.startswith("[CANN-Modelzoo] ")]
    assert f"-m models.edsr.train --data_dir {div2k} --output_dir {target} " in own[0]
    assert own[-1].endswith("train ended with status 0")
    check_numbers(result.stdout, target)

    evaluated = job.run("--mode", "evaluate", "--chip", "cpu", data_url=str(div2k),
                        train_url=str(target))
    assert evaluated.returncode == 0, evaluated.stderr
    row = json.loads((target / "evaluate.json").read_text())["results"][0]
    assert (row["weights"], row["images"]) == ("edsr_x2.h5", 1)
    assert Image.open(str(target / "images" / "0804_x2.png")).size == (80, 64)

    exported = job.run("--mode", "export", data_url="/no/data", train_url=str(target))
    assert exported.returncode == 0, exported.stderr
    assert (target / "edsr_x2_saved_model" / "saved_model.pb").is_file()


@pytest.mark.parametrize("flags, words", [
    (["--model", "esdr"], "unknown model 'esdr' (did you mean 'edsr'?); choose one of bsrn, edsr"),
    (["--model", "edsr", "--mode", "trian"], "invalid choice: 'trian' (choose from"),
    (["--mode", "train"], "required: --model"),
    (["--model", "edsr", "--train_url", "T"], "no folder /home/ma-user/modelarts/inputs/data_url_0;"
                                              " name the data with --data_url"),
    (["--model", "edsr", "--data_url", "s3://b/x"], "--data_url s3://b/x: give a folder or an obs"),
    (["--model", "edsr", "--output_dir=x"], "the results go to --train_url"),
    (["--model", "edsr", "--copy_every", "0"], "--copy_every must be more than 0 seconds, got 0"),
    (["--model", "edsr", "--data_url", "obs://b/x"], "obs://b/x needs moxing, which only"),
    (["--model", "edsr", "--train_url", "obs://b/x"], "obs://b/x needs moxing, which only"),
])
def test_mistakes_are_one_line(flags, words, tmp_path, call):
    result = call(modelarts_entry.main, *flags, cwd=tmp_path)
    assert words in one_line(result)
    assert not any(tmp_path.iterdir()) and result.stdout == ""


@pytest.mark.process
def test_the_entry_itself_takes_neither_tensorflow_nor_moxing(job):
    code = ("import runpy, sys\nsys.argv = ['entry', '--help']\n"
            f"try: runpy.run_path({str(ENTRY)!r}, run_name='__main__')\n"
            "except SystemExit: pass\n"
            "print([m for m in ('tensorflow', 'keras', 'numpy', 'moxing') if m in sys.modules])")
    result = subprocess.run([sys.executable, "-c", code], cwd=str(job.cwd), env=job.env,
                            capture_output=True, text=True)
    assert "--modelarts_result_dir" in result.stdout
    assert result.stdout.splitlines()[-1] == "[]", result.stderr


# ---- obs:// -------------------------------------------------------------------------------------

def test_the_standin_has_the_published_signature():
    # huaweicloud/ModelArts-Lab, migration guides: mox.file.copy_parallel
    sys.path.insert(0, str(STANDINS))
    try:
        import moxing
    finally:
        sys.path.remove(str(STANDINS))
    assert str(inspect.signature(moxing.file.copy_parallel)) == (
        "(src_url, dst_url, file_list=None, threads=16, is_processing=True, use_queue=True)")


def test_perf_brings_the_data_in_and_the_results_out(job):
    result = job.run("--mode", "perf", *TINY, "--train_steps=6", "--val_images=1")
    assert result.returncode == 0, result.stderr
    sent = job.sent()
    assert {f"perf/{name}" for name in (
        "edsr_x2.h5", "edsr_x2_last.h5", "train.log", "metrics.jsonl", "summary.json",
        "samples/comparison.png", "checkpoints/checkpoint")} <= sent
    assert {name.split("/")[0] for name in sent} == {"perf"}  # a training there stays as it is
    assert not [name for name in sent if "/cache" in name or "/." in name]
    assert (job.result / "perf" / "cache" / "lr_bicubic").is_dir()
    for name in sent:
        assert (job.out / name).read_bytes() == (job.result / name).read_bytes()
    rows = read_metrics(job.out / "perf" / "metrics.jsonl")
    assert sum("val_psnr" in row for row in rows) == 1 and rows[-1]["step"] == 6
    check_numbers(result.stdout, job.out / "perf")

    # A second time is measured anew.
    again = job.run("--mode", "perf", *TINY, "--train_steps=5", "--val_images=1")
    assert again.returncode == 0, again.stderr
    assert json.loads((job.out / "perf" / "summary.json").read_text())["steps"] == 5
    check_numbers(again.stdout, job.out / "perf")

    elsewhere = job.run(*FOUR, train_url="obs://b/other")
    assert f"{job.result} holds files of obs://b/out; empty it" in one_line(elsewhere)


@pytest.mark.process
def test_results_come_while_it_trains_and_after_sigterm_and_the_job_goes_on(job):
    flags = [*TINY, "--val_every", "200", "--log_every", "100", "--copy_every", "0.5"]
    process = job.start(*flags, "--train_steps", "30000")
    for _ in range(1200):
        if process.poll() is not None or (job.out / "edsr_x2.h5").is_file():
            break
        time.sleep(0.1)
    assert process.poll() is None, process.communicate()[0]
    process.send_signal(signal.SIGTERM)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    stopped = int(re.search(r"stopped after step (\d+);", text).group(1))
    assert f"train ended with status {128 + signal.SIGTERM}" in text
    assert (job.out / "train.log").read_bytes() == (job.result / "train.log").read_bytes()
    # The last checkpoint is there, and those that the run has dropped are gone.
    sent = {name for name in job.sent() if name.startswith("checkpoints")}
    assert f"checkpoints/step-{stopped}.index" in sent
    assert sent == {str(path.relative_to(job.result))
                    for path in (job.result / "checkpoints").rglob("*") if path.is_file()}

    job.result = job.folder / "another machine" / "result"
    resumed = job.run(*flags, "--train_steps", str(stopped + 5))
    assert resumed.returncode == 0, resumed.stderr
    assert "files of an earlier job fetched from obs://b/out" in resumed.stdout
    assert f"resuming after step {stopped}" in resumed.stdout
    assert json.loads((job.out / "summary.json").read_text())["steps"] == stopped + 5


def test_a_training_that_fails_is_copied_back_and_its_status_kept(job):
    result = job.run(*FOUR, "--learning_rate", "1e38")
    assert result.returncode == 2
    assert "a loss is not finite" in result.stderr and "status 2" in result.stdout
    assert {"config.yaml", "train.log"} <= job.sent() and "summary.json" not in job.sent()
    assert numbers(result.stdout) == {}


def test_where_copying_back_fails_the_results_stay(job):
    result = job.run(*FOUR, "--copy_every", "0.2", env={"MOXING_FAILS": "upload"})
    assert result.returncode == 1 and "Access Denied; this is tried again" in result.stdout
    assert ("error: results were not copied to obs://b/out: ObsError: [Errno 403] Access Denied; "
            f"the results stay in {job.result}") in result.stderr.splitlines()
    assert (job.result / "edsr_x2.h5").is_file() and not job.out.exists()
    assert not list(job.result.glob(".sending*"))

    again = job.run(*FOUR)
    assert again.returncode == 0, again.stderr
    assert f"going on with the results in {job.result}" in again.stdout
    assert "holds a finished run of 4 steps" in again.stdout and "edsr_x2.h5" in job.sent()
    assert numbers(again.stdout) == {} and "nothing was trained" in again.stdout


@pytest.mark.parametrize("data_url, fails, words", [
    ("obs://b/none", "", "nothing at obs://b/none; correct --data_url"),
    ("obs://b/data", "download", "obs://b/data was not fetched: ObsError: [Errno 403] Access"),
])
def test_data_that_cannot_be_fetched_start_nothing(job, data_url, fails, words):
    result = job.run(data_url=data_url, env={"MOXING_FAILS": fails})
    assert words in one_line(result) and "running" not in result.stdout


# ---- the boot files of the SRGAN description ----------------------------------------------------

@pytest.mark.process
@pytest.mark.parametrize("name, mode, folder, starts", [
    ("acc", "train", "T", "--preset=coco --dataset=auto --no_such_flag"),
    ("perf", "perf", "T/perf",
     "--resume no --train_steps 200 --val_every 1000000 --val_images 1 --log_every 20 "
     "--psnr_steps 1 --preset=coco --dataset=auto --no_such_flag")])
def test_modelzoos_boot_files_call_the_entry(job, div2k, name, mode, folder, starts):
    command = job.command("--no_such_flag", model=None, data_url=str(div2k), train_url="T",
                          entry=ROOT / "models" / "srgan" / f"modelarts_entry_{name}.py")
    result = subprocess.run(command, cwd=str(job.cwd), env=job.env, capture_output=True, text=True)
    assert "unknown option --no_such_flag" in one_line(result)
    assert (f"-m models.srgan.train --data_dir {div2k} --output_dir {job.cwd / folder} {starts}\n"
            f"[CANN-Modelzoo] {mode} ended with status 2\n") in result.stdout
