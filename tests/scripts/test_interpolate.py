"""`scripts.interpolate`, and `--interpolate` of the commands that run a network."""

import h5py
import numpy as np
import pytest

import models
from common import weights
from common.cli import UserError
from common.hdf5 import CHECKSUM
from common.images.files import read_rgb, write_image
from common.nn.keras_compat import set_seed
from scripts import interpolate, upscale

SMALL = {"num_blocks": 1, "num_filters": 4}


def random_file(path, seed, name="edsr", scale=2, **options):
    """A weight file in which every array is random, moving averages included."""
    set_seed(seed)
    model = models.create(name, scale, **{**SMALL, **options})
    rng = np.random.default_rng(seed)
    model.set_weights([w + rng.uniform(0, 0.05, w.shape) for w in model.get_weights()])
    weights.save(model, path)
    return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two files of an SRResNet, which has batch normalisations."""
    folder = tmp_path_factory.mktemp("weights")
    return [random_file(folder / f"{name}.h5", i, "srgan") for i, name in enumerate("ab")]


@pytest.mark.parametrize("alpha", [0, 1, 0.5, 0.3])
def test_every_array_lies_between(files, alpha, tmp_path):
    out = tmp_path / "new" / "out.h5"
    interpolate.main([*files, "--alpha", str(alpha), str(out)])
    a, b, between = map(weights.read_arrays, (*files, out))
    assert set(a) == set(between) and "block0_bn1" in a
    for name, arrays in between.items():
        for x, y, z in zip(a[name], b[name], arrays):
            assert z.dtype == x.dtype
            if alpha in (0, 1):
                np.testing.assert_array_equal(z, y if alpha else x)
            else:
                np.testing.assert_allclose(z, x + alpha * (y - x), rtol=1e-5, atol=1e-7)
    moved = models.load(out)
    assert moved.zoo_metadata == models.load(files[0]).zoo_metadata
    np.testing.assert_array_equal(moved.get_layer("tail").get_weights()[0], between["tail"][0])


def test_the_command(files, tmp_path, call):
    done = call(interpolate.main, *files, "--alpha", 0.25, "out.h5", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"out.h5: 0.75 of {files[0]} and 0.25 of {files[1]}\n"
    done = call(interpolate.main, *files, "--alpha", -1, "out.h5", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("error: alpha must be between 0 (")


@pytest.mark.parametrize("other, difference", [
    ({"num_blocks": 2}, "num_blocks 1 and 2"),
    ({"scale": 4}, "scale 2 and 4"),
    ({"variant": "keras"}, "variant srresnet and keras"),
    ({"name": "edsr"}, "model srgan and edsr"),
])
def test_another_network_is_refused_with_the_difference(files, other, difference, tmp_path):
    second = random_file(tmp_path / "c.h5", 2, **{"name": "srgan", **other})
    with pytest.raises(UserError, match=f"cannot be interpolated: {difference}"):
        weights.interpolate(files[0], second, 0.5, tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()


def test_arrays_of_other_shapes_are_refused_whatever_the_file_says(tmp_path):
    paths = [random_file(tmp_path / f"{n}.h5", 0, num_filters=n) for n in (4, 5)]
    with h5py.File(paths[0], "r") as first, h5py.File(paths[1], "r+") as second:
        second.attrs[weights.METADATA] = first.attrs[weights.METADATA]
        del second.attrs[CHECKSUM]
    with pytest.raises(UserError, match="their layers block0_conv1 differ"):
        weights.interpolated(*paths, 0.5)


def test_targets_that_cannot_be_are_refused(files, tmp_path):
    for path in files:
        with pytest.raises(UserError, match="is one of the two"):
            weights.interpolate(*files, 0.5, path)
    with pytest.raises(UserError, match="out.keras: the suffix must be .h5"):
        weights.interpolate(*files, 0.5, tmp_path / "out.keras")
    with pytest.raises(UserError, match="no such file"):
        weights.interpolate(files[0], tmp_path / "absent.h5", 0.5, tmp_path / "out.h5")
    for alpha in (-0.1, 1.5, float("nan")):
        with pytest.raises(UserError, match="alpha must be between"):
            weights.interpolate(*files, alpha, tmp_path / "out.h5")


def test_upscale_runs_between_two_files(files, photo, tmp_path):
    write_image(tmp_path / "in.png", photo(20, 30))
    weights.interpolate(*files, 0.5, tmp_path / "half.h5")
    answers = {}
    for name, options in (("a", [files[0]]), ("half", [str(tmp_path / "half.h5")]),
                          ("between", [files[0], "--interpolate", "0.5", "--to_weights", files[1]]),
                          ("b", [files[0], "--interpolate", "1", "--to_weights", files[1]]),
                          ("other", [files[1]])):
        upscale.main([str(tmp_path / "in.png"), "-o", str(tmp_path / f"{name}.png"), "--chip",
                      "cpu", "--weights", *options])
        answers[name] = read_rgb(tmp_path / f"{name}.png")
    np.testing.assert_array_equal(answers["between"], answers["half"])
    np.testing.assert_array_equal(answers["b"], answers["other"])
    assert (answers["between"] != answers["a"]).any() and (answers["a"] != answers["b"]).any()


@pytest.mark.parametrize("options, message", [
    (["--interpolate", "0.5"], "--interpolate also needs --to_weights"),
    (["--to_weights", "b.h5"], "--to_weights also needs --interpolate"),
    (["--interpolate", "2", "--to_weights", "b.h5"], "alpha must be between .* got 2"),
])
def test_half_a_wish_is_refused(options, message, files, photo, tmp_path):
    write_image(tmp_path / "in.png", photo(8, 8))
    with pytest.raises(UserError, match=message):
        upscale.main([str(tmp_path / "in.png"), "-o", str(tmp_path / "out.png"), "--chip", "cpu",
                      "--weights", files[0], *options])
    assert not (tmp_path / "out.png").exists()


def test_evaluate_scores_what_lies_between(photo, tmp_path):
    from scripts import evaluate

    paths = [random_file(tmp_path / f"{seed}.h5", seed) for seed in (0, 1)]
    weights.interpolate(*paths, 0.5, tmp_path / "half.h5")
    write_image(tmp_path / "hr" / "cat.png", photo(40, 40))
    for name, options in (("file", [str(tmp_path / "half.h5")]),
                          ("memory", [paths[0], "--interpolate", "0.5", "--to_weights", paths[1]])):
        evaluate.main(["--dataset", "folder", "--data_dir", str(tmp_path / "hr"), "--chip", "cpu",
                       "--save_images", str(tmp_path / name), "--weights", *options])
    file, memory = (read_rgb(next((tmp_path / name).glob("*.png"))) for name in ("file", "memory"))
    np.testing.assert_array_equal(memory, file)
    assert 0 < memory.mean() < 255
