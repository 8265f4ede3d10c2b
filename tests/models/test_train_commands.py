"""The train command of every model, as a process: it learns, goes on after a kill, and reports."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from skimage import data
from skimage.color import rgb2ycbcr

import models
from common.bicubic import crop_to_multiple, downscale, upscale
from common.training.events import read_metrics
from common.weights import read_arrays, read_metadata

ROOT = Path(__file__).resolve().parents[2]
SHORT = ["--preset", "demo", "--chip", "cpu", "--batch_size", "4", "--train_steps", "30",
         "--val_every", "10", "--val_images", "1", "--log_every", "5", "--warmup_steps", "0"]
SMALL = {
    "bsrn": ["--num_features", "8", "--num_states", "8", "--num_recursions", "2"],
    "edsr": ["--num_blocks", "1", "--num_filters", "8"],
    "esrgan": ["--num_blocks", "1", "--num_filters", "8", "--psnr_steps", "10"],
    "srcnn": ["--num_filters", "[16,8]"],
    "srdrm": ["--num_blocks", "1", "--num_filters", "8", "--psnr_steps", "10"],
    "srgan": ["--num_blocks", "1", "--num_filters", "8", "--psnr_steps", "10"],
    "vdsr": ["--num_layers", "4", "--num_filters", "8"],
}


def start(name, output, *more):
    command = [sys.executable, "-m", f"models.{name}.train", *SHORT, *SMALL[name], "--output_dir",
               str(output), *more]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)},
                            cwd=str(output.parent), stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def test_every_model_is_here():
    assert set(SMALL) == set(models.available())


def finished(name, output, *more):
    process = start(name, output, *more)
    text, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    return text


@pytest.mark.parametrize("name", models.available())
def test_the_demo_preset_trains(name, tmp_path):
    text = finished(name, tmp_path / "run")
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    losses = [row["loss"] for row in rows if "loss" in row]
    assert np.isfinite(losses).all() and len(losses) == 6
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["model"] == name
    assert np.isfinite([row["psnr"] for row in summary["images"]]).all()
    assert read_metadata(summary["weights"])["model"] == name
    if name == "bsrn":
        assert Path(summary["weights"]).name == "bsrn_x234.h5"
        assert {row["scale"] for row in summary["images"]} == {2, 3, 4}
        for words in ("step 30, scale x", "sec/batch", " fps ", "Final PSNR: x4 ", "Final SSIM: "):
            assert words in text


def test_a_joint_run_that_is_killed_ends_as_one_that_is_not(tmp_path, tiny):
    photos = "--data_dir", str(tiny), "--patch_size", "16"
    finished("bsrn", tmp_path / "whole", *photos)
    broken = start("bsrn", tmp_path / "broken", *photos)
    while broken.poll() is None:
        if any(row["step"] >= 15 for row in read_metrics(tmp_path / "broken" / "metrics.jsonl")):
            broken.send_signal(signal.SIGKILL)
        time.sleep(0.01)
    broken.communicate()
    assert "resuming after step" in finished("bsrn", tmp_path / "broken", *photos)
    ours, theirs = (read_arrays(tmp_path / run / "bsrn_x234_last.h5") for run in ("whole",
                                                                                  "broken"))
    assert ours and all((a == b).all() for layer in ours
                        for a, b in zip(ours[layer], theirs[layer]))


@pytest.fixture
def luma_files(tmp_path):
    """91-image_x2.h5 and Set5_x2.h5 in the published layout, from scikit-image's photographs."""
    def luma(image):
        return (rgb2ycbcr(image)[..., 0] / 255).astype("float32")

    pairs = []
    for image in (data.coffee()[:200, :300], data.chelsea()[:150, :220]):
        hr = crop_to_multiple(image, 2)
        pairs.append((luma(upscale(downscale(hr, 2), 2)), luma(hr)))
    patches = [[plane[i:i + 33, j:j + 33] for i in range(0, 160, 30) for j in range(0, 260, 30)]
               for plane in pairs[0]]
    with h5py.File(str(tmp_path / "91-image_x2.h5"), "w") as file:
        file["lr"], file["hr"] = map(np.array, patches)
    with h5py.File(str(tmp_path / "Set5_x2.h5"), "w") as file:
        for i, (lr, hr) in enumerate(pairs):
            file[f"lr/{i}"], file[f"hr/{i}"] = lr, hr
    return tmp_path


@pytest.mark.parametrize("name", ["vdsr", "srcnn"])
def test_luma_models_train_on_hdf5_patches(name, luma_files, run):
    result = run("-m", f"models.{name}.train", *SHORT, *SMALL[name], "--dataset", "hdf5", "--scale",
                 "2", "--data_dir", luma_files, "--output_dir", "out", cwd=luma_files)
    assert result.returncode == 0, result.stderr
    losses = [row["loss"] for row in read_metrics(luma_files / "out" / "metrics.jsonl")
              if "loss" in row]
    assert losses[-1] < losses[0]
    assert models.load(luma_files / "out" / f"{name}_x2.h5", 2) is not None


def test_other_models_refuse_luma_patches(luma_files, run):
    result = run("-m", "models.edsr.train", *SHORT, *SMALL["edsr"], "--dataset", "hdf5",
                 "--data_dir", luma_files, cwd=luma_files)
    assert result.returncode == 2 and "luma patches, but this model works on RGB" in result.stderr
    assert "Traceback" not in result.stderr
