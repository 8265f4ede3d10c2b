"""Every model trained on a stand-in for the adapter, and each kind of step on two.

The stand-ins (tests/standins) compute on the CPU and really exchange values between processes.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import models
from common.training.events import read_metrics
from common.weights import read_arrays

# npu_device exists for TensorFlow 2.6.5 alone.
pytestmark = [pytest.mark.stack("ascend"), pytest.mark.process]

ROOT = Path(__file__).resolve().parents[2]
STEPS, LONG = 5, 30
LOOP = 4  # steps in a call
SHORT = ["--chip", "npu", "--preset", "demo", "--batch_size", "4", "--val_images", "1",
         "--log_every", "1", "--warmup_steps", "0", "--patch_size", "16", "--deterministic", "true",
         "--op_compiler_cache_mode", "force"]
# Their discriminators or generators normalise by the batch, of which each process has a share.
GANS = {name for name in models.available() if models.model(name).stages}
ONE_SCALE = {"bsrn": ("--scale", "2")}
# Of each kind of step: pixels, several scales together, a GAN.
SHARED = ("bsrn", "edsr", "srgan")
LOGGED = {name: 7 if name in GANS else 1 for name in SHARED}

# A process that trains one model after the other and records each one's calls of the adapter.
SERVE = """
import contextlib, importlib, json, os, sys
trainings, where = json.loads(sys.argv[1]), sys.argv[2]
mains = [importlib.import_module(f"models.{name}.train").main for name, _, _ in trainings]
for main, (name, output, flags) in zip(mains, trainings):
    os.environ["NPU_STANDIN_RECORD"] = f"{where}/{output}.calls"
    os.environ["NPU_STANDIN_OPERATIONS"] = f"{where}/{output}.operations"
    with open(f"{where}/{output}.{os.environ.get('RANK_ID', 0)}.txt", "w") as said, \\
            contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        main([*flags, "--output_dir", f"{where}/{output}"])
"""


class Npus:
    """Trainings in a folder, and what they left there."""

    def __init__(self, folder, flags, fork):
        self.folder, self.flags, self._fork = folder, flags, fork

    def environment(self, **env):
        """With the stand-ins in place of the adapter."""
        path = os.pathsep.join((str(ROOT), str(ROOT / "tests" / "standins")))
        return {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": path,
                "SR_ZOO_NPU_DEVICES": str(ROOT / "README.md"), **env}

    def serve(self, outputs, *environments):
        """Train all of `outputs` [(model, output, flags)] by processes with these environments."""
        processes = [self._fork("-c", SERVE, json.dumps(outputs), self.folder, cwd=self.folder,
                                env=self.environment(**env)) for env in environments]
        for process in processes:
            _, errors = process.communicate(timeout=900)
            assert process.returncode == 0, errors

    def said(self, output, rank=0):
        """What a process said of a run."""
        return (self.folder / f"{output}.{rank}.txt").read_text()

    def calls(self, output, rank=0):
        """What a process of a run asked of the adapter, in order."""
        rows = map(json.loads, (self.folder / f"{output}.calls").read_text().splitlines())
        return [row for row in rows if row["rank"] in (rank, None)]

    def operations(self, output):
        """What the device of a run was given to run, see `operations` of the stand-in."""
        return (self.folder / f"{output}.operations").read_text().splitlines()

    def losses(self, output):
        """The loss of each step of a run."""
        rows = read_metrics(self.folder / output / "metrics.jsonl")
        return [row["loss"] for row in rows if "loss" in row]

    def weights(self, output):
        """The last weights of a run: their path."""
        return next((self.folder / output).glob("*_last.h5"))


@pytest.fixture(scope="module")
def flags(vgg_file, tiny, small_flags):
    """Of a short training: `flags(name, steps)`."""
    def of(name, steps):
        gan = ["--stage", "gan", "--perceptual_weight", "0.1", "--vgg_layers", "[conv2_1]",
               "--vgg_weights", str(vgg_file)] if name in GANS else []
        return [*SHORT, *small_flags(name), *gan, "--data_dir", str(tiny), "--train_steps",
                str(steps), "--val_every", str(steps), "--save_every", "5"]
    return of


@pytest.fixture(scope="module")
def npus(tmp_path_factory, flags, fork):
    """What the trainings below share."""
    return Npus(tmp_path_factory.mktemp("npus"), flags, fork)


@pytest.fixture(scope="module")
def one(npus, flags):
    """Every model on one NPU."""
    npus.serve([(name, f"{name}_one", flags(name, STEPS)) for name in models.available()], {})


@pytest.fixture(scope="module")
def looped(npus, flags):
    """One of each kind on one NPU at one scale, a step in a call and several."""
    npus.serve([(name, f"{name}_by_{size}", [*flags(name, STEPS), *ONE_SCALE.get(name, ()),
                                             "--npu_loop_size", str(size)])
                for name in SHARED for size in (1, LOOP)], {})


@pytest.fixture(scope="module")
def two(npus, flags, rank_tables):
    """One of each kind on two NPUs."""
    npus.serve([(name, f"{name}_two", flags(name, STEPS)) for name in SHARED],
               *(rank_tables(npus.folder, 2, rank) for rank in range(2)))


@pytest.fixture(scope="module")
def long(npus, flags, rank_tables):
    """EDSR on two NPUs for longer."""
    npus.serve([("edsr", "long", flags("edsr", LONG))],
               *(rank_tables(npus.folder, 2, rank, "long_exchange") for rank in range(2)))


def names(calls):
    """In order, without what is within the step."""
    return [call["call"] for call in calls
            if call["call"] not in ("keep_dtype_scope", "set_npu_loop_size")]


def test_the_device_is_opened_before_anything_else_and_once(npus, one, two):
    """Options, then the device before anything else touches TensorFlow, then training."""
    calls = npus.calls(f"{SHARED[0]}_one")
    assert names(calls) == ["open", "as_default", "NpuLossScaleOptimizer"]
    assert calls[0]["options"] == {"precision_mode": "allow_mix_precision", "deterministic": 1,
                                   "op_compiler_cache_mode": "force"}
    assert calls[0]["device_id"] == 0 and not calls[0]["tensorflow_was_used"]
    for rank in range(2):
        calls = names(npus.calls(f"{SHARED[0]}_two", rank))
        opening = [call for call in calls if call in ("open", "as_default",
                                                      "NpuLossScaleOptimizer")]
        assert opening == ["open", "as_default", "NpuLossScaleOptimizer"]


@pytest.mark.parametrize("name", models.available())
def test_one_npu(name, npus, one):
    assert "device: NPU 0, precision allow_mix_precision" in npus.said(f"{name}_one")
    losses = npus.losses(f"{name}_one")
    assert len(losses) == STEPS and np.isfinite(losses).all()
    calls = npus.calls(f"{name}_one")
    optimizer, = (call for call in calls if call["call"] == "NpuLossScaleOptimizer")
    assert optimizer["inner"] == "Adam" and optimizer["dynamic"]
    assert any(call["call"] == "keep_dtype_scope" for call in calls)


@pytest.mark.parametrize("name", models.available())
def test_between_two_steps_nothing_runs_outside_functions(name, npus, one):
    """For each operation outside a function the adapter builds a graph or goes to the host."""
    assert number_of_calls_alone(npus.operations(f"{name}_one")) == STEPS


def number_of_calls_alone(lines):
    """How often a function took steps, where nothing else ran in between."""
    taken = [i for i, line in enumerate(lines) if line == "function take"]
    between = lines[taken[0] + 1:taken[-1]]
    # With a log line after each there is the function that reads and clears its means.
    assert set(between) <= {"function take", "function read"}, between
    return len(taken)


@pytest.mark.parametrize("name", models.available())
def test_variables_are_made_saved_and_loaded_by_few_functions(name, npus, one):
    lines = npus.operations(f"{name}_one")
    assert len([line for line in lines if line.startswith("graph")]) <= 3
    assert lines.count("function write") <= 8


@pytest.mark.parametrize("name", SHARED)
def test_four_steps_in_a_call_give_the_same_bits(name, npus, looped):
    assert number_of_calls_alone(npus.operations(f"{name}_by_{LOOP}")) == 2
    single, four = (read_arrays(npus.weights(f"{name}_by_{size}")) for size in (1, LOOP))
    assert single.keys() == four.keys() and single
    for layer, ours in single.items():
        for a, b in zip(ours, four[layer]):
            np.testing.assert_array_equal(a, b)
    for size, told in ((1, [1]), (LOOP, [LOOP, STEPS - LOOP])):
        assert told == [call["loop_size"] for call in npus.calls(f"{name}_by_{size}")
                        if call["call"] == "set_npu_loop_size"]


@pytest.mark.parametrize("name", SHARED)
def test_two_npus(name, npus, one, two):
    said, quiet = (npus.said(f"{name}_two", rank) for rank in range(2))
    assert "device: NPU 0, process 0 of 2" in said and "device: NPU 1, process 1 of 2" in quiet
    assert "Final" not in quiet and "step 1" not in quiet
    arrays = read_arrays(npus.weights(f"{name}_two"))
    trained = len(models.load(npus.weights(f"{name}_two")).trainable_variables)
    for rank in range(2):
        calls = npus.calls(f"{name}_two", rank)
        assert "NpuLossScaleOptimizer" in names(calls)
        # Then the weights, the optimizer and all else that a checkpoint holds, and then the steps.
        shared = [i for i, call in enumerate(calls) if call.get("root_rank") == 0
                  and call["values"] > 2 * trained]
        exchanged = [i for i, call in enumerate(calls) if call["call"] == "all_reduce"]
        assert len(shared) == 1 and shared[0] < exchanged[0]
        reduced = [calls[i] for i in exchanged]
        # One exchange of all gradients in each step, and one of the overflow flag.
        gradients, flags = reduced[::2], reduced[1::2]
        assert len(gradients) == len(flags) == STEPS
        assert {(call["reduction"], call["values"]) for call in flags} == {("sum", 1)}
        assert {call["reduction"] for call in gradients} == {"sum"}
        # ... with what is logged, whether to stop, and the gradients of a discriminator; BSRN
        # trains another scale in each step, which has fewer variables than all together.
        beside = [call["values"] - trained - LOGGED[name] - 1 for call in gradients]
        if name == "bsrn":
            assert max(beside) < 0
        else:
            assert len(set(beside)) == 1 and (beside[0] > 0) == (name in GANS)
            assert beside[0] >= 0
    if name not in GANS:
        for layer, ours in read_arrays(npus.weights(f"{name}_one")).items():
            for a, b in zip(ours, arrays[layer]):
                np.testing.assert_allclose(b, a, atol=1e-5)
    assert npus.losses(f"{name}_two")[0] == pytest.approx(npus.losses(f"{name}_one")[0],
                                                         rel=0.05 if name in GANS else 1e-4)


def test_when_one_of_two_is_killed_all_end_and_go_on_together(npus, long, tmp_path, rank_table):
    def start():
        env = rank_table(2, 0, exchange=str(len(list(tmp_path.iterdir()))))
        del env["RANK_ID"], env["ASCEND_DEVICE_ID"]
        (tmp_path / "davinci0").touch()
        (tmp_path / "davinci1").touch()
        return subprocess.Popen(
            ["bash", str(ROOT / "models" / "edsr" / "scripts" / "run_8p.sh"),
             *npus.flags("edsr", LONG), "--output_dir", "broken"], cwd=str(tmp_path), text=True,
            env=npus.environment(**{**env, "SR_ZOO_GRACE": "1",
                                    "SR_ZOO_NPU_DEVICES": f"{tmp_path}/davinci[0-9]*"}),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    broken = start()
    until = time.monotonic() + 300
    while not any(row["step"] >= 12 for row in read_metrics(tmp_path / "broken/metrics.jsonl")):
        assert broken.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    children = Path(f"/proc/{broken.pid}/task/{broken.pid}/children").read_text().split()
    os.kill(int(children[1]), signal.SIGKILL)
    _, errors = broken.communicate(timeout=60)
    assert broken.returncode == 128 + signal.SIGKILL
    assert "device 1 was killed by SIGKILL; stopping the others" in errors
    again = start()
    _, errors = again.communicate(timeout=600)
    assert again.returncode == 0, errors
    log = (tmp_path / "broken" / "0" / "train_0.log").read_text()
    assert "resuming after step" in log and "device: NPU 0, process 0 of 2" in log
    ours, theirs = map(read_arrays, (npus.weights("long"), tmp_path / "broken/edsr_x2_last.h5"))
    assert ours and all((a == b).all() for layer in ours
                        for a, b in zip(ours[layer], theirs[layer]))
