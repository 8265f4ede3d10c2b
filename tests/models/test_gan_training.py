"""The perceptual models trained in their two stages, as processes.

VGG19 has random values here: its code runs as with ImageNet's, and the pictures mean nothing.
"""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from common.cli import UserError
from common.training import loop
from common.training.events import read_metrics
from common.weights import read_arrays, read_metadata

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "esrgan": ["--num_blocks", "1", "--num_filters", "8", "--num_growth", "8", "--scale", "4",
               "--patch_size", "8", "--discriminator", "unet", "--ema_decay", "0.9"],
    "srdrm": ["--num_blocks", "1", "--num_filters", "8", "--patch_size", "16"],
    "srgan": ["--num_blocks", "1", "--num_filters", "8", "--patch_size", "16", "--scale", "2",
              "--label_noise", "0.2", "--discriminator_learning_rate", "0.0005"],
}
GAN = ["--preset", "demo", "--chip", "cpu", "--batch_size", "4", "--psnr_steps", "20",
       "--train_steps", "40", "--val_every", "10", "--val_images", "1", "--log_every", "5"]


@pytest.fixture
def flags(vgg_file, tiny):
    """The flags of a short training in both stages: `flags(name, output, *more)`."""
    def of(name, output, *more):
        return [*GAN, *SMALL[name], "--data_dir", str(tiny), "--perceptual_weight", "0.1",
                "--vgg_layers", "[conv2_1,conv3_1]", "--vgg_layer_weights", "[0.5,1]",
                "--vgg_weights", str(vgg_file), "--output_dir", str(output), *more]
    return of


@pytest.fixture
def command(flags):
    def of(name, output, *more):
        return [sys.executable, "-m", f"models.{name}.train", *flags(name, output, *more)]
    return of


def start(arguments, folder):
    return subprocess.Popen(arguments, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=str(folder),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(arguments, folder, status=0):
    process = start(arguments, folder)
    text, errors = process.communicate(timeout=900)
    assert process.returncode == status, errors
    return text, errors


@pytest.mark.parametrize("name", SMALL)
def test_both_stages_train_and_a_killed_run_ends_as_one_that_is_not(name, tmp_path, command):
    finish(command(name, tmp_path / "whole"), tmp_path)
    rows = read_metrics(tmp_path / "whole" / "metrics.jsonl")
    logged = [row for row in rows if "loss" in row]
    assert [row["step"] for row in logged] == list(range(5, 41, 5))
    wanted = {"loss", "pixel", "perceptual", "adversarial", "discriminator", "d_real", "d_fake"}
    for row in logged:
        assert wanted <= set(row) and np.isfinite([row[key] for key in wanted]).all()
    assert np.mean([row["d_real"] - row["d_fake"] for row in logged[4:]]) > 0
    summaries = [json.loads((tmp_path / "whole" / part / "summary.json").read_text())
                 for part in ("psnr", ".")]
    psnr = [summary["images"][0]["psnr"] for summary in summaries]
    assert np.isfinite(psnr).all() and psnr[1] > psnr[0] - 3

    arguments = command(name, tmp_path / "broken")
    broken = start(arguments, tmp_path)
    while broken.poll() is None:
        if any(row["step"] >= 20 for row in read_metrics(tmp_path / "broken" / "metrics.jsonl")):
            broken.send_signal(signal.SIGKILL)
        time.sleep(0.01)
    broken.communicate()
    text, _ = finish(arguments, tmp_path)
    assert "holds a finished run of 20 steps" in text and "resuming after step" in text
    files = [next((tmp_path / run).glob("*_last.h5")) for run in ("whole", "broken")]
    ours, theirs = map(read_arrays, files)
    assert ours and all((a == b).all() for layer in ours
                        for a, b in zip(ours[layer], theirs[layer]))
    assert read_metadata(files[0])["model"] == name
    # The last weights are the result, so that no best checkpoint is kept; both stages have a cache.
    assert not (tmp_path / "whole" / "checkpoints" / "best").exists()
    assert not (tmp_path / "whole" / "psnr" / "cache").exists()
    assert (tmp_path / "whole" / "cache").is_dir()


def test_the_second_stage_starts_from_weights_that_are_named(tmp_path, command):
    first = [*command("esrgan", tmp_path / "first"), "--stage", "psnr", "--train_steps",
             "20"]
    text, _ = finish(first, tmp_path)
    assert "adversarial" not in text
    second = [*command("esrgan", tmp_path / "second"), "--stage", "gan", "--load",
              "first/esrgan_x4.h5"]
    text, _ = finish(second, tmp_path)
    assert "start from first/esrgan_x4.h5" in text and "d_fake" in text
    measured = [*first, "--evaluate_only", "--load", "second/esrgan_x4.h5"]
    text, _ = finish(measured, tmp_path)
    summary = json.loads((tmp_path / "second" / "summary.json").read_text())
    assert f"{summary['images'][0]['psnr']:.2f} dB" in text


@pytest.mark.parametrize("name, more, words", [
    ("srgan", ["--vgg_weights", "none.h5"], "no VGG19 weights at none.h5; correct --vgg_weights"),
    ("srgan", ["--vgg_weights", str(ROOT / "README.md")], "README.md"),
    ("esrgan", ["--discriminator", "vgg", "--patch_size", "10"], "multiple of 32"),
    ("esrgan", ["--lr_schedule", "cosine", "--periods", "[2,1]"], "add up to 3, not to the 40"),
])
def test_mistakes_in_the_second_stage_are_met_before_the_first(name, more, words, tmp_path, flags,
                                                               monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        importlib.import_module(f"models.{name}.train").main(flags(name, "run", *more))
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "psnr" / "config.yaml").exists()


def test_a_run_of_both_stages_may_move_and_keeps_its_first_stage(tmp_path, flags, monkeypatch):
    train = importlib.import_module("models.srdrm.train").main
    short = ["--psnr_steps", "4", "--train_steps", "4", "--val_every", "4", "--perceptual_weight",
             "0"]
    monkeypatch.chdir(tmp_path)
    train(flags("srdrm", "run", *short))
    first = (tmp_path / "run" / "psnr" / "srdrm_x2.h5").read_bytes()
    (tmp_path / "run").rename(tmp_path / "moved")
    for folder in ("moved", tmp_path / "moved"):  # finished, and known to be
        train(flags("srdrm", folder, *short))
    with pytest.raises(UserError) as caught:
        train(flags("srdrm", "moved", *short, "--adversarial_weight", "0.01"))
    advice = re.search(r"or (--stage gan --load moved/psnr/srdrm_x2.h5 --resume no) to start the "
                       r"second stage over", str(caught.value)).group(1)
    train(flags("srdrm", "moved", *short, "--adversarial_weight", "0.01", *advice.split()))
    assert (tmp_path / "moved" / "psnr" / "srdrm_x2.h5").read_bytes() == first
    config = yaml.safe_load((tmp_path / "moved" / "config.yaml").read_text())
    assert config["adversarial_weight"] == 0.01


def test_a_signal_after_the_last_step_keeps_the_second_stage_from_beginning(tmp_path, flags,
                                                                            monkeypatch):
    measure = loop.measure

    def signalled(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return measure(*arguments)

    monkeypatch.setattr(loop, "measure", signalled)
    with pytest.raises(SystemExit) as caught:
        importlib.import_module("models.srdrm.train").main(flags(
            "srdrm", tmp_path / "run", "--psnr_steps", "4", "--val_every", "4",
            "--perceptual_weight", "0"))
    assert caught.value.code == 128 + signal.SIGTERM
    assert (tmp_path / "run" / "psnr" / "summary.json").is_file()
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(tmp_path, command):
    # The rate grows a hundredfold every two steps.
    growing = ["--stage", "gan", "--lr_schedule", "exponential", "--decay_rate", "100",
               "--decay_step", "2", "--save_every", "5", "--val_every", "1000"]
    arguments = command("esrgan", tmp_path / "run", *growing)
    _, errors = finish(arguments, tmp_path, status=2)
    message = errors.strip().splitlines()[-1]
    kept = int(re.search(r"error: a loss is not finite by step \d+: .*; the checkpoint of step "
                         r"(\d+) is kept", message).group(1))
    assert kept >= 5 and "Traceback" not in errors
    assert (tmp_path / "run" / "checkpoints" / f"step-{kept}.index").is_file()
    arrays = read_arrays(tmp_path / "run" / "esrgan_x4_last.h5")
    assert all(np.isfinite(array).all() for layer in arrays.values() for array in layer)
