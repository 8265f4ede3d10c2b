"""Training as a user runs it: real photographs, kills, restarts and mistakes."""

import json
import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from common.training.events import read_metrics
from common.training.loop import Loop
from common.weights import read_arrays, read_metadata

NETWORK = ["--num_blocks", "1", "--num_filters", "8", "--res_scale", "1", "--chip", "cpu"]
SHORT = ["--train_steps", "40", "--patch_size", "12", "--batch_size", "4", "--val_every", "10",
         "--save_every", "5", "--log_every", "5", "--learning_rate", "0.001", "--ema_decay", "0.5"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of small photographs: eight to train on, two with `val` to measure with."""
    from skimage import data

    folder = tmp_path_factory.mktemp("photos")
    for i, image in enumerate([data.coffee(), data.rocket(), data.chelsea(), data.astronaut()]):
        for j, left in enumerate((40, 180)):
            cut = Image.fromarray(image[100:170, left:left + 81])
            cut.save(str(folder / f"{i}{j}.png"))
    (folder / "val").mkdir()
    (folder / "train").mkdir()
    for path in folder.glob("*.png"):
        path.rename(folder / ("val" if path.name[0] == "3" else "train") / path.name)
    return folder


@pytest.fixture
def train(call, photos, tmp_path):
    """Run the training command with small options; `train("--epochs", 3)`."""
    def start(*flags):
        return call("models.edsr.train", "--data_dir", photos, "--output_dir", "run", *NETWORK,
                    *SHORT, *flags, cwd=tmp_path)
    return start


@pytest.fixture(scope="module")
def unbroken(call, photos, tmp_path_factory):
    """A run that was never stopped, as (folder, finished process)."""
    cwd = tmp_path_factory.mktemp("unbroken")
    result = call("models.edsr.train", "--data_dir", photos, "--output_dir", "run", *NETWORK,
                  *SHORT, cwd=cwd)
    assert result.returncode == 0, result.stderr
    return cwd / "run", result


@pytest.fixture
def start(fork, photos, tmp_path):
    """Start the same training as a process, which writes to `run`."""
    def of(*flags):
        return fork("-m", "models.edsr.train", "--data_dir", photos, "--output_dir", "run",
                    *NETWORK, *SHORT, *flags, cwd=tmp_path)
    return of


def fails(process, *words):
    """A user's mistake: status 2, no traceback, and one line that has all the words."""
    lines = [line for line in process.stderr.splitlines() if line.startswith("error: ")]
    assert process.returncode == 2, process.stderr
    assert len(lines) == 1, process.stderr
    for word in words:
        assert str(word) in lines[0], lines[0]


def same_weights(a, b):
    a, b = read_arrays(a), read_arrays(b)
    assert a.keys() == b.keys() and a
    return all(np.array_equal(x, y) for name in a for x, y in zip(a[name], b[name]))


def test_a_run_leaves_what_the_readme_promises(unbroken):
    folder, result = unbroken
    names = {path.name for path in folder.iterdir()}
    assert {"config.yaml", "train.log", "metrics.jsonl", "checkpoints", "edsr_x2.h5",
            "edsr_x2_last.h5", "samples", "curves.png", "logs", "summary.json"} <= names
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["model"], summary["scale"], summary["steps"]) == ("edsr", 2, 40)
    assert [image["name"] for image in summary["images"]] == ["30", "31"]
    assert set(summary["images"][0]) == {"name", "bicubic_psnr", "psnr", "bicubic_ssim", "ssim"}
    assert Path(summary["weights"]).name == "edsr_x2.h5"
    assert any((folder / "logs").glob("events.out.tfevents.*"))
    log = (folder / "train.log").read_text()
    assert "Step nr: [5/40] - Loss: " in log and " - Lr: 0.0010000" in log
    assert "Epoch nr: [20/20] - Loss: " in log and " - val PSNR: " in log
    for word in ("edsr_x2.h5", "comparison.png", "curves.png"):
        assert word in result.stdout
    assert "it/s" in result.stderr


def test_what_is_printed_is_what_was_measured(unbroken):
    folder, _ = unbroken
    rows = read_metrics(folder / "metrics.jsonl")
    losses = [row["loss"] for row in rows if "loss" in row]
    psnrs = [row["val_psnr"] for row in rows if "val_psnr" in row]
    summary = json.loads((folder / "summary.json").read_text())
    assert len(psnrs) == 4 and losses[-1] < losses[0]
    best = np.mean([image["psnr"] for image in summary["images"]])
    assert best == pytest.approx(max(psnrs), abs=1e-6)


def test_the_pictures_show_lr_bicubic_sr_and_hr(unbroken):
    sheet = np.asarray(Image.open(str(unbroken[0] / "samples" / "comparison.png")))
    columns = [sheet[40:200, 8 + i * 296:8 + i * 296 + 200].astype(int) for i in range(4)]
    for i in range(3):
        assert np.abs(columns[i] - columns[i + 1]).mean() > 1
    curves = np.asarray(Image.open(str(unbroken[0] / "curves.png")))
    assert curves.std() > 10


def test_a_finished_run_says_so_and_prints_its_result_again(unbroken, train, tmp_path):
    shutil.copytree(str(unbroken[0]), str(tmp_path / "run"))
    before = (tmp_path / "run" / "edsr_x2_last.h5").stat().st_mtime_ns
    again = train()
    assert again.returncode == 0, again.stderr
    assert "finished run of 40 steps" in again.stdout
    table = unbroken[1].stdout[unbroken[1].stdout.index("image  "):].splitlines()
    assert table[1:4] == again.stdout[again.stdout.index("image  "):].splitlines()[1:4]
    assert (tmp_path / "run" / "edsr_x2_last.h5").stat().st_mtime_ns == before


def test_killed_at_random_and_started_again_ends_with_the_same_bits(unbroken, start, train,
                                                                    tmp_path):
    # The first checkpoint is written after the row of step 5.
    metrics, kill_at = tmp_path / "run" / "metrics.jsonl", random.randrange(6, 40)
    process = start()
    while process.poll() is None:
        if any(row["step"] >= kill_at for row in read_metrics(metrics)):
            process.kill()
            break
        time.sleep(0.005)
    process.communicate()
    result = train()
    assert result.returncode == 0, f"killed at {kill_at}: {result.stderr}"
    assert "resuming after step" in result.stdout or "finished run" in result.stdout, kill_at
    for name in ("edsr_x2_last.h5", "edsr_x2.h5"):
        assert same_weights(tmp_path / "run" / name, unbroken[0] / name), f"killed at {kill_at}"
    timeless = ("step", "loss", "learning_rate", "val_psnr", "val_ssim")
    rows, expected = ([{key: row[key] for key in timeless if key in row} for row in
                       read_metrics(path)] for path in (metrics, unbroken[0] / "metrics.jsonl"))
    assert [row["step"] for row in rows] == [row["step"] for row in expected]
    assert rows[-1] == expected[-1]


def test_degraded_patches_are_the_same_after_a_kill(train, tmp_path, monkeypatch):
    flags = ("--degradation", "photo", "--train_steps", "12")
    assert train(*flags).returncode == 0
    (tmp_path / "run").rename(tmp_path / "whole")
    after_step = Loop._after_step

    def killed(self, done, *arguments):
        after_step(self, done, *arguments)
        if done == 8:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_after_step", killed)
        assert train(*flags).returncode == 130
    result = train(*flags)
    assert result.returncode == 0 and "resuming after step 5" in result.stdout
    for name in ("edsr_x2_last.h5", "edsr_x2.h5"):
        assert same_weights(tmp_path / "run" / name, tmp_path / "whole" / name)
    fails(train("--train_steps", "12"), "degradation was photo and is none")


def test_sigterm_saves_and_ends(start, tmp_path):
    process = start("--train_steps", "100000", "--save_every", "100000", "--val_every", "100000")
    while not read_metrics(tmp_path / "run" / "metrics.jsonl"):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 128 + signal.SIGTERM
    assert "the same command goes on from there" in output
    assert list((tmp_path / "run" / "checkpoints").glob("step-*.index"))


def test_several_steps_in_a_call_give_the_same_bits_and_stop_at_their_multiples(
        unbroken, train, tmp_path):
    done = train("--npu_loop_size", "4", "--max_minutes", "1e-9")
    assert done.returncode == 143 and "stopped after step 4;" in done.stdout, done.stderr
    done = train("--npu_loop_size", "3")  # another one goes on with it
    assert done.returncode == 0, done.stderr
    assert same_weights(tmp_path / "run" / "edsr_x2_last.h5", unbroken[0] / "edsr_x2_last.h5")
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    logged = {row["step"]: row["loss"] for row in rows if "loss" in row}
    assert list(logged) == [4, 6, 12, 18, 24, 30, 36, 40]  # 5 is rounded up
    assert [row["step"] for row in rows if "val_psnr" in row] == [12, 24, 36, 40]
    assert sorted(int(path.stem[5:]) for path in (tmp_path / "run" / "checkpoints").glob(
        "step-*.index")) == [30, 36, 40]


def test_a_run_that_looks_at_each_step_takes_them_one_by_one(train, call, tmp_path, tiny):
    fails(train("--npu_loop_size", "4", "--on_nan", "skip"), "--on_nan skip", "--npu_loop_size 4")
    fails(call("models.bsrn.train", "--scale", "[2,3]", "--npu_loop_size", "2", "--chip", "cpu",
               "--data_dir", tiny, "--output_dir", "joint", cwd=tmp_path),
          "--npu_loop_size 2 needs one --scale")
    assert not list(tmp_path.glob("*/config.yaml"))


def test_other_options_or_images_are_refused(unbroken, train, tmp_path, call):
    shutil.copytree(str(unbroken[0]), str(tmp_path / "run"))
    fails(train("--learning_rate", "0.002"), "learning_rate was 0.001 and is 0.002", "--resume no")
    fails(train("--load", unbroken[0] / "edsr_x2.h5"), "already holds a run", "--resume no")
    fails(call("models.edsr.train", "--output_dir", "run", *NETWORK, *SHORT, cwd=tmp_path),
          "other training images")
    assert same_weights(tmp_path / "run" / "edsr_x2.h5", unbroken[0] / "edsr_x2.h5")


def test_a_longer_run_goes_on_and_resume_no_starts_over(unbroken, train, tmp_path):
    shutil.copytree(str(unbroken[0]), str(tmp_path / "run"))
    longer = train("--train_steps", "45", "--val_every", "45")
    assert longer.returncode == 0, longer.stderr
    assert "resuming after step 40" in longer.stdout
    over = train("--train_steps", "10", "--resume", "no")
    assert over.returncode == 0 and "resuming" not in over.stdout, over.stderr
    assert [row["step"] for row in read_metrics(tmp_path / "run" / "metrics.jsonl")][-1] == 10


def test_resume_from_a_named_checkpoint(unbroken, train):
    result = train("--resume", unbroken[0], "--train_steps", "45")
    assert result.returncode == 0 and "resuming after step 40" in result.stdout, result.stderr
    result = train("--resume", "run", "--train_steps", "45")  # its own folder
    assert result.returncode == 0 and "holds a finished run" in result.stdout, result.stderr


def test_load_evaluate_only_and_the_yaml_of_a_run(unbroken, call, photos, tmp_path):
    weights = unbroken[0] / "edsr_x2.h5"
    measured = call("models.edsr.train", "--data_dir", photos, "--evaluate_only", "--load", weights,
                    "--chip", "cpu", cwd=tmp_path)
    assert measured.returncode == 0, measured.stderr
    summary = json.loads((unbroken[0] / "summary.json").read_text())
    for image in summary["images"]:
        assert f"{image['psnr']:.2f} dB" in measured.stdout
    x4 = call("models.edsr.train", "--config", unbroken[0] / "config.yaml", "--scale", "4",
              "--patch_size", "8", "--output_dir", "x4", "--load", weights, "--train_steps", "2",
              cwd=tmp_path)
    assert x4.returncode == 0, x4.stderr
    assert "not in it: upsample1_conv" in x4.stdout
    assert read_metadata(tmp_path / "x4" / "edsr_x4.h5")["scale"] == 4
    config = yaml.safe_load((tmp_path / "x4" / "config.yaml").read_text())
    assert (config["scale"], config["num_filters"], config["train_steps"]) == (4, 8, 2)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(train, tmp_path):
    result = train("--learning_rate", "1e30", "--save_every", "1", "--log_every", "1")
    fails(result, "not finite", "--learning_rate")
    assert (tmp_path / "run" / "checkpoints").is_dir()


def test_train_steps_below_an_epoch_are_pointed_out(train):
    result = train("--train_steps", "1", "--patches_per_image", "4")
    assert "--train_steps 1 is less than one epoch of 6 steps" in result.stdout, result.stderr
    assert "--epochs" in result.stdout


def test_mistakes_end_with_one_line(photos, tmp_path, call):
    def start(*flags):
        return call("models.edsr.train", *NETWORK, *SHORT, "--output_dir", "run", *flags,
                    cwd=tmp_path)

    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    cut = tmp_path / "cut"
    shutil.copytree(str(photos), str(cut))
    broken = cut / "train" / "00.png"
    broken.write_bytes(broken.read_bytes()[:2000])
    fails(start("--data_dir", "missing"), "missing")
    fails(start("--data_dir", "empty"), "empty")
    fails(start("--data_dir", "cut"), "00.png")
    fails(start("--data_dir", photos, "--patch_size", "64"), "patch", "64")
    fails(start("--data_dir", photos, "--scale", "5"), "scale 5", "2, 3, 4, 8")
    fails(start("--data_dir", photos, "--num_block", "3"), "did you mean --num_blocks")
    fails(start("--data_dir", photos, "--output_dir", "file/run"), "file/run")
    fails(start("--data_dir", photos, "--dataset", "div2"), "div2", "div2k")
    fails(start("--data_dir", photos, "--load", "none.h5"), "none.h5")
    assert not (tmp_path / "run" / "edsr_x2.h5").exists()
