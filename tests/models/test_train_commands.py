"""The train command of every model: it learns, goes on after a kill, and reports."""

import functools
import json
import signal
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

pytestmark = pytest.mark.usefixtures("no_curves")
SHORT = ["--preset", "demo", "--chip", "cpu", "--batch_size", "4", "--train_steps", "12",
         "--val_every", "6", "--val_images", "1", "--log_every", "3", "--warmup_steps", "0"]

# test_gan_training trains the GANs' demos, test_esrgan_modelzoo ESRGAN's discriminator.
DEMOS = [name for name in models.available() if not models.model(name).stages]


@pytest.fixture(scope="module")
def finished(call, small_flags):
    """Run a model's train command to its end: `finished(name, folder, *flags)`; what it said."""
    def run_to_end(name, folder, *more):
        done = call(f"models.{name}.train", *SHORT, *small_flags(name), "--output_dir", folder,
                    *more, cwd=folder.parent)
        assert done.returncode == 0, done.stderr
        return done.stdout
    return run_to_end


@pytest.fixture(scope="module")
def demo(finished, tmp_path_factory):
    """A run of a model's demo preset: `demo(name)` is its folder and what it said."""
    @functools.cache
    def of(name):
        folder = tmp_path_factory.mktemp("demo") / "run"
        return folder, finished(name, folder)
    return of


@pytest.mark.parametrize("name", DEMOS)
def test_the_demo_preset_trains(name, demo):
    folder, text = demo(name)
    losses = [row["loss"] for row in read_metrics(folder / "metrics.jsonl") if "loss" in row]
    assert np.isfinite(losses).all() and len(losses) == 4
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["model"] == name
    assert np.isfinite([row["psnr"] for row in summary["images"]]).all()
    assert read_metadata(folder.parent / summary["weights"])["model"] == name
    if name == "bsrn":
        assert Path(summary["weights"]).name == "bsrn_x234.h5"
        assert {row["scale"] for row in summary["images"]} == {2, 3, 4}
        for words in ("step 12, scale x", "sec/batch", " fps ", "Final PSNR: x4 ", "Final SSIM: "):
            assert words in text


# The other stack restores the same state bit for bit in test_steps.
@pytest.mark.stack("main")
def test_a_joint_run_that_is_killed_ends_as_one_that_is_not(demo, finished, small_flags, fork,
                                                            tmp_path):
    folder = tmp_path / "broken"
    broken = fork("-m", "models.bsrn.train", *SHORT, *small_flags("bsrn"), "--output_dir", folder,
                  cwd=tmp_path)
    while broken.poll() is None:
        if any(row["step"] >= 9 for row in read_metrics(folder / "metrics.jsonl")):
            broken.kill()
        time.sleep(0.01)
    assert broken.returncode == -signal.SIGKILL
    assert "resuming after step" in finished("bsrn", folder)
    ours, theirs = (read_arrays(run / "bsrn_x234_last.h5") for run in (demo("bsrn")[0], folder))
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
def test_luma_models_train_on_hdf5_patches(name, luma_files, finished):
    finished(name, luma_files / "out", "--dataset", "hdf5", "--scale", "2", "--data_dir",
             luma_files, "--train_steps", "150", "--val_every", "150", "--log_every", "30")
    losses = [row["loss"] for row in read_metrics(luma_files / "out" / "metrics.jsonl")
              if "loss" in row]
    assert losses[-1] < 0.9 * losses[0], losses
    assert models.load(luma_files / "out" / f"{name}_x2.h5", 2) is not None


def test_other_models_refuse_luma_patches(luma_files, call):
    result = call("models.edsr.train", *SHORT, "--dataset", "hdf5", "--data_dir", luma_files,
                  cwd=luma_files)
    assert result.returncode == 2 and "luma patches, but this model works on RGB" in result.stderr
