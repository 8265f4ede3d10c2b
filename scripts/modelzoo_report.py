"""The last lines of a ModelZoo test script, and the files beside its log, from what a run wrote.

`scripts/modelzoo_test.sh` calls it; it does not import TensorFlow.
"""

import platform
import re
from pathlib import Path

import yaml

from common.cli import UserError, run_command
from common.files import write_text
from common.flags import OneLineParser
from common.modelzoo.report import decibels, final_lines, measured, short

# What the TensorFlow adapter logs once it has handed a graph to the NPU.
COMPILED = "The model has been compiled on the Ascend AI processor"
# What `begin_log` of scripts/train_common.sh writes before each start.
STARTED = re.compile("^==== started .*$", re.MULTILINE)


def main(argv):
    """Run the command."""
    arguments = _parser().read(argv)
    logs = [Path(path) for path in arguments.log]
    texts = [STARTED.split(path.read_text(encoding="utf-8", errors="replace"))[-1]
             for path in logs]
    used = device_used(texts[0])
    run = Path(arguments.output)
    finished = (run / "summary.json").stat().st_mtime < arguments.began
    if arguments.chip != "npu":
        print(f"device used: {used}, not an NPU")
    elif not finished:
        check_compiled(logs, texts)
        print(f"device used: NPU, the log says so: {COMPILED}")
    gpus = re.match(r"(\d+) x ", used)
    ranks = int(gpus.group(1)) if gpus and arguments.chip == "gpu" else arguments.ranks

    numbers = measured(run)
    if numbers["seconds_per_step"] is None:
        raise UserError(f"{run} has no speed: the first step is not counted, since it compiles; "
                        "train at least 2 steps")
    batch = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["batch_size"]
    seconds = arguments.seconds
    if finished:
        seconds = round(numbers["seconds"])
        print(f"nothing was trained: {run} held a finished run, whose numbers these are")
    kind = {"full": "acc", "performance": "perf"}[arguments.kind]
    case = f"{arguments.model}_bs{batch}_{ranks}p_{kind}"
    values = {
        "Network": arguments.model, "RankSize": ranks, "BatchSize": batch,
        "DeviceType": platform.machine(), "CaseName": case,
        "ActualFPS": short(numbers["images_per_sec"]),
        "TrainingTime": short(numbers["seconds_per_step"]),
        "TrainAccuracy": decibels(numbers["psnr"]), "ActualLoss": short(numbers["losses"][-1]),
        "E2ETrainingTime": seconds,
    }
    folder = logs[0].parent
    write_text(folder / f"{case}.log", "".join(f"{k} = {v}\n" for k, v in values.items()))
    write_text(folder / f"{case}_loss.txt", "".join(f"{short(loss)}\n"
                                                  for loss in numbers["losses"]))
    print("------------------ Final result ------------------")
    print(*final_lines(numbers, seconds), sep="\n")


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
