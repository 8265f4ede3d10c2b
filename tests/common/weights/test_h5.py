import json
import time

import h5py
import numpy as np
import pytest

import models
from common import weights
from common.cli import UserError
from common.hdf5 import CHECKSUM
from common.nn.keras_compat import policy_scope, set_seed
from common.weights.compact import compact

SMALL = models.model("edsr").small


def test_x4_starts_from_every_layer_of_x2_that_fits(tmp_path):
    set_seed(0)
    x2, x4 = (models.create("edsr", scale, **SMALL) for scale in (2, 4))
    before = x4.get_layer("upsample1_conv").get_weights()[0]
    weights.save(x2, tmp_path / "x2.h5")
    report = weights.load_into(x4, tmp_path / "x2.h5", partial=True)
    assert report.left_out == ["upsample1_conv"] and len(report.loaded) == 8
    for name in report.loaded:
        for a, b in zip(x2.get_layer(name).get_weights(), x4.get_layer(name).get_weights()):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(x4.get_layer("upsample1_conv").get_weights()[0], before)


def test_weights_that_do_not_fit_change_nothing(tmp_path):
    small, large = models.create("edsr", 2, **SMALL), models.create("edsr", 2, num_blocks=3,
                                                                    num_filters=8)
    weights.save(small, tmp_path / "small.h5")
    before = large.get_weights()
    with pytest.raises(UserError, match="block2_conv1"):
        weights.load_into(large, tmp_path / "small.h5")
    for a, b in zip(before, large.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_a_mixed_precision_model_is_written_as_float32(tmp_path):
    with policy_scope("mixed_float16"):
        model = models.create("edsr", 2, **SMALL)
    assert model.get_layer("body").compute_dtype == "float16"
    weights.save(model, tmp_path / "w.h5")
    loaded = models.load(tmp_path / "w.h5")
    assert loaded.get_layer("body").compute_dtype == "float32"
    for a, b in zip(model.get_weights(), loaded.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_an_interrupted_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "w.h5"
    weights.save(models.create("edsr", 2, **SMALL), path)
    before = path.read_bytes()

    def broken(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", broken)
    with pytest.raises(KeyboardInterrupt):
        weights.save(models.create("edsr", 2, **SMALL), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["w.h5"]


def test_metadata_says_what_the_file_holds(tmp_path):
    weights.save(models.create("edsr", 3, **SMALL), tmp_path / "w.h5")
    assert weights.read_metadata(tmp_path / "w.h5") == {
        "model": "edsr", "scale": 3,
        "options": {"num_blocks": 2, "num_filters": 8, "res_scale": 0.5}}


def test_other_files_are_named_for_what_they_are(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        weights.read_metadata(tmp_path / "missing.h5")
    (tmp_path / "text.h5").write_text("not weights")
    with pytest.raises(UserError, match="not an HDF5"):
        weights.read_metadata(tmp_path / "text.h5")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(UserError, match="not a weight file of this zoo"):
        weights.read_metadata(tmp_path / "foreign.h5")
    weights.save(models.create("edsr", 2, **SMALL), tmp_path / "w.h5")
    (tmp_path / "cut.h5").write_bytes((tmp_path / "w.h5").read_bytes()[:5000])
    with pytest.raises(UserError, match="cut off"):
        models.load(tmp_path / "cut.h5")


def test_only_zoo_models_and_only_h5(tmp_path):
    model = models.create("edsr", 2, **SMALL)
    with pytest.raises(UserError, match=r"\.h5"):
        weights.save(model, tmp_path / "w.keras")
    assert json.loads(model.zoo_metadata)["model"] == "edsr"
    model.zoo_metadata = None
    with pytest.raises(UserError, match="models.create"):
        weights.save(model, tmp_path / "w.h5")


@pytest.mark.parametrize("model, options", [
    ("edsr", {"num_filters": 10**12}), ("edsr", {"num_filters": 6000}),
    ("edsr", {"num_blocks": 10**9}), ("edsr", {"num_filters": -4}),
    ("srcnn", {"kernels": [2001, 5, 5]}),
    ("bsrn", {"num_recursions": 10**9})])
def test_a_network_larger_than_its_arrays_is_not_built(model, options, tmp_path):
    path, built = tmp_path / "w.h5", models.create(model, 2, **models.model(model).small)
    weights.save(built, path)
    with h5py.File(path, "r+") as file:
        metadata = json.loads(file.attrs["sr_zoo"])
        metadata["options"].update(options)
        file.attrs["sr_zoo"] = json.dumps(metadata)
        # Numbers of no layer, which cost the file nothing.
        file.create_dataset("extra", shape=(10**8,), dtype="u1", chunks=(10**6,))
    begin = time.monotonic()
    with pytest.raises(UserError, match="w.h5 is damaged|num_recursions must be 1 to 256"):
        models.load(path)
    assert time.monotonic() - begin < 8


def test_a_small_network_may_have_many_recursions(tmp_path):
    small = {"num_features": 4, "num_states": 4, "num_recursions": 65}
    weights.save(models.create("bsrn", 2, **small), tmp_path / "w.h5")
    metadata = json.loads(models.load(tmp_path / "w.h5").zoo_metadata)
    assert metadata["options"]["num_recursions"] == 65


@pytest.mark.parametrize("change", ["weight", "description", "name"])
def test_a_file_that_was_changed_is_not_read(change, tmp_path):
    path = tmp_path / "w.h5"
    weights.save(models.create("edsr", 2, **SMALL), path)
    with h5py.File(path, "r+") as file:
        layers = file["model_weights"]
        if change == "weight":
            bias = layers["head"][layers["head"].attrs["weight_names"][1]]
            bias[0] += 0.001
        elif change == "description":
            file.attrs["sr_zoo"] = file.attrs["sr_zoo"].replace("edsr", "vdsr")
        else:
            layers.move("body", "bodY")
    with pytest.raises(UserError, match="w.h5 is damaged.* does not match its checksum"):
        weights.read_arrays(path)


def test_a_copy_with_other_storage_has_a_checksum_of_its_own(tmp_path):
    path, half, mean = (tmp_path / f"{name}.h5" for name in ("whole", "half", "mean"))
    weights.save(models.create("edsr", 2, **SMALL), path)
    compact(path, half)
    weights.interpolate(path, path, 0.5, mean)
    with h5py.File(path) as a, h5py.File(half) as b, h5py.File(mean) as c:
        assert a.attrs[CHECKSUM] != b.attrs[CHECKSUM] and a.attrs[CHECKSUM] == c.attrs[CHECKSUM]
    assert weights.read_arrays(half).keys() == weights.read_arrays(mean).keys()
