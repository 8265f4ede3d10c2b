"""Start what a thin file in a model's folder stands for: `bash scripts/start.sh FILE [flags]`.

FILE is models/<model>/scripts/run_1p.sh, run_npu.sh, run_8p.sh or run_gpu.sh, one of that model's
test/train_{full,performance}_{1p,8p}.sh (scripts/modelzoo_run.py has these), or a program that a
published description names (scripts/described.py). The flags of the former are those of the model's
train command. It needs no packages, for it chooses the environment.

Processes on several NPUs find each other by RANK_TABLE_FILE or by the five CM_ variables. RANK_SIZE
(8) or CM_WORKER_SIZE is their number in all; on several machines SERVER_INDEX counts these from 0
and DEVICES is the number of this one's. SR_ZOO_GRACE (60) is how many seconds those that remain of
a run that lost one may take to end.
"""

import functools
import os
import subprocess
import sys
from pathlib import Path

import models
from common.cli import UserError, run_command
from common.device.machine import gpu_driver, has_adapter, npu_count, usual_stack
from common.device.ranks import check_rank, for_adapter, read_ranks
from common.modelzoo.environment import (
    ONE_DEVICE,
    ROOT,
    find_python,
    program_python,
    with_defaults,
    zoo_python,
)
from common.modelzoo.flags import has, value_of
from common.modelzoo.rank_table import cards_here
from common.modelzoo.report import begin_log
from common.modelzoo.supervise import Child, Supervisor

SHORT = {"-c": "--config", "-h": "--help"}
RECIPES = ("--preset", "--config", "--config-file", "--config_file")
DATA = ("--data_url", "--dataset", "--data_dir", "--input_dir", "--gt_folder")
# Boot files of ModelArts: the mode of modelarts_entry.py and flags that go before the user's.
BOOT_FILES = {"boot_modelarts": ("train", ()),
              "modelarts_entry_acc": ("train", ("--preset=coco", "--dataset=auto")),
              "modelarts_entry_perf": ("perf", ("--preset=coco", "--dataset=auto"))}


def main(argv):
    """Run what a script of a model's folder stands for."""
    script, flags = Path(os.path.abspath(argv[0])), argv[1:]
    if script.stem in BOOT_FILES:
        return boot(model_of(script), script.stem, flags)
    model, words = model_of(script), script.stem.split("_")
    if script.suffix == ".py" or words[0] in ("validate", "test"):
        return run([described(script, flags)])
    if words[0] == "train":
        from scripts.modelzoo_run import test

        return test(model, *words[1:], flags)
    start = {"1p": on_one, "gpu": on_gpu, "npu": on_npu, "8p": on_eight}[words[1]]
    return run(start(model.name, flags))


def model_of(script):
    """The model in whose folder a file is."""
    return models.model(script.parts[len(script.parts) - script.parts[::-1].index("models")])


def boot(model, name, flags):
    """Run a boot file of ModelArts, here and now: it makes the environment on top of this Python.

    Away from ModelArts, where no data are named either, it trains the demo.
    """
    import modelarts_entry

    mode, recipe = BOOT_FILES[name]
    if not (has(flags, "--help", *RECIPES, *DATA, short=SHORT)
            or Path(modelarts_entry.DATA_URL).is_dir()):
        print("no --data_url, and not on ModelArts: this is the demo")
        recipe = ["--preset=demo", "--dataset=demo"]
        if not has(flags, "--train_url"):
            recipe.append(f"--train_url=output/{model.name}_modelarts")
    return modelarts_entry.main(["--model", model.name, "--mode", mode, *recipe, *flags])


def run(children):
    """Run processes to their end; one that has no log of its own takes this one's place."""
    if len(children) == 1 and not children[0].log:
        sys.stdout.flush()
        os.execve(children[0].command[0], *children[0][:2])
    return supervise(children)


def supervise(children):
    """Run processes that have logs; those that remain when one has failed are ended."""
    for child in children:
        begin_log(child.log)
    with Supervisor() as supervisor:
        return supervisor.run(children, float(os.environ.get("SR_ZOO_GRACE") or 60))


# ---- processes: lists of `Child` ----------------------------------------------------------------

def chip_of(flags):
    """The chip that the flags ask for."""
    return value_of(flags, "--chip") or "auto"


def train(python, model, flags, chip=None):
    """The train command of a model; its demo unless the flags name a recipe."""
    return [python, "-m", f"models.{model}.train", *([f"--chip={chip}"] if chip else []),
            *([] if has(flags, *RECIPES, short=SHORT) else ["--preset=demo"]), *flags]


def on_one(model, flags):
    """One process: on an NPU where there is one, else on a GPU (the first), else on the CPU.

    Boot code of ModelArts gives CODE_DIR DATA_DIR RESULT_DIR OBS_URL before the flags.
    """
    if flags and not flags[0].startswith("-"):
        if len(flags) < 4 or any(word.startswith("-") for word in flags[:4]):
            raise UserError("without flags in front, run_1p.sh takes CODE_DIR DATA_DIR RESULT_DIR "
                            "OBS_URL")
        _, data, results, bucket, *flags = flags
        print(f"data: {data}; results go to {results}; copying them to {bucket or 'the bucket'} is "
              "the boot code's part")
        flags = [f"--data_dir={data}", f"--output_dir={results}", *flags]
    if chip_of(flags) == "npu" or chip_of(flags) == "auto" and npu_count():
        return on_npu(model, flags)
    return [Child(train(zoo_python("main"), model, flags),
                  {"CUDA_VISIBLE_DEVICES": "0", **with_defaults(ONE_DEVICE)})]


def on_gpu(model, flags):
    """One process: on a GPU where there is one, else on the CPU."""
    if chip_of(flags) == "auto":
        gpu = gpu_driver()
        if not gpu:
            print("no GPU here: this runs on the CPU", flush=True)
        flags = [*flags, f"--chip={'gpu' if gpu else 'cpu'}"]
    return on_one(model, flags)


def described(script, flags):
    """The process of a program that a published description names.

    One in Python runs in the Python that was called or in an environment that is there; one in bash
    makes the environment.
    """
    if npu_count():
        load_cann()
    python = (program_python() if script.suffix == ".py"
              else zoo_python(usual_stack()))
    return Child([python, "-m", "scripts.described", str(script), *flags],
                 with_defaults(ONE_DEVICE))


def on_npu(model, flags):
    """One process on NPU ASCEND_DEVICE_ID (0), of several that are started each for itself."""
    ranks = read_ranks(os.environ)
    check_rank(os.environ, ranks)
    load_cann()
    if not npu_here():
        raise UserError("no NPU here: no /dev/davinci* and no package npu_device; run_1p.sh trains "
                        "on a GPU or the CPU")
    device, rank = (os.environ.get(name) or "0" for name in ("ASCEND_DEVICE_ID", "RANK_ID"))
    return [Child(train(zoo_python("ascend"), model, flags, "npu"), _for_npu(ranks, device, rank))]


def on_eight(model, flags):
    """A process on each NPU of this machine, with logs; or one process that uses all GPUs."""
    chip = chip_of(flags)
    if chip in ("auto", "npu"):
        load_cann()
        if npu_here():
            return _on_each_npu(model, flags)
    if chip in ("auto", "gpu") and gpu_driver():
        one = {"RANK_SIZE": "1", "RANK_ID": "0", "ASCEND_DEVICE_ID": "0"}
        return [Child(train(zoo_python("main"), model, flags, "gpu"),
                      {**with_defaults(ONE_DEVICE), **one})]
    raise UserError(f"no NPU and no GPU here that --chip {chip} could use; run_1p.sh also trains "
                    "on the CPU")


def _on_each_npu(model, flags):
    if not os.environ.get("CM_WORKER_SIZE"):
        os.environ["RANK_SIZE"] = os.environ.get("RANK_SIZE") or "8"
    ranks, here = read_ranks(os.environ), npu_count()
    cards = cards_here(os.environ, ranks)
    if here and len(cards) > here:
        raise UserError(f"{len(cards)} processes need as many NPUs, but this machine has {here}; "
                        "set RANK_SIZE, or DEVICES on several machines")
    command = train(zoo_python("ascend"), model, flags, "npu")
    if has(flags, "--help", "--print_config", short=SHORT):
        return [Child(command, _for_npu(ranks, *cards[0]))]
    output = _output_dir(command)
    if not output:
        output = f"output/{model}_8p"
        command.append(f"--output_dir={output}")
    children = [Child(command, _for_npu(ranks, *card), f"device {card.device}",
                      log_of(output, card.device)) for card in cards]
    print(f"{len(cards)} processes, one for each NPU; logs: {log_of(output, '<device>')}",
          flush=True)
    return children


def log_of(output, device):
    """The log of a device in the folder of a run."""
    return Path(output) / str(device) / f"train_{device}.log"


def _for_npu(ranks, device, rank):
    # The adapter says at INFO whether it compiled the graph for the NPU.
    return {**for_adapter(os.environ, ranks, device, rank), "TF_CPP_MIN_LOG_LEVEL": "0"}


def _output_dir(command):
    """The output folder that the options name, which may be in a YAML file; "" for none.

    A mistake in the options ends the process with the status and the one line of the command.
    """
    options = subprocess.run([*command, "--print_config"], stdout=subprocess.PIPE)
    if options.returncode:
        sys.exit(options.returncode)
    code = 'import sys, yaml; print(yaml.safe_load(sys.stdin)["output_dir"] or "")'
    read = subprocess.run([command[0], "-c", code], input=options.stdout, stdout=subprocess.PIPE,
                          check=True)
    return read.stdout.decode().strip()


@functools.lru_cache(1)
def load_cann():
    """Take over the environment of CANN, once."""
    loaded = subprocess.run(["bash", str(ROOT / "scripts" / "cann.sh"), "env", "-0"],
                            stdout=subprocess.PIPE, check=True)
    variables = (line.partition("=") for line in os.fsdecode(loaded.stdout).split("\0") if line)
    os.environ.update({name: value for name, _, value in variables})


def npu_here():
    """Whether there is an NPU, or the adapter, which then says itself what it lacks."""
    if npu_count():
        return True
    python = find_python("ascend")
    return bool(python) and has_adapter(python)


if __name__ == "__main__":
    run_command(main)
