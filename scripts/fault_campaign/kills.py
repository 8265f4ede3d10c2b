"""Kill trainings at random moments and inside file operations; their results must not differ."""

import contextlib
import io
import json
import os
import random
import re
import shutil
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

import models
from common.cli import UserError, run_command
from common.weights import read_arrays

OUTCOMES = ("runs", "kills", "in file operations", "other weights", "other rows", "other log lines",
            "not finished")
PER_RUN = 5  # kills before a run may end
SECONDS = 300  # that one start may take
# Functions of `os` in which a file changes; a kill comes just before or just after one of them.
OPERATIONS = ("replace", "rename", "link", "unlink", "remove", "fsync", "mkdir", "rmdir")
_TIMES = ("seconds_per_step", "step_seconds", "data_wait", "images_per_sec")


def kills(number: int, names: list, seed: int = 0) -> tuple:
    """Kill short trainings of models, each started again until it ends.

    Args:
        number: kills of each model, in all its runs together.
        names: of the models.
        seed: of all draws.

    Returns:
        ({model: {outcome of `OUTCOMES`: number}}, lines that describe what differs).
    """
    counts, failures = {}, []
    with tempfile.TemporaryDirectory() as folder:
        _photographs(Path(folder) / "photos")
        for name in names:
            run = _Training(name, Path(folder) / name, Path(folder) / "photos")
            counts[name], told = run.campaign(number, random.Random(f"{seed} {name}"))
            failures += told
    return counts, failures


class _Training:
    """One short training of a model, again and again."""

    def __init__(self, name, folder, photos):
        self.name, self.folder = name, folder
        known = models.model(name)
        self.argv = ["--data_dir", str(photos), "--output_dir", "run", "--chip", "cpu",
                     "--train_steps", "12", "--batch_size", "2", "--val_every", "4", "--save_every",
                     "2", "--log_every", "2", "--val_images", "1", "--seed", "1",
                     "--patch_size", "16" if known.stages else "8",
                     *(word for option, value in known.small.items()
                       for word in (f"--{option}", json.dumps(value)))]
        if known.stages:
            self.argv += ["--preset", "demo", "--psnr_steps", "6", "--perceptual_weight", "0"]
        folder.mkdir()

    def campaign(self, number, draw):
        """Kill `number` times; the counts, and what differs in lines."""
        found = dict.fromkeys(OUTCOMES, 0)
        begin = time.monotonic()
        status, operations = self._start("whole")
        seconds = time.monotonic() - begin
        if status:
            raise UserError(f"{self.name} does not train: {self._said('whole')}")
        expected, failures = _results(self.folder / "whole" / "run"), []
        with tqdm(total=number, desc=f"kill {self.name}", unit="kill", disable=None) as bar:
            while found["kills"] < number:
                place = f"run{found['runs']}"
                for _ in range(min(PER_RUN, number - found["kills"])):
                    inside = draw.random() < 0.5
                    at = ({"operation": draw.randrange(1, operations + 1),
                           "after": draw.random() < 0.5} if inside
                          else {"seconds": draw.uniform(0.05, seconds)})
                    status, _ = self._start(place, **at)
                    if status == -signal.SIGKILL:
                        found["kills"] += 1
                        found["in file operations"] += inside
                        bar.update()
                    elif status:
                        break
                status, _ = self._start(place)
                found["runs"] += 1
                told = (["not finished"] if status
                        else _differences(expected, _results(self.folder / place / "run")))
                for what in told:
                    found[what] += 1
                    failures.append(f"{self.name}, {place}: {what}: {self._said(place)}")
                shutil.rmtree(str(self.folder / place))
        return found, failures

    def _start(self, place, seconds=None, operation=None, after=False):
        """Train in a child; its status, negative for a signal, and how many file operations."""
        folder = self.folder / place
        folder.mkdir(exist_ok=True)
        process = os.fork()
        if not process:
            _child(models.model(self.name), self.argv, folder, operation, after)
        deadline = time.monotonic() + (SECONDS if seconds is None else seconds)
        while time.monotonic() < deadline:
            found, status = os.waitpid(process, os.WNOHANG)
            if found:
                break
            time.sleep(0.005)
        else:
            os.kill(process, signal.SIGKILL)
            _, status = os.waitpid(process, 0)
        counted = folder / "operations"
        return (-os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status),
                int(counted.read_text()) if counted.exists() else 0)

    def _said(self, place):
        lines = (self.folder / place / "said").read_text(errors="replace").splitlines()
        return " | ".join(lines[-2:])


def _child(known, argv, folder, operation, after):
    status = 1
    try:
        os.chdir(str(folder))
        said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(said, stream)
        count = _kill_in(operation, after)
        main = __import__(f"{known.package}.train", fromlist=["main"]).main
        try:
            run_command(main, argv)
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        Path("operations").write_text(str(count[0]))
    finally:
        os._exit(status)


def _kill_in(operation, after):
    """Kill this process before or after its n-th file operation; the list that counts them."""
    count = [0]

    def counting(function):
        def call(*arguments, **options):
            count[0] += 1
            if count[0] == operation and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*arguments, **options)
            if count[0] == operation:
                os.kill(os.getpid(), signal.SIGKILL)
            return result
        return call

    for name in OPERATIONS:
        setattr(os, name, counting(getattr(os, name)))
    return count


def _results(run):
    """What a run must not differ in: weights, rows of metrics.jsonl and lines of the log."""
    weights, rows, lines = {}, {}, {}
    for path in sorted(run.rglob("*.h5")):
        weights[path.relative_to(run)] = read_arrays(path)
    for path in sorted(run.rglob("metrics.jsonl")):
        rows[path.relative_to(run)] = [
            {key: value for key, value in json.loads(line).items() if key not in _TIMES}
            for line in path.read_text().splitlines()]
    for path in sorted(run.rglob("train.log")):
        text = re.sub(r"^[\d-]+ [\d:,]+ ", "", path.read_text(), flags=re.MULTILINE)
        # What follows the last checkpoint is trained, and told, once more.
        lines[path.relative_to(run)] = {line for line in text.splitlines()
                                        if re.match(r"(Step|Epoch) nr", line)}
    return weights, rows, lines


def _differences(expected, found):
    told = []
    weights, others = expected[0], found[0]
    same = weights.keys() == others.keys() and all(
        arrays.keys() == others[path].keys()
        and all(np.array_equal(a, b) for layer in arrays
                for a, b in zip(arrays[layer], others[path][layer]))
        for path, arrays in weights.items())
    if not same:
        told.append("other weights")
    if expected[1] != found[1]:
        told.append("other rows")
    if expected[2] != found[2]:
        told.append("other log lines")
    return told


def _photographs(folder):
    from PIL import Image
    from skimage import data

    folder.mkdir()
    with contextlib.redirect_stdout(io.StringIO()):
        for name in ("astronaut", "chelsea", "coffee", "rocket"):
            cut = getattr(data, name)()[100:172, 40:136]
            Image.fromarray(cut).save(str(folder / f"{name}.png"))
