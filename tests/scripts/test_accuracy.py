import re

import numpy as np
import pytest
from PIL import Image

from models.catalogue import CATALOGUE
from scripts import accuracy


@pytest.mark.stack("main")  # the stacks agree: tests/models/test_matrix.py
def test_every_bundled_weight_reaches_the_figure_that_the_catalogue_states(shared, tmp_path):
    accuracy.main(["--data_dir", str(shared / "data"), "-o", str(tmp_path)])
    text = (tmp_path / "accuracy.md").read_text()
    measured = {(name, int(scale)): float(psnr) for name, scale, psnr in re.findall(
        r"^\| ([\w-]+) \| \w* \| x(\d) \| ([\d.]+) ", text, re.M)}
    assert measured.pop(("bicubic", 2)) == pytest.approx(33.67, abs=0.005)
    stated = {(entry.name, scale): psnr for entry in CATALOGUE.values()
              if entry.kind == "bundled" for scale, psnr in entry.set5.items()}
    assert stated and {key: value for key, value in measured.items() if key[0] != "bicubic"
                       } == pytest.approx(stated, abs=0.005)
    sheet = np.asarray(Image.open(tmp_path / "accuracy" / "edsr.png"))
    left, bicubic, right = sheet[32:224, 8:200], sheet[32:224, 208:400], sheet[32:224, -200:-8]
    assert left.std() > 20 and (left[1::6, 1::6] == left[::6, ::6]).mean() > 0.99  # LR pixels
    assert 5 < np.abs(bicubic.astype(int) - right).mean() < 30  # the same part of the image
    assert "](accuracy/edsr.png)" in text and re.search(r"edsr-x2 \| .* \| 37\.99 \|", text)
