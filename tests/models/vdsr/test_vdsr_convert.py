import json

import numpy as np
import pytest
from scipy.io import savemat

import models
from common.cli import UserError
from common.data.sets import open_images
from common.inference.upscaler import Upscaler
from scripts.convert_weights import convert
from scripts.evaluate import evaluate


@pytest.fixture(scope="module")
def official(shared, tmp_path_factory):
    """The authors' weights, converted for all scales together."""
    path = tmp_path_factory.mktemp("vdsr") / "vdsr_x234.h5"
    model = convert("vdsr", shared / "weights" / "vdsr" / "VDSR_Official.mat", path)
    assert json.loads(model.zoo_metadata) == {
        "model": "vdsr", "scale": [2, 3, 4], "options": {"num_layers": 20, "num_filters": 64}}
    assert model.count_params() == 665921
    return path


# One network for all scales: one of them shows that the other stack computes it alike.
@pytest.mark.parametrize("scale, published", [
    pytest.param(2, 37.53, marks=pytest.mark.stack("main")), (3, 33.66),
    pytest.param(4, 31.35, marks=pytest.mark.stack("main"))])
def test_the_authors_weights_have_the_published_psnr_on_set5(official, shared, scale, published):
    upscale = Upscaler(models.load(official, scale))
    pairs = open_images("paired", shared / "data" / "Set5", scale)
    results = evaluate(upscale, pairs, scale, names=("psnr",))
    assert len(results) == 5
    assert np.mean([result["psnr"] for result in results]) == pytest.approx(published, abs=0.04)


def test_one_scale_has_the_same_arrays(official, shared, tmp_path):
    source = shared / "weights" / "vdsr" / "VDSR_Official.mat"
    single = convert("vdsr", source, tmp_path / "vdsr_x3.h5", scale=3)
    for ours, theirs in zip(single.get_weights(), models.load(official, 3).get_weights()):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("content, reason", [
    ({"net": np.ones(3)}, "expected model.weight"),
    ({"model": {"weight": [np.ones((5, 5, 1, 2)), np.ones((5, 5, 2))], "bias": [1.0, 2.0]}},
     r"model.weight.0 has shape \(5, 5, 1, 2\)"),
    ({"model": {"weight": [np.ones((3, 3, 1, 2)), np.ones((3, 3, 2, 2))],
                "bias": [np.ones(2), np.ones(2)]}}, "has 2 output channels"),
])
def test_another_matlab_file_is_refused(content, reason, tmp_path):
    if "model" in content:
        for field, items in content["model"].items():
            cell = np.empty((1, len(items)), object)
            cell[0] = items
            content["model"][field] = cell
    savemat(str(tmp_path / "other.mat"), content)
    with pytest.raises(UserError, match=f"not of vdsr: .*{reason}"):
        convert("vdsr", tmp_path / "other.mat", tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()
