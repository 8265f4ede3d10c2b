"""What ModelZoo's tooling reads: logs with their starts, final lines, and files beside the log.

Standard library alone: a run is known by the files that it wrote.
"""

import json
import platform
import re
import time
from pathlib import Path
from statistics import mean

from common.files import write_text

STARTED = re.compile("^==== started .*$", re.MULTILINE)

IDENTICAL = 100.0  # dB of an infinite PSNR, as in common.metrics, which needs NumPy


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


def report_case(run: Path, model: str, kind: str, ranks: int, log: Path, seconds: int) -> None:
    """Print the final lines of a run, and write <CaseName>.log and train_<CaseName>_loss.txt.

    A speed is left out where no step was timed: the first one compiles and is not.

    Args:
        run: folder of the run.
        model: its name.
        kind: "acc" or "perf", whether accuracy or speed was the aim.
        ranks: how many devices it had.
        log: the first device's, beside which the files are written.
        seconds: how long all took.
    """
    numbers = measured(run)
    speed = {} if numbers["seconds_per_step"] is None else {
        "ActualFPS": short(numbers["images_per_sec"]),
        "TrainingTime": short(numbers["seconds_per_step"])}
    config = (Path(run) / "config.yaml").read_text(encoding="utf-8")
    batch = re.search(r"^batch_size: (\d+)$", config, re.MULTILINE).group(1)
    case = f"{model}_bs{batch}_{ranks}p_{kind}"
    values = {
        "Network": model, "RankSize": ranks, "BatchSize": batch,
        "DeviceType": platform.machine(), "CaseName": case, **speed,
        "TrainAccuracy": decibels(numbers["psnr"]), "ActualLoss": short(numbers["losses"][-1]),
        "E2ETrainingTime": seconds,
    }
    losses = "".join(f"{short(loss)}\n" for loss in numbers["losses"])
    write_text(log.parent / f"{case}.log", "".join(f"{k} = {v}\n" for k, v in values.items()))
    write_text(log.parent / f"train_{case}_loss.txt", losses)
    print("------------------ Final result ------------------")
    print_final_lines(numbers, seconds)


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
            "psnr": mean(IDENTICAL if row["psnr"] is None else row["psnr"]
                         for row in summary["images"]),
            "seconds": summary["seconds"],
            **{key: timed[-1][key] if timed else None
               for key in ("images_per_sec", "seconds_per_step")}}


def print_final_lines(numbers, seconds):
    """Print `measured` numbers, a speed only if there is one, and how long all took, seconds."""
    if numbers["seconds_per_step"] is None:
        say("no speed of a single step: the first one is not timed")
    else:
        print(f"Final Performance images/sec : {short(numbers['images_per_sec'])}\n"
              f"Final Performance sec/step : {short(numbers['seconds_per_step'])}")
    print(f"E2E Training Duration sec : {seconds}\n"
          f"Final Train Accuracy : {decibels(numbers['psnr'])}", flush=True)


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
        print_final_lines(numbers, numbers["seconds"])


def _state(path):
    """What changes when a file is written again; None where there is no file."""
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return state.st_mtime_ns, state.st_ino, state.st_size
