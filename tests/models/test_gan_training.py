"""The perceptual models trained in their two stages, as processes.

VGG19 has random values here: its code runs as with ImageNet's, and the pictures mean nothing.
"""

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

from common.training.reports import read_metrics
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


def command(name, output, vgg_file, *more):
    return [sys.executable, "-m", f"models.{name}.train", *GAN, *SMALL[name],
            "--perceptual_weight", "0.1", "--vgg_layers", "[conv2_1,conv3_1]",
            "--vgg_layer_weights", "[0.5,1]", "--vgg_weights", str(vgg_file), "--output_dir",
            str(output), *more]


def start(arguments, folder):
    return subprocess.Popen(arguments, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=str(folder),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(arguments, folder, status=0):
    process = start(arguments, folder)
    text, errors = process.communicate(timeout=900)
    assert process.returncode == status, errors
    return text, errors


@pytest.mark.parametrize("name", SMALL)
def test_both_stages_train_and_a_killed_run_ends_as_one_that_is_not(name, tmp_path, vgg_file):
    finish(command(name, tmp_path / "whole", vgg_file), tmp_path)
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

    arguments = command(name, tmp_path / "broken", vgg_file)
    broken = start(arguments, tmp_path)
    while broken.poll() is None:
        if any(row["step"] >= 20 for row in read_metrics(tmp_path / "broken" / "metrics.jsonl")):
            broken.send_signal(signal.SIGKILL)
        time.sleep(0.01)
    broken.communicate()
    text, _ = finish(arguments, tmp_path)
    assert "holds a finished run of 20 steps" in text and "going on after step" in text
    files = [next((tmp_path / run).glob("*_last.h5")) for run in ("whole", "broken")]
    ours, theirs = map(read_arrays, files)
    assert ours and all((a == b).all() for layer in ours
                        for a, b in zip(ours[layer], theirs[layer]))
    assert read_metadata(files[0])["model"] == name


def test_the_second_stage_starts_from_weights_that_are_named(tmp_path, vgg_file):
    first = [*command("esrgan", tmp_path / "first", vgg_file), "--stage", "psnr", "--train_steps",
             "20"]
    text, _ = finish(first, tmp_path)
    assert "adversarial" not in text
    second = [*command("esrgan", tmp_path / "second", vgg_file), "--stage", "gan", "--load",
              "first/esrgan_x4.h5"]
    text, _ = finish(second, tmp_path)
    assert "start from first/esrgan_x4.h5" in text and "d_fake" in text
    measured = [*first, "--evaluate_only", "--load", "second/esrgan_x4.h5"]
    text, _ = finish(measured, tmp_path)
    summary = json.loads((tmp_path / "second" / "summary.json").read_text())
    assert f"{summary['images'][0]['psnr']:.2f} dB" in text


def test_no_vgg_weights_is_said_before_the_first_stage(tmp_path, vgg_file):
    arguments = command("srgan", tmp_path / "run", tmp_path / "none.h5")
    text, errors = finish(arguments, tmp_path, status=2)
    assert errors.strip().splitlines()[-1] == (
        f"error: no VGG19 weights {tmp_path / 'none.h5'}; correct --vgg_weights")
    assert "Traceback" not in errors and not (tmp_path / "run" / "psnr" / "checkpoints").exists()


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(tmp_path, vgg_file):
    # The rate grows a hundredfold every two steps.
    growing = ["--stage", "gan", "--lr_schedule", "exponential", "--decay_rate", "100",
               "--decay_step", "2", "--save_every", "5", "--val_every", "1000"]
    arguments = command("esrgan", tmp_path / "run", vgg_file, *growing)
    _, errors = finish(arguments, tmp_path, status=2)
    message = errors.strip().splitlines()[-1]
    kept = int(re.search(r"error: a loss is not finite by step \d+: .*; the checkpoint of step "
                         r"(\d+) is kept", message).group(1))
    assert kept >= 5 and "Traceback" not in errors
    assert (tmp_path / "run" / "checkpoints" / f"step-{kept}.index").is_file()
    arrays = read_arrays(tmp_path / "run" / "esrgan_x4_last.h5")
    assert all(np.isfinite(array).all() for layer in arrays.values() for array in layer)
