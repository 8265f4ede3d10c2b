import json

import numpy as np
import pytest

import models
from common import bicubic
from common.cli import UserError
from common.nn.keras_compat import IS_KERAS_3, keras
from scripts.convert_weights import convert

Conv2D = keras.layers.Conv2D


def stock_srcnn(kernels=(9, 1, 5), filters=(64, 32), channels=1):
    """An SRCNN as people write it in Keras; the layers' names are not in their order."""
    return keras.Sequential([
        keras.Input((None, None, channels)),
        Conv2D(filters[0], kernels[0], activation="relu", name="z_first",
               bias_initializer="random_normal"),
        Conv2D(filters[1], kernels[1], activation="relu", name="middle",
               bias_initializer="random_normal"),
        Conv2D(channels, kernels[2], name="a_last",
               bias_initializer="random_normal")])


def save_weights(model, folder):
    path = folder / ("srcnn.weights.h5" if IS_KERAS_3 else "srcnn.h5")
    model.save_weights(str(path))
    return path


def save_model(model, folder):
    model.save(str(folder / "srcnn.h5"))
    return folder / "srcnn.h5"


@pytest.mark.parametrize("save", [save_model, save_weights])
@pytest.mark.parametrize("kernels, filters", [((9, 1, 5), (64, 32)), ((9, 5, 5), (12, 7))])
def test_a_keras_srcnn_gives_the_same_luma(kernels, filters, save, tmp_path):
    stock = stock_srcnn(kernels, filters)
    convert("srcnn", save(stock, tmp_path), tmp_path / "srcnn_x3.h5", 3)
    model = models.load(tmp_path / "srcnn_x3.h5")
    assert json.loads(model.zoo_metadata) == {
        "model": "srcnn", "scale": 3,
        "options": {"kernels": list(kernels), "num_filters": list(filters)}}
    grey = np.random.RandomState(0).randint(0, 256, (14, 11)).astype("float64")
    luma = bicubic.upscale(16 + grey * 219 / 255, 3)
    luma = np.pad(luma, sum(side // 2 for side in kernels), mode="edge")
    expected = stock(luma[None, ..., None].astype("float32") / 255).numpy() * 255
    rgb = np.repeat(grey[None, ..., None], 3, -1).astype("float32")
    sr = model(rgb).numpy()
    np.testing.assert_allclose(16 + sr * 219 / 255, np.repeat(expected, 3, -1), atol=2e-3)


def test_other_keras_models_are_refused(tmp_path, shared):
    out = tmp_path / "out.h5"
    with pytest.raises(UserError, match="not of srcnn: it has 20 convolutions"):
        convert("srcnn", shared / "weights" / "srdrm" / "srdrm_x2_model_20.h5", out, 2)
    with pytest.raises(UserError, match="do not lead from luma to luma"):
        convert("srcnn", save_model(stock_srcnn(channels=3), tmp_path), out, 2)
    with pytest.raises(UserError, match="give it with --scale"):
        convert("srcnn", save_model(stock_srcnn(), tmp_path), out)
    assert not out.exists()
