"""What ModelZoo's tooling reads: logs with their starts, final lines, and files beside the log.

Standard library alone: a run is known by the files that it wrote.
"""

import json
import platform
import re
import time
from pathlib import Path
from statistics import mean

from common.cli import UserError
from common.files import write_text

# What the TensorFlow adapter logs once it has handed a graph to the NPU.
COMPILED = "The model has been compiled on the Ascend AI processor"
STARTED = re.compile("^==== started .*$", re.MULTILINE)


def say(text):
    """Print a line as ModelZoo's entries do."""
    print(f"[CANN-Modelzoo] {text}", flush=True)


def begin_log(log: Path) -> None:
    """Add the line to a log that parts what one start wrote from what earlier ones did."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(str(log), "a", encoding="utf-8") as file:
        file.write(time.strftime("==== started %F %T ====\n"))


def last_start(log: Path) -> str:
    """What the last start wrote into a log."""
    return STARTED.split(Path(log).read_text(encoding="utf-8", errors="replace"))[-1]


def device_used(log: Path) -> str:
    """What the last start in a log says it ran on."""
    lines = re.findall(r"^device: (.*), precision \S+ \(.*\)\s*$", last_start(log), re.MULTILINE)
    return lines[-1] if lines else "not said in the log"


def check_compiled(logs) -> None:
    """Raise a `UserError` where the last start in a log does not show that the NPU was used."""
    without = [str(log) for log in logs if COMPILED not in last_start(log)]
    if without:
        raise UserError(f"an NPU was asked for, but {', '.join(without)} has no line {COMPILED!r}: "
                        "the training did not run on it")


def report_case(run: Path, model: str, kind: str, ranks: int, log: Path, seconds: int) -> None:
    """Print the final lines of a run, and write <CaseName>.log and <CaseName>_loss.txt.

    Args:
        run: folder of the run.
        model: its name.
        kind: "acc" or "perf", whether accuracy or speed was the aim.
        ranks: how many devices it had.
        log: the first device's, beside which the files are written.
        seconds: how long all took.

    Raises:
        UserError: nothing was timed.
    """
    numbers = measured(run)
    if numbers["seconds_per_step"] is None:
        raise UserError(f"{run} has no speed: the first step is not counted, since it compiles; "
                        "train at least 2 steps")
    config = (Path(run) / "config.yaml").read_text(encoding="utf-8")
    batch = re.search(r"^batch_size: (\d+)$", config, re.MULTILINE).group(1)
    case = f"{model}_bs{batch}_{ranks}p_{kind}"
    values = {
        "Network": model, "RankSize": ranks, "BatchSize": batch,
        "DeviceType": platform.machine(), "CaseName": case,
        "ActualFPS": short(numbers["images_per_sec"]),
        "TrainingTime": short(numbers["seconds_per_step"]),
        "TrainAccuracy": decibels(numbers["psnr"]), "ActualLoss": short(numbers["losses"][-1]),
        "E2ETrainingTime": seconds,
    }
    losses = "".join(f"{short(loss)}\n" for loss in numbers["losses"])
    write_text(log.parent / f"{case}.log", "".join(f"{k} = {v}\n" for k, v in values.items()))
    write_text(log.parent / f"{case}_loss.txt", losses)
    print("------------------ Final result ------------------")
    print(*final_lines(numbers, seconds), sep="\n", flush=True)


def measured(run):
    """What a finished run measured.

    Args:
        run: its folder, with `metrics.jsonl` and `summary.json`.

    Returns:
        a dict: `losses`, a list; `psnr` in dB, the mean of all images; `seconds` of the training;
        `images_per_sec` and `seconds_per_step`, the last that were logged, None where none were.
    """
    lines = (Path(run) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    summary = json.loads((Path(run) / "summary.json").read_text(encoding="utf-8"))
    timed = [row for row in [summary["timing"], *rows] if "seconds_per_step" in row]
    return {"losses": [row["loss"] for row in rows if "loss" in row],
            "psnr": mean(row["psnr"] for row in summary["images"]), "seconds": summary["seconds"],
            **{key: timed[-1][key] if timed else None
               for key in ("images_per_sec", "seconds_per_step")}}


def final_lines(numbers, seconds):
    """The lines of `measured` numbers, without a speed where it is None.

    Args:
        numbers: of `measured`.
        seconds: how long all took.
    """
    speed = [] if numbers["seconds_per_step"] is None else [
        f"Final Performance images/sec : {short(numbers['images_per_sec'])}",
        f"Final Performance sec/step : {short(numbers['seconds_per_step'])}"]
    return [*speed, f"E2E Training Duration sec : {seconds}",
            f"Final Train Accuracy : {decibels(numbers['psnr'])}"]


def short(number):
    """Six digits of a number."""
    return format(number, ".6g")


def decibels(psnr):
    """A PSNR as text."""
    return format(psnr, ".3f")


class NewResults:
    """The results of a run that is about to start, told from those of an earlier job."""

    def __init__(self, run: Path):
        self._run, self._before = run, _state(run / "summary.json")

    def print_lines(self) -> None:
        """Print the final lines if the run has written its summary since then."""
        now = _state(self._run / "summary.json")
        if now == self._before:
            if now:  # of an earlier job; without one: --evaluate_only, or not the rank that writes
                say(f"nothing was trained: the results in {self._run} are an earlier job's")
            return
        numbers = measured(self._run)
        if numbers["seconds_per_step"] is None:
            say("no speed of a single step: the first one is not timed")
        print(*final_lines(numbers, numbers["seconds"]), sep="\n", flush=True)


def _state(path):
    """What changes when a file is written again; None where there is no file."""
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return state.st_mtime_ns, state.st_ino, state.st_size
