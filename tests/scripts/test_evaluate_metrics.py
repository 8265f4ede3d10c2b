"""`scripts.evaluate --metrics uiqm lpips niqe`, with a stand-in where pyiqa itself would be."""

import importlib.machinery
import importlib.util
import json
import sys
import types

import numpy as np
import pytest
from PIL import Image

from common import bicubic
from common.learned_metrics import open_metric
from common.metrics import psnr, uiqm
from scripts.evaluate import main

# The interface of pyiqa, create_metric(name, device=...)(sr[, hr]) -> tensor, and its checks of the
# images. The values tell which images came, and in which order.
PYIQA = '''
import os
import numpy as np
import torch

def create_metric(metric_name, as_loss=False, device=None, **options):
    assert device == "cpu", device
    if os.environ.get("OFFLINE"):
        raise OSError("no route to\\nthe weights")
    print("made", metric_name)

    def metric(target, ref=None):
        images = [np.asarray(image) for image in (target, ref) if image is not None]
        assert len(images) == {"lpips": 2, "niqe": 1}[metric_name]
        for image in images:
            assert image.dtype == np.float32 and image.ndim == 4 and image.shape[:2] == (1, 3)
            assert image.flags["C_CONTIGUOUS"] and 0 <= image.min() and 0.4 < image.max() <= 1
        if os.environ.get("FAIL"):
            raise RuntimeError("kernel size\\ntoo large")
        value = images[0][0, 0].mean() + 2 * images[0][0, 2, 0].mean() + images[0].shape[2]
        if len(images) == 2:
            value = value - 3 * images[1][0, 1].mean()
        return torch.from_numpy(np.asarray([value]))
    return metric
'''
TORCH = "def from_numpy(array): return array\n"


@pytest.fixture
def photos(tmp_path, photo):
    """A folder with a colour image of 121x141 and a grey one of 110x130 pixels."""
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(photo(121, 141)).save(folder / "colour.png")
    Image.fromarray(photo(110, 130)[..., 1]).save(folder / "grey.png")
    return folder


@pytest.fixture
def evaluate(call, tmp_path, photos):
    """Run the command on these images by bicubic x2; `env` is added to the environment."""
    def evaluate(*arguments, env=None):
        open_metric.cache_clear()
        return call(main, "--model", "bicubic", "--scale", 2, "--data_dir", photos, "--json",
                    "o.json", "--markdown", "o.md", *arguments, cwd=tmp_path, env=env)
    return evaluate


@pytest.fixture
def stand_in(monkeypatch):
    """The stand-in takes pyiqa's place, and one for PyTorch that of PyTorch where there is none."""
    for name, text in (("torch", TORCH), ("pyiqa", PYIQA)):
        if name == "pyiqa" or importlib.util.find_spec(name) is None:
            module = types.ModuleType(name)
            module.__spec__ = importlib.machinery.ModuleSpec(name, None)
            monkeypatch.setitem(sys.modules, name, module)
            exec(text, vars(module))


def images(photos):
    """[(sr, hr)] of the two photographs by bicubic x2, uint8."""
    pairs = []
    for name in ("colour", "grey"):
        hr = bicubic.crop_to_multiple(np.asarray(Image.open(photos / f"{name}.png")), 2)
        pairs.append((bicubic.upscale(bicubic.downscale(hr, 2), 2), hr))
    return pairs


def test_uiqm_in_all_outputs(evaluate, photos, tmp_path):
    done = evaluate("--metrics", "uiqm", "psnr", "uiqm", "--crop_border", 5, "--per_image")
    assert (done.returncode, done.stderr) == (0, "")
    pairs = images(photos)
    expected = [uiqm(sr, 5) for sr, _ in pairs]
    (row,) = json.loads((tmp_path / "o.json").read_text())["results"]
    assert [image["uiqm"] for image in row["per_image"]] == pytest.approx(expected, abs=1e-9)
    assert row["uiqm"] == pytest.approx(np.mean(expected), abs=1e-9) and "ssim" not in row
    shown = [f"{row['uiqm']:.3f}", f"{row['psnr']:.2f}"]
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["image", "UIQM", "PSNR"]
    assert lines[1] == ["colour", f"{expected[0]:.3f}", f"{psnr(*pairs[0], 5, 'y'):.2f}"]
    assert lines[-2][-2:] == ["UIQM", "PSNR"] and lines[-1][-2:] == shown
    assert (tmp_path / "o.md").read_text().splitlines()[2].strip("| ").split(" | ")[-2:] == shown


def test_lpips_and_niqe_reach_pyiqa(evaluate, stand_in, photos, tmp_path):
    done = evaluate("--metrics", "lpips", "niqe", "--crop_border", 3)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line for line in done.stdout.splitlines() if line.startswith("made")] == [
        "made lpips", "made niqe"]
    lpips, niqe = [], []
    for pair in images(photos):
        sr, hr = (np.dstack([image] * 3) if image.ndim == 2 else image for image in pair)
        sr, hr = (image[3:-3, 3:-3].astype(float) / 255 for image in (sr, hr))
        niqe.append(sr[..., 0].mean() + 2 * sr[0, :, 2].mean() + sr.shape[0])
        lpips.append(niqe[-1] - 3 * hr[..., 1].mean())
    (row,) = json.loads((tmp_path / "o.json").read_text())["results"]
    for name, expected in (("lpips", lpips), ("niqe", niqe)):
        assert [image[name] for image in row["per_image"]] == pytest.approx(expected, rel=1e-5)
        assert row[name] == pytest.approx(np.mean(expected), rel=1e-5)
    assert done.stdout.split()[-2:] == [f"{row['lpips']:.4f}", f"{row['niqe']:.3f}"]


def test_what_pyiqa_cannot_do_is_one_line(evaluate, stand_in, photos, tmp_path):
    """No route to the weights, a failure on an image, and an image too small for it."""
    for env, arguments, words in [
            ({"OFFLINE": "1"}, ["niqe"], "pyiqa cannot set up niqe: no route to the weights"),
            ({"FAIL": "1"}, ["lpips"], "colour.png: pyiqa's lpips failed: kernel size too large"),
            ({}, ["niqe", "--crop_border", "8"], "grey.png: 130x110 pixels minus a border of 8 "
                                                 "leave 114x94; at least 96x96 are needed")]:
        done = evaluate("--metrics", *arguments, env=env)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert done.stderr.startswith("error: ") and words in done.stderr
        assert not (tmp_path / "o.json").exists()


@pytest.mark.skipif(importlib.util.find_spec("pyiqa") is not None, reason="pyiqa is installed")
@pytest.mark.parametrize("name", ["lpips", "niqe"])
def test_without_pyiqa_one_line_says_what_to_install(evaluate, name, tmp_path):
    done = evaluate("--metrics", "psnr", name)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {name} needs pyiqa") and done.stderr.count("\n") == 1
    assert done.stderr.endswith(": pip install pyiqa\n")
    assert not (tmp_path / "o.json").exists()
