"""Every model trained by its run_npu.sh on stand-ins for the adapter: on one NPU, and on two.

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
from common.nn.keras_compat import IS_KERAS_3
from common.training.events import read_metrics
from common.weights import read_arrays

pytestmark = pytest.mark.skipif(IS_KERAS_3, reason="npu_device exists for TensorFlow 2.6.5 alone")

ROOT = Path(__file__).resolve().parents[2]
STEPS = 3
THREE = ["--batch_size", "4", "--train_steps", str(STEPS), "--val_images", "1", "--val_every",
         str(STEPS), "--log_every", "1", "--warmup_steps", "0", "--patch_size", "16",
         "--deterministic", "true", "--op_compiler_cache_mode", "force"]
GAN = ["--num_blocks", "1", "--num_filters", "8", "--stage", "gan", "--perceptual_weight", "0.1",
       "--vgg_layers", "[conv2_1]"]
SMALL = {
    "bsrn": ["--num_features", "8", "--num_states", "8", "--num_recursions", "2"],
    "edsr": ["--num_blocks", "1", "--num_filters", "8"],
    "esrgan": GAN,
    "srcnn": ["--num_filters", "[16,8]"],
    "srdrm": GAN,
    "srgan": GAN,
    "vdsr": ["--num_layers", "4", "--num_filters", "8"],
}
# Their discriminators or generators normalise by the batch, of which each process has a share.
BATCH_STATISTICS = {"esrgan", "srdrm", "srgan"}
LOGGED = {"bsrn": 1, "edsr": 1, "srcnn": 1, "vdsr": 1, "esrgan": 7, "srdrm": 7, "srgan": 7}


class Npus:
    """Trainings of one test, in its folder."""

    def __init__(self, folder, vgg_file, photos):
        self._folder, self._vgg_file, self._photos = folder, vgg_file, photos

    def start(self, name, output, *more, script="run_npu.sh", **env):
        """A model's script as a process, which records its calls of the adapter."""
        gan = ["--vgg_weights", str(self._vgg_file)] if SMALL[name] is GAN else []
        environment = {
            **os.environ, "PYTHON": sys.executable, "SR_ZOO_NPU_DEVICES": str(ROOT / "README.md"),
            "PYTHONPATH": str(ROOT / "tests" / "standins"),
            "NPU_STANDIN_RECORD": str(self._folder / f"{output}.calls"), **env}
        return subprocess.Popen(
            ["bash", str(ROOT / "models" / name / "scripts" / script), *THREE, *SMALL[name],
             *gan, "--data_dir", str(self._photos), "--output_dir", output, *more],
            cwd=str(self._folder), env=environment, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)

    def finish(self, *processes):
        """Their texts; all must have succeeded."""
        texts = []
        for process in processes:
            text, errors = process.communicate(timeout=600)
            assert process.returncode == 0, errors
            texts.append(text + errors)
        return texts

    def calls(self, output, rank=0):
        """What a process of a run asked of the adapter, in order."""
        rows = map(json.loads, (self._folder / f"{output}.calls").read_text().splitlines())
        return [row for row in rows if row["rank"] in (rank, None)]


@pytest.fixture
def npus(tmp_path, vgg_file, tiny):
    return Npus(tmp_path, vgg_file, tiny)


def names(calls):
    """In order, without what is within the step."""
    return [call["call"] for call in calls if call["call"] != "keep_dtype_scope"]


@pytest.mark.parametrize("name", models.available())
def test_one_npu_then_two(name, npus, tmp_path, rank_table):
    said, = npus.finish(npus.start(name, "one"))
    assert "device: NPU 0, precision allow_mix_precision" in said
    rows = read_metrics(tmp_path / "one" / "metrics.jsonl")
    losses = [row["loss"] for row in rows if "loss" in row]
    assert len(losses) == STEPS and np.isfinite(losses).all()
    calls = npus.calls("one")
    # Options, then the device before anything else touches TensorFlow, then training.
    assert names(calls) == ["open", "as_default", "NpuLossScaleOptimizer"]
    assert calls[0]["options"] == {"precision_mode": "allow_mix_precision", "deterministic": 1,
                                   "op_compiler_cache_mode": "force"}
    assert calls[0]["device_id"] == 0 and not calls[0]["tensorflow_was_used"]
    assert calls[2]["inner"] == "Adam" and calls[2]["dynamic"]
    assert any(call["call"] == "keep_dtype_scope" for call in calls)

    processes = [npus.start(name, "two", **rank_table(2, rank)) for rank in range(2)]
    said, quiet = npus.finish(*processes)
    assert "device: NPU 0, process 0 of 2" in said and "device: NPU 1, process 1 of 2" in quiet
    assert "Final" not in quiet and "step 1" not in quiet
    arrays = read_arrays(next((tmp_path / "two").glob("*_last.h5")))
    trained = len(models.load(next((tmp_path / "two").glob("*_last.h5"))).trainable_variables)
    for rank in range(2):
        calls = npus.calls("two", rank)
        opening = [call for call in names(calls) if call in ("open", "as_default",
                                                             "NpuLossScaleOptimizer")]
        assert opening[-3:] == ["open", "as_default", "NpuLossScaleOptimizer"]
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
            assert len(set(beside)) == 1 and (beside[0] > 0) == (SMALL[name] is GAN)
            assert beside[0] >= 0
    if name not in BATCH_STATISTICS:
        for layer, ours in read_arrays(next((tmp_path / "one").glob("*_last.h5"))).items():
            for a, b in zip(ours, arrays[layer]):
                np.testing.assert_allclose(b, a, atol=1e-5)
    together = [row["loss"] for row in read_metrics(tmp_path / "two" / "metrics.jsonl")
                if "loss" in row]
    assert together[0] == pytest.approx(losses[0], rel=0.05 if SMALL[name] is GAN else 1e-4)


def test_when_one_of_two_is_killed_all_end_and_go_on_together(npus, tmp_path, rank_table):
    def start(output):
        env = rank_table(2, 0, exchange=output + str(len(list(tmp_path.iterdir()))))
        del env["RANK_ID"], env["ASCEND_DEVICE_ID"]
        (tmp_path / "davinci0").touch()
        (tmp_path / "davinci1").touch()
        return npus.start("edsr", output, "--train_steps", "30", "--val_every", "30",
                          "--save_every", "5", script="run_8p.sh", SR_ZOO_GRACE="1",
                          **{**env, "SR_ZOO_NPU_DEVICES": f"{tmp_path}/davinci[0-9]*"})

    npus.finish(start("whole"))
    broken = start("broken")
    until = time.monotonic() + 120
    while not any(row["step"] >= 12 for row in read_metrics(tmp_path / "broken/metrics.jsonl")):
        assert broken.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    children = Path(f"/proc/{broken.pid}/task/{broken.pid}/children").read_text().split()
    os.kill(int(children[1]), signal.SIGKILL)
    _, errors = broken.communicate(timeout=60)
    assert broken.returncode == 128 + signal.SIGKILL
    assert "device 1 was killed by SIGKILL; stopping the others" in errors
    npus.finish(start("broken"))
    log = (tmp_path / "broken" / "0" / "train_0.log").read_text()
    assert "resuming after step" in log and "device: NPU 0, process 0 of 2" in log
    ours, theirs = (read_arrays(tmp_path / part / "edsr_x2_last.h5")
                    for part in ("whole", "broken"))
    assert ours and all((a == b).all() for layer in ours
                        for a, b in zip(ours[layer], theirs[layer]))
