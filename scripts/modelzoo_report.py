"""The last lines of a ModelZoo test script, and the files beside its log, from what a run wrote.

`scripts/modelzoo_test.sh` calls it; it does not import TensorFlow.
"""

import json
import platform
import re
from pathlib import Path
from statistics import mean

import yaml

from common.cli import UserError, run_command
from common.files import write_text
from common.options import OneLineParser

# What the TensorFlow adapter logs once it has handed a graph to the NPU.
COMPILED = "The model has been compiled on the Ascend AI processor"


def main(argv):
    """Run the command."""
    arguments = _parser().read(argv)
    logs = [Path(path) for path in arguments.log]
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in logs]
    used = device_used(texts[0])
    if arguments.chip == "npu":
        check_compiled(logs, texts)
        print(f"device used: NPU, the log says so: {COMPILED}")
    else:
        print(f"device used: {used}, not an NPU")
    gpus = re.match(r"(\d+) x ", used)
    ranks = int(gpus.group(1)) if gpus and arguments.chip == "gpu" else arguments.ranks

    run = Path(arguments.output)
    losses, numbers = measured(run)
    summary = run / "summary.json"
    seconds = arguments.seconds
    if summary.stat().st_mtime < arguments.began:
        seconds = round(json.loads(summary.read_text(encoding="utf-8"))["seconds"])
        print(f"nothing was trained: {run} held a finished run, whose numbers these are")
    kind = {"full": "acc", "performance": "perf"}[arguments.kind]
    case = f"{arguments.model}_bs{numbers['batch_size']}_{ranks}p_{kind}"
    values = {
        "Network": arguments.model, "RankSize": ranks, "BatchSize": numbers["batch_size"],
        "DeviceType": platform.machine(), "CaseName": case,
        "ActualFPS": _short(numbers["images_per_sec"]),
        "TrainingTime": _short(numbers["seconds_per_step"]),
        "TrainAccuracy": f"{numbers['psnr']:.3f}", "ActualLoss": _short(losses[-1]),
        "E2ETrainingTime": seconds,
    }
    folder = logs[0].parent
    write_text(folder / f"{case}.log", "".join(f"{k} = {v}\n" for k, v in values.items()))
    write_text(folder / f"{case}_loss.txt", "".join(f"{_short(loss)}\n" for loss in losses))
    print("------------------ Final result ------------------")
    print(f"Final Performance images/sec : {values['ActualFPS']}")
    print(f"Final Performance sec/step : {values['TrainingTime']}")
    print(f"E2E Training Duration sec : {seconds}")
    print(f"Final Train Accuracy : {values['TrainAccuracy']}")


def device_used(text):
    """What the log of a run says it ran on."""
    lines = re.findall(r"^device: (.*), precision \S+ \(.*\)\s*$", text, re.MULTILINE)
    return lines[-1] if lines else "not said in the log"


def check_compiled(logs, texts):
    """Raise a `UserError` where a log does not show that the NPU was used."""
    without = [str(path) for path, text in zip(logs, texts) if COMPILED not in text]
    if without:
        raise UserError(f"an NPU was asked for, but {', '.join(without)} has no line {COMPILED!r}: "
                        "the training did not run on it")


def measured(run):
    """The losses of a run as a list, and a dict of its speed, accuracy and batch size.

    The speed is that of the last row of `metrics.jsonl` that has one, the accuracy the mean PSNR of
    `summary.json`.

    Raises:
        UserError: the run has too few steps for a speed.
    """
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    speeds = [row for row in [summary["timing"], *rows] if "seconds_per_step" in row]
    if not speeds:
        raise UserError(f"{run} has no speed: the first step is not counted, since it compiles; "
                        "train at least 2 steps")
    options = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    return [row["loss"] for row in rows if "loss" in row], {
        "images_per_sec": speeds[-1]["images_per_sec"],
        "seconds_per_step": speeds[-1]["seconds_per_step"],
        "psnr": mean(row["psnr"] for row in summary["images"]),
        "batch_size": options["batch_size"],
    }


def _short(number):
    return format(number, ".6g")


def _parser():
    parser = OneLineParser(prog="python -m scripts.modelzoo_report",
                           description="Print the numbers of a run as ModelZoo's tooling reads "
                                       "them, and write <CaseName>.log and <CaseName>_loss.txt.")
    parser.add_argument("output", metavar="FOLDER", help="folder of the run")
    parser.add_argument("--model", required=True, help="its name")
    parser.add_argument("--kind", required=True, choices=("full", "performance"),
                        help="whether accuracy or speed was the aim")
    parser.add_argument("--chip", required=True, choices=("npu", "gpu", "cpu"),
                        help="what it was started for")
    parser.add_argument("--ranks", type=int, required=True, help="how many processes it had")
    parser.add_argument("--seconds", type=int, required=True, help="how long it took in all")
    parser.add_argument("--began", type=int, required=True, help="when, in seconds since 1970")
    parser.add_argument("--log", required=True, nargs="+", help="what each process printed")
    return parser


if __name__ == "__main__":
    run_command(main)
