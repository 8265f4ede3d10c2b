import h5py
import numpy as np
import pytest

import models
from common import weights
from common.hdf5 import CHECKSUM
from common.nn.keras_compat import keras, set_seed
from scripts import compact_weights


@pytest.fixture
def saved(tmp_path):
    set_seed(0)
    model = models.create("bsrn", (2, 3), **models.model("bsrn").small)
    weights.save(model, tmp_path / "in.h5")
    return tmp_path / "in.h5"


def test_the_file_is_smaller_and_opens_as_before(saved, tmp_path, capsys):
    compact_weights.main([str(saved), str(tmp_path / "out.h5")])
    assert "differs by at most 0.0" in capsys.readouterr().out
    assert weights.read_metadata(tmp_path / "out.h5") == weights.read_metadata(saved)
    before, after = weights.read_arrays(saved), weights.read_arrays(tmp_path / "out.h5")
    assert list(before) == list(after)
    for name in before:
        for a, b in zip(before[name], after[name]):
            np.testing.assert_allclose(a, b, rtol=2**-11, atol=2**-24)
    assert (tmp_path / "out.h5").stat().st_size < 0.7 * saved.stat().st_size
    again = models.another(models.load(saved))
    keras.Model.load_weights(again, str(tmp_path / "out.h5"))  # by Keras's own reader
    for a, b in zip(again.get_weights(), models.load(tmp_path / "out.h5").get_weights()):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("value, said", [(70000.0, "values beyond 16 bits"),
                                         (4000.7, "16-bit weights change the output")])
def test_what_16_bits_cannot_hold_is_refused_and_nothing_written(saved, tmp_path, call, value,
                                                                 said):
    with h5py.File(saved, "r+") as file:
        datasets = []
        file.visititems(lambda name, item: datasets.append(item)
                        if isinstance(item, h5py.Dataset) and item.ndim == 4 else None)
        datasets[0][...] = value
        del file.attrs[CHECKSUM]
    done = call("scripts.compact_weights", saved, "out.h5", cwd=tmp_path)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.h5"]
