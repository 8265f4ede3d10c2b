"""ModelZoo's full and performance runs: models/<model>/test/train_*.sh, by scripts/start.py."""

import os
import re
import sys
import time
from pathlib import Path

import models
from common.device import adapter_log
from common.device.machine import gpu_driver
from common.device.ranks import read_ranks
from common.modelzoo import report
from common.modelzoo.flags import has, pairs, words
from common.modelzoo.standard_flags import as_options
from scripts import start

USAGE = """usage: bash train_{kind}_{devices}.sh --data_path=FOLDER [--key=value ...]

  --data_path       folder of the data set (required)
  --output_path     folder of everything the run writes; default output/{model}_{devices}_{kind}
  --train_steps     optimizer steps in all; of a performance run 300 if neither is given
  --train_epochs    in place of --train_steps: passes over the training images
  --batch_size      patches per step, over all devices
  --precision_mode  of an NPU, e.g. allow_mix_precision
  --over_dump --data_dump_flag --data_dump_step --data_dump_path --over_dump_path
  --profiling --profiling_dump_path --autotune
                    ModelZoo's standard flags of an NPU; inert unless they are True
  -h, --help        this text

Other flags go to python -m models.{model}.train, e.g. --preset=demo. Without --preset or --config
the recipe is {recipe}, of a performance run without NPU and GPU --preset=demo. A
performance run starts anew each time; a full one goes on from the checkpoints in its folder."""


def test(model: models.Model, kind: str, devices: str, argv: list) -> int:
    """Train a model, full or performance, on 1p or 8p, and report on it.

    Args:
        argv: the script's flags.

    Returns:
        the training's status; 1 where the flags are wrong.
    """
    given = pairs(argv, start.SHORT)
    if any(name == "--help" for name, _ in given):
        print(USAGE.format(kind=kind, devices=devices, model=model.name,
                           recipe=" ".join(_recipe(model, devices))))
        return 0
    data, output, flags = _read(given, f"output/{model.name}_{devices}_{kind}")
    chip = _chip_used(flags, devices)
    flags = [f"--data_dir={data}", f"--output_dir={output}",
             *recipe_flags(model, kind, devices, chip, flags), *flags]
    children = _children(model.name, devices, chip, flags, output)
    logs = [child.log for child in children]
    if kind == "performance":
        for log in filter(Path.exists, logs):
            log.unlink()
    began = time.time()
    status = start.supervise(children)
    if status:
        log = logs[0] if len(logs) == 1 else start.log_of(output, "<device>")
        print(f"[Error] the training ended with status {status}; see {log}", file=sys.stderr)
        return status
    report_run(model.name, kind, chip, Path(output), logs, began)
    return 0


def _read(given, output):
    """The data's folder, the output's, and the flags of the training."""
    data, flags = "", []
    for name, value in given:
        if name is None:
            _refuse(f"{value}: flags are given as --key=value; see --help")
        if name == "--output_dir":
            _refuse("give --output_path in place of --output_dir")
        if name in ("--data_path", "--data_input_path"):  # the latter in older folders
            data = value or ""
        elif name in ("--output_path", "--result"):
            output = value or ""
        else:
            flags.append(("--epochs" if name == "--train_epochs" else name, value))
    if not data:
        _refuse('para "data_path" must be config')
    if not output:
        _refuse('para "output_path" is empty')
    return data, output, words(as_options(flags, output))


def _refuse(what):
    print(f"[Error] {what}")
    sys.exit(1)


def _chip_used(flags, devices):
    """npu, gpu or cpu, and a line that says so where it is no NPU."""
    asked = start.chip_of(flags)
    if asked in ("auto", "npu"):
        start.load_cann()
        if start.npu_here():
            return "npu"
    if asked in ("auto", "gpu") and gpu_driver():
        print("no NPU is used: this runs on the GPU")
        return "gpu"
    if devices == "1p" and asked in ("auto", "cpu"):
        print("no NPU and no GPU is used: this runs on the CPU")
    return "cpu"


def _recipe(model, devices):
    return [f"--preset={model.preset}", *(model.eight if devices == "8p" else ())]


def recipe_flags(model, kind, devices, chip, flags):
    """What goes before the flags of the training, which have the last word."""
    recipe = _recipe(model, devices)
    if kind == "performance" and chip == "cpu":
        recipe = ["--preset=demo"]
    if has(flags, *start.RECIPES):
        recipe = []
    else:
        print(f"recipe: {' '.join(recipe)}")
        if kind == "full" and chip == "cpu":
            print("a CPU needs months for it; --preset=demo is a small one")
    if kind == "full":
        return recipe
    steps = [] if has(flags, "--train_steps", "--epochs") else ["--train_steps=300"]
    stage = [f"--stage={model.stages[-1]}"] if model.stages else []
    return [*recipe, "--resume=no", "--log_every=10", "--val_images=2", *steps, *stage]


def _children(model, devices, chip, flags, output):
    """The processes, each with a log."""
    on = start.on_eight if devices == "8p" else start.on_npu if chip == "npu" else start.on_one
    children = on(model, flags)
    if children[0].log:
        return children
    device = devices == "1p" and os.environ.get("ASCEND_DEVICE_ID") or "0"
    log = start.log_of(output, device)
    print(f"training; log: {log}", flush=True)
    return [children[0]._replace(log=log)]


def report_run(model, kind, chip, run, logs, began):
    """Print on what a run was trained, and what it measured.

    Args:
        chip: what it was started for.
        logs: of its processes.
        began: the time of its start.
    """
    used = report.device_used(logs[0])
    finished = (run / "summary.json").stat().st_mtime < int(began)
    seconds = int(time.time() - began)
    if chip != "npu":
        print(f"device used: {used}, not an NPU")
    elif not finished:
        print(f"device used: {used}",
              *adapter_log.compiled({log: report.last_start(log) for log in logs}), sep="\n")
    if finished:
        seconds = round(report.measured(run)["seconds"])
        print(f"nothing was trained: {run} held a finished run, whose numbers these are")
    gpus = chip == "gpu" and re.match(r"(\d+) x ", used)
    ranks = read_ranks(os.environ).size if chip == "npu" else int(gpus.group(1)) if gpus else 1
    report.report_case(run, model, "acc" if kind == "full" else "perf", ranks, logs[0], seconds)
