"""`.h5` files written before the redesign open after it, with the same output.

`files/written_by_19c5476.zip` holds one small model of each kind, written by that commit on
TensorFlow 2.21, and what each made of one 12x15 image there (`outputs.npz`).
"""

import zipfile
from pathlib import Path

import numpy as np
import pytest

import models
from common.nn.keras_compat import IS_KERAS_3, keras

ARCHIVE = Path(__file__).with_name("files") / "written_by_19c5476.zip"


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """The unpacked folder."""
    folder = tmp_path_factory.mktemp("old")
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(folder)
    return folder


def test_every_model_has_an_old_file(old):
    assert {path.stem for path in old.glob("*.h5")} == set(models.available())


@pytest.mark.parametrize("name", models.available())
def test_an_old_file_opens_with_the_same_output(old, name):
    expected = np.load(old / "outputs.npz")
    opened = [models.load(old / f"{name}.h5")]
    if IS_KERAS_3:  # stock Keras reads what its own version wrote
        opened.append(keras.models.load_model(str(old / f"{name}.h5"), compile=False))
    for model in opened:
        sr = model(expected["lr"], training=False)
        sr = sr if isinstance(sr, dict) else {next(key for key in expected.files
                                                   if key.startswith(name))[len(name) + 1:]: sr}
        for key, image in sr.items():
            np.testing.assert_allclose(np.asarray(image), expected[f"{name}_{key}"], atol=2e-3)
