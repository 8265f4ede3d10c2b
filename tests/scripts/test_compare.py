import re

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

import models
from common import weights
from common.cli import UserError
from common.nn.keras_compat import set_seed
from scripts import compare


@pytest.fixture
def saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed, scale in enumerate((2, 2, 4)):
        set_seed(seed)
        weights.save(models.create("edsr", scale, **models.model("edsr").small), f"{seed}.h5")
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(noise).resize((32, 24), Image.BICUBIC).save("photo.png")


def test_psnr_is_to_the_last_and_all_are_shown_at_full_size(saved, tmp_path):
    compare.main(["photo.png", "-o", "out", "--weights", "0.h5", "1.h5"])
    text = (tmp_path / "out" / "photos.md").read_text()
    sheet = np.asarray(Image.open(tmp_path / "out" / "photos" / "photo.png"))
    assert sheet.shape == (24 + 48, 3 * 64, 3) and "](photos/photo.png)" in text
    bicubic, first, last = (sheet[24:, 64 * i:64 * (i + 1)] for i in range(3))
    assert bicubic.std() > 20 and (first != last).mean() > 0.5
    row = re.search(r"^\| photo \| 32x24 \| ([\d.]+) \| ([\d.]+) \| [\d.]+ \| [\d.]+ \|$", text,
                    re.MULTILINE)
    for told, image in zip(row.groups(), (bicubic, first)):
        assert float(told) == pytest.approx(peak_signal_noise_ratio(last, image), abs=0.0051)


def test_weights_of_several_scales_cannot_be_compared(saved):
    with pytest.raises(UserError, match="one scale are compared, these are 0.h5 x2, 2.h5 x4"):
        compare.main(["photo.png", "-o", "out", "--weights", "0.h5", "2.h5"])
