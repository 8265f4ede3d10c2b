"""Luma patches and images in HDF5 files."""

import h5py
import numpy as np
import pytest

from common.cli import UserError
from common.data.luma_patches import LumaPatches, find_luma_files, read_luma_images

RNG = np.random.RandomState(3)
LR, HR = (RNG.rand(10, 6, 6).astype(np.float32) for _ in range(2))


def write(path, **content):
    with h5py.File(str(path), "w") as file:
        for key, value in content.items():
            file[key] = value
    return path


@pytest.mark.parametrize("white", [1, 255])
def test_batches_are_the_patches_in_a_random_order(tmp_path, white):
    path = write(tmp_path / "91-image_x3.h5", lr=LR * white, hr=HR * white)
    patches = LumaPatches(path, 4, seed=5, scale=3)
    assert (len(patches), patches.patch_size, patches.batch_size) == (10, 6, 4)
    assert patches.scale_of(0) == 3
    drawn = []
    for step in range(5):  # two epochs
        lr, hr = patches.batch(step)
        assert lr.dtype == hr.dtype == np.float32 and lr.shape == hr.shape == (4, 6, 6, 1)
        for a, b in zip(lr[..., 0], hr[..., 0]):
            (i,) = np.flatnonzero(np.abs(LR * 255 - a).max((1, 2)) < 1e-4)
            np.testing.assert_allclose(b, HR[i] * 255, atol=1e-4)
            drawn.append(i)
    assert sorted(drawn[:10]) == sorted(drawn[10:]) == list(range(10))
    assert drawn[:10] != drawn[10:] and drawn[:10] != list(range(10))
    again = LumaPatches(path, 4, seed=5, scale=3)
    assert np.array_equal(again.batch(3)[0], patches.batch(3)[0])  # of the step alone
    other = LumaPatches(path, 4, seed=6, scale=3)
    assert not np.array_equal(other.batch(0)[0], patches.batch(0)[0])


@pytest.mark.parametrize("white", [1, 255])
def test_images_by_name_and_in_order(tmp_path, white):
    images = {str(i): RNG.rand(8 + i, 9) for i in range(12)}
    path = write(tmp_path / "Set5_x2.h5",
                 **{f"lr/{i}": image * white / 2 for i, image in images.items()},
                 **{f"hr/{i}": image * white for i, image in images.items()})
    found = read_luma_images(path)
    assert [name for name, _, _ in found] == [str(i) for i in range(12)]
    for name, lr, hr in found:
        np.testing.assert_allclose(hr, images[name], atol=1e-12)
        np.testing.assert_allclose(lr, images[name] / 2, atol=1e-12)


def test_files_are_found_by_scale_and_content(tmp_path):
    train = write(tmp_path / "91-image_x2.h5", lr=LR, hr=HR)
    with pytest.raises(UserError, match="no luma patches for x3.*91-image_x3.h5"):
        find_luma_files(tmp_path, 3)
    assert find_luma_files(tmp_path, 2) == (train, None)
    val = write(tmp_path / "Set5_x2.h5", **{"lr/0": LR[0], "hr/0": HR[0]})
    assert find_luma_files(tmp_path, 2) == (train, val)
    with pytest.raises(UserError, match="no such folder"):
        find_luma_files(tmp_path / "gone", 2)


def test_mistakes_are_named(tmp_path):
    path = tmp_path / "x.h5"
    with pytest.raises(UserError, match="no such file"):
        LumaPatches(path, 2, 0, 2)
    path.write_bytes(b"not HDF5 at all")
    for read in (lambda: LumaPatches(path, 2, 0, 2), lambda: read_luma_images(path)):
        with pytest.raises(UserError, match="x.h5 is not an HDF5 file"):
            read()
    for content, words in [
            ({"lr": LR}, "'hr' of patches is missing; the file holds lr"),
            ({"lr": LR, "hr": HR[:9]}, r"lr \(10, 6, 6\) and hr \(9, 6, 6\)"),
            ({"lr": LR[:, :3, :3], "hr": HR}, "already enlarged"),
            ({"lr": LR[:, :4], "hr": HR[:, :4]}, "square"),
            ({"lr": LR[0], "hr": HR[0]}, "square"),
            ({"lr": LR * 4000, "hr": HR * 4000}, "not luma in"),
            ({"lr": LR, "hr": HR * np.nan}, "not luma in"),
            ({"lr/0": LR[0], "hr/0": HR[0]}, "validation images")]:
        with pytest.raises(UserError, match=words):
            LumaPatches(write(path, **content), 2, 0, 2)
    for content, words in [
            ({"lr": LR, "hr": HR}, "training patches"),
            ({"lr/0": LR[0]}, "'hr' of images is missing"),
            ({"lr/0": LR[0], "hr/1": HR[0]}, "same images"),
            ({"lr/0": LR[0, :3], "hr/0": HR[0]}, r"lr/0 \(3, 6\) and hr/0 \(6, 6\)")]:
        with pytest.raises(UserError, match=words):
            read_luma_images(write(path, **content))
