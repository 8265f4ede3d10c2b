"""Several processes that train one model together, on one machine.

The main stack is asked all of it, the other that workers learn together and see one that is lost.
"""

import os
import signal
import socket
import time
from pathlib import Path

import numpy as np
import pytest

from common.cli import UserError
from common.device import watch
from common.training.events import read_metrics
from common.weights import read_arrays
from scripts import launch

TRAIN = ["--preset", "demo", "--chip", "cpu", "--batch_size", "4", "--train_steps", "8",
         "--val_every", "8", "--val_images", "1", "--log_every", "4", "--warmup_steps", "0",
         "--patch_size", "16"]
SMALL = {"edsr": ["--num_blocks", "1", "--num_filters", "4"],
         "bsrn": ["--num_features", "4", "--num_states", "4", "--num_recursions", "2",
                  "--scale", "[2,3]"]}


@pytest.fixture
def start(fork):
    """Start a process; what is left of it is killed in the end."""
    processes = []

    def started(*arguments, **kwargs):
        processes.append(fork(*arguments, **kwargs))
        return processes[-1]

    yield started
    for process in processes:
        process.kill()


@pytest.fixture
def finish(start):
    """Run a process to its end, which is a good one; what it said on both streams."""
    def finished(*arguments, **kwargs):
        process = start(*arguments, **kwargs)
        said = process.communicate()
        assert process.returncode == 0, said[1]
        return "".join(said)
    return finished


# In place of two GPUs: two devices that TensorFlow makes of the CPU.
TWO_DEVICES = """
import runpy, sys
from common.nn.keras_compat import tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], 2 * [tf.config.LogicalDeviceConfiguration()])
from common.device import open as device
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
two = device.Device("cpu", "float32", strategy, "two logical devices")
assert two.replicas == two.local_replicas == 2
device.open_device = lambda *arguments: two
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


def same(ours, theirs, tolerance):
    """Compare the weights of two runs."""
    ours, theirs = (read_arrays(next(folder.glob("*_last.h5"))) for folder in (ours, theirs))
    assert ours
    for layer, arrays in ours.items():
        for a, b in zip(arrays, theirs[layer]):
            np.testing.assert_allclose(b, a, rtol=0, atol=tolerance)


def losses(folder):
    return [row["loss"] for row in read_metrics(folder / "metrics.jsonl") if "loss" in row]


# EDSR on the main stack: two workers below, two devices in test_steps.
@pytest.mark.parametrize("name", [pytest.param("edsr", marks=pytest.mark.stack("ascend")),
                                  pytest.param("bsrn", marks=pytest.mark.stack("main"))])
def test_two_workers_and_two_devices_learn_what_one_device_does(name, finish, call, tmp_path, tiny):
    train = [f"models.{name}.train", *TRAIN, *SMALL[name], "--data_dir", str(tiny), "--output_dir"]
    assert call(*train, "one", cwd=tmp_path).returncode == 0
    finish(*LAUNCH, "-m", *train, "workers", cwd=tmp_path)
    finish("-c", TWO_DEVICES, *train, "devices", cwd=tmp_path)
    alone = losses(tmp_path / "one")
    assert len(alone) == 2
    for several in ("workers", "devices"):
        same(tmp_path / "one", tmp_path / several, 1e-5)
        assert losses(tmp_path / several) == pytest.approx(alone, rel=1e-4)


LAUNCH = ["-m", "scripts.launch", "--workers", "2", "python"]
LONG = ["-m", "models.edsr.train", *TRAIN, *SMALL["edsr"], "--train_steps", "60", "--val_every",
        "60", "--save_every", "5", "--data_dir"]


def wait_for_step(folder, step, process):
    until = time.monotonic() + 120
    while not any(row["step"] >= step for row in read_metrics(folder / "metrics.jsonl")):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.stack("main")
def test_a_worker_that_is_killed_ends_all_and_all_go_on_together(finish, start, call, tmp_path,
                                                                 tiny):
    train = [*LONG, str(tiny), "--output_dir"]
    assert call(*train[1:], "one", cwd=tmp_path).returncode == 0
    process = start(*LAUNCH, *train, "broken", cwd=tmp_path)
    wait_for_step(tmp_path / "broken", 20, process)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(workers) == 2
    began = time.monotonic()
    os.kill(int(workers[1]), signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGKILL and time.monotonic() - began < 30
    assert "error: worker 1 was killed by SIGKILL; stopping the others" in errors
    assert "Traceback" not in errors
    assert "resuming after step" in finish(*LAUNCH, *train, "broken", cwd=tmp_path)
    same(tmp_path / "one", tmp_path / "broken", 1e-5)
    assert losses(tmp_path / "broken") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)


# A watch of less patience: 15 seconds in place of 45.
WATCHED = """
import runpy, sys
from common.device import watch
watch.EVERY, watch.PATIENCE, watch.GRACE = 1, 3, 3
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("number", [
    signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.stack("main"))])
def test_without_the_launcher_a_process_that_is_lost_is_reported(start, tmp_path, tiny, number):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    # As torchrun and Kubeflow describe it.
    assert (watch.EVERY + watch.PATIENCE) * watch.TRIES + watch.GRACE == 45
    command = ["-c", WATCHED, *LONG[1:], str(tiny), "--output_dir", "run", "--train_steps",
               "100000", "--val_every", "100000"]
    ours, lost = (start(*command, cwd=tmp_path, env={
        "WORLD_SIZE": "2", "RANK": str(rank), "MASTER_PORT": str(port),
        "MASTER_ADDR": "127.0.0.1"}) for rank in (0, 1))
    wait_for_step(tmp_path / "run", 20, ours)
    began = time.monotonic()
    lost.send_signal(number)
    try:
        _, errors = ours.communicate(timeout=120)
    finally:
        lost.kill()
        lost.communicate()
    seconds = time.monotonic() - began
    assert ours.returncode == 2 and seconds < 30, (seconds, errors)
    assert "error: process 1 of 2 (127.0.0.1:" in errors and "is gone; start all of" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("flags, shares", [
    (["--chip", "cpu"], None), (["--chip=gpu", "--chip=npu"], None), ([], [["0"], ["1"]]),
    (["--chip=cpu", "--chip", "gpu"], [["0"], ["1"]])])
def test_gpus_are_shared_where_the_command_may_use_them(monkeypatch, flags, shares):
    given = []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setattr(launch, "_workers", lambda command, count, gpus: given.append(gpus) or [])
    assert launch.main(["--workers", "2", "python", "-m", "models.edsr.train", *flags]) == 0
    assert given == [shares]


def test_more_workers_than_gpus_are_refused_before_any_starts(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with pytest.raises(UserError, match="2 processes for 1 GPU: start at most one for each"):
        launch.main(["--workers", "2", "python", "-m", "models.edsr.train"])


@pytest.mark.stack("main")
def test_machines_that_share_no_folder_train_both_stages(start, tmp_path, tiny):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    train = ["-m", "models.srgan.train", *TRAIN, "--num_blocks", "1", "--num_filters", "8",
             "--psnr_steps", "8", "--data_dir", str(tiny), "--output_dir", "run"]
    processes = []
    for rank in range(2):
        (tmp_path / str(rank)).mkdir()
        processes.append(start(*train, cwd=tmp_path / str(rank), env={
            "WORLD_SIZE": "2", "RANK": str(rank), "MASTER_PORT": str(port),
            "MASTER_ADDR": "127.0.0.1"}))
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    assert (tmp_path / "0" / "run" / "srgan_x2.h5").is_file()
    assert not list((tmp_path / "1" / "run").glob("**/*.h5"))


@pytest.mark.stack("main")
def test_a_command_that_fails_ends_all_with_its_status(start, tmp_path):
    process = start(*LAUNCH, "-m", "models.edsr.train", "--no_such_option", "1", cwd=tmp_path)
    said = "".join(process.communicate())
    assert process.returncode == 2 and "Traceback" not in said
    assert "unknown option --no_such_option" in said
