"""A short training of a model in child processes that may be killed, and what it leaves."""

import contextlib
import io
import json
import os
import re
import signal
import time
from pathlib import Path

import numpy as np

import models
from common.cli import run_command
from common.weights import read_arrays

SECONDS = 300  # that one start may take
# Functions of `os` in which a file changes; a kill comes just before or just after one of them.
OPERATIONS = ("replace", "rename", "link", "unlink", "remove", "fsync", "mkdir", "rmdir")
_TIMES = ("seconds_per_step", "step_seconds", "data_wait", "images_per_sec")


class Training:
    """A training of 12 steps with a checkpoint every second one, in places of its own.

    Args:
        name: of the model.
        folder: a new folder, in which each place is a folder with the run in `run`.
    """

    def __init__(self, name: str, folder: Path):
        self.name, self.folder = name, folder
        photos = folder / "photos"
        known = models.model(name)
        self.argv = ["--data_dir", str(photos), "--output_dir", "run", "--chip", "cpu",
                     "--batch_size", "2", "--val_every", "4", "--save_every",
                     "2", "--log_every", "2", "--val_images", "1", "--seed", "1",
                     "--patch_size", "16" if known.stages else "8",
                     *(word for option, value in known.small.items()
                       for word in (f"--{option}", json.dumps(value)))]
        if known.stages:
            self.argv += ["--preset", "demo", "--psnr_steps", "6", "--perceptual_weight", "0"]
        folder.mkdir()
        _photographs(photos)
        # Here once and not in every child; importing it starts no thread and no device.
        import tensorflow  # noqa: F401

    def start(self, place: str, seconds: float = SECONDS, operation: "int | None" = None,
              after: bool = False, train_steps: int = 12) -> tuple:
        """Train in a child: from the start, or on from what the place holds.

        Args:
            place: name of its folder.
            seconds: after which it is killed.
            operation, after: in which of its file operations it kills itself, and whether after.
            train_steps: of the run; its learning rate does not depend on them.

        Returns:
            its status, negative for a signal, and how many file operations it did.
        """
        folder = self.folder / place
        folder.mkdir(exist_ok=True)
        process = os.fork()
        if not process:
            _child(models.model(self.name), [*self.argv, "--train_steps", str(train_steps)],
                   folder, operation, after)
        deadline = time.monotonic() + seconds
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

    def said(self, place: str) -> str:
        """The last two lines that the trainings of a place printed."""
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


def results(run: Path) -> tuple:
    """What a run must not differ in: weights, rows of metrics.jsonl and lines of the log."""
    weights, rows, lines = {}, {}, {}
    for path in sorted(run.rglob("*.h5")):
        weights[path.relative_to(run)] = read_arrays(path)
    for path in sorted(run.rglob("metrics.jsonl")):
        rows[path.relative_to(run)] = [
            {key: value for key, value in json.loads(line).items() if key not in _TIMES}
            for line in path.read_text().splitlines()]
    for path in sorted(run.rglob("train.log")):
        text = re.sub(r"^[\d-]+ [\d:,]+ ", "", path.read_text(errors="replace"),
                      flags=re.MULTILINE)
        # What follows the last checkpoint is trained, and told, once more.
        lines[path.relative_to(run)] = {line for line in text.splitlines()
                                        if re.match(r"(Step|Epoch) nr", line)}
    return weights, rows, lines


def differences(expected: tuple, found: tuple) -> list:
    """In which words of "other weights", "other rows" and "other log lines" `results` differ."""
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
