"""What the options of a training make of the files of a set."""

import collections
import os
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest
from PIL import Image

from common.bicubic import downscale
from common.cli import UserError
from common.data.degradation import degrade
from common.data.prepare import Preparation
from common.flags import parse
from common.images.files import read_size
from common.nn.keras_compat import keras
from common.nn.layers import BicubicUpscale
from common.training.material import find_material
from common.training.options import TrainOptions


def options(folder, **values):
    known = TrainOptions(data_dir=str(folder), patch_size=8, batch_size=4, scale=2)
    return replace(known, **values)


def bicubic(*scales):
    inputs = keras.Input((None, None, 3))
    outputs = {f"x{scale}": BicubicUpscale(scale)(inputs) for scale in scales}
    return keras.Model(inputs, outputs if len(scales) > 1 else outputs[f"x{scales[0]}"])


@pytest.fixture
def coco(tmp_path, photo):
    """A folder of ten small photographs of several sizes."""
    folder = tmp_path / "coco"
    folder.mkdir()
    for i in range(10):
        Image.fromarray(photo(100 + 3 * i, 140)[:, 5 * i:]).save(folder / f"{i:012}.png")
    return folder


def test_coco_from_options_to_patches(coco, tmp_path):
    chosen = options(coco, dataset="coco", resize=64, number_of_images=8, train_test_ratio=0.75,
                     seed=2, augment=False)
    cache = tmp_path / "cache"
    material = find_material(chosen, cache)
    assert (material.name, material.images, material.val_images) == ("coco", 6, 2)
    assert not cache.exists()
    lr, hr = material.sampler().batch(0)
    for left, right in zip(lr, hr):
        assert np.array_equal(downscale(right, 2)[4:-4, 4:-4], left[4:-4, 4:-4])
    validation = material.validation(bicubic(2))
    assert [image.shape for image in validation.stores[2].hr] == [(64, 64, 3)] * 2
    made = {path: path.stat().st_mtime_ns for path in cache.rglob("*.png")}
    assert len(made) == 16  # of each image its square and its LR image

    again = find_material(chosen, cache)
    again.sampler(), again.validation(bicubic(2))
    assert again.fingerprint == material.fingerprint
    assert made == {path: path.stat().st_mtime_ns for path in cache.rglob("*.png")}
    assert np.array_equal(again.sampler().batch(5)[0], material.sampler().batch(5)[0])
    changed = coco / f"{validation.names[0]}.png"
    Image.new("RGB", (80, 80), (200, 100, 50)).save(changed)
    os.utime(str(changed), ns=(1, 1))
    assert (find_material(chosen, cache).validation(bicubic(2)).stores[2].hr[0] ==
            (200, 100, 50)).all()
    assert len(list(cache.rglob("*.png"))) == 18

    for field, value in (("seed", 3), ("number_of_images", 7), ("resize", 32)):
        other = find_material(replace(chosen, **{field: value}), cache)
        assert other.fingerprint != material.fingerprint


def test_a_degradation_reaches_training_and_validation(coco, tmp_path):
    way = dict(blur=1.0, reduction="area", noise=4.0, jpeg=70)
    plain, worse = (find_material(options(coco, dataset="folder", **values), tmp_path / "cache")
                    for values in ({}, way))
    assert plain.fingerprint == worse.fingerprint  # the options themselves are compared
    for material, expected in ((plain, Preparation()), (worse, Preparation(**way))):
        store = material.validation(bicubic(2)).stores[2]
        assert np.array_equal(store.lr[0], expected.lr(store.hr[0], 2))
    lr, hr = worse.sampler().batch(0)
    assert not np.array_equal(lr, plain.sampler().batch(0)[0])
    assert np.array_equal(hr, plain.sampler().batch(0)[1])
    good, bad = (material.validation(bicubic(2)).bicubic(2)[0][0] for material in (plain, worse))
    assert bad < good - 1


def test_photos_are_degraded_in_training_and_once_for_validation(coco, tmp_path, caplog):
    chosen = options(coco, dataset="folder", degradation="photo", seed=3, augment=False)
    with caplog.at_level("INFO"):
        material = find_material(chosen, tmp_path / "cache")
    assert "validating on LR images degraded once, from --seed 3 and their names" in caplog.text
    sampler, validation = material.sampler(), material.validation(bicubic(2))
    store = validation.stores[2]
    assert np.array_equal(store.lr[0], degrade(store.hr[0], 2, 3, validation.names[0]))
    assert len(list((tmp_path / "cache").rglob("*.png"))) == 1  # none for training
    plain = find_material(replace(chosen, degradation="none"), tmp_path / "cache").sampler()
    assert np.array_equal(plain.batch(0)[1], sampler.batch(0)[1])
    assert not np.array_equal(plain.batch(0)[0], sampler.batch(0)[0])
    with pytest.raises(UserError, match="leave out --jpeg"):
        find_material(replace(chosen, jpeg=50), tmp_path)


def test_lr_images_of_a_set_itself_are_not_degraded(coco, tmp_path, caplog):
    for name in ("HR", "LR"):
        (tmp_path / "pairs" / name).mkdir(parents=True)
        for path in sorted(coco.iterdir())[:2]:
            image = np.array(Image.open(path))
            Image.fromarray(image if name == "HR" else downscale(image, 2)).save(
                tmp_path / "pairs" / name / path.name)
    chosen = options(coco, dataset="folder", degradation="photo", val_dir=tmp_path / "pairs")
    with caplog.at_level("INFO"):
        material = find_material(chosen, tmp_path / "cache")
    assert "has its own LR images, which are used without --degradation" in caplog.text
    assert "degraded once" not in caplog.text
    store = material.validation(bicubic(2)).stores[2]
    assert np.array_equal(store.lr[1], downscale(store.hr[1], 2))
    with pytest.raises(UserError, match="--degradation needs generated LR images"):
        find_material(replace(chosen, data_dir=str(tmp_path / "pairs"), dataset="paired"), tmp_path)


def test_a_joint_model_has_one_split(coco, tmp_path):
    chosen = options(coco, dataset="coco", scale=(2, 3, 4), resize=72, train_test_ratio=0.6)
    stores = find_material(chosen, tmp_path / "cache").validation(bicubic(2, 3, 4)).stores
    kept = [[pair.name for pair in store.pairs] for store in stores.values()]
    assert len(kept[0]) == 4 and kept[0] == kept[1] == kept[2]
    assert [store.lr[0].shape for store in stores.values()] == [(36, 36, 3), (24, 24, 3),
                                                               (18, 18, 3)]


@pytest.mark.parametrize("has_lr", [False, True])
@pytest.mark.parametrize("scales", [(2,), (2, 3, 4)])
def test_a_start_reads_each_header_once(coco, tmp_path, monkeypatch, scales, has_lr):
    folder = tmp_path / "pairs"
    hr = [folder / "HR" / path.name for path in coco.iterdir()]
    folder.mkdir()
    coco.rename(folder / "HR")
    for scale in scales if has_lr else ():
        (folder / f"LR_x{scale}").mkdir()
        for path in hr:
            Image.fromarray(downscale(np.array(Image.open(path)), scale)).save(
                folder / f"LR_x{scale}" / path.name)
    counts = collections.Counter()

    def counted(path):
        counts[path] += 1
        return read_size(path)

    for name, module in list(sys.modules.items()):
        if name.startswith("common.") and getattr(module, "read_size", None) is read_size:
            monkeypatch.setattr(module, "read_size", counted)
    chosen = options(folder if has_lr else folder / "HR",
                     scale=scales if len(scales) > 1 else scales[0])
    for start in range(2):
        material = find_material(chosen, tmp_path / "cache")
        material.sampler(), material.validation(bicubic(*scales))
        assert set(counts.values()) == {1} and set(hr) <= set(counts)
        # A first start has no generated LR images yet.
        assert len(counts) == len(hr) * (1 + len(scales) * (has_lr or start))
        counts.clear()


def test_folders_named_one_by_one(coco, tmp_path):
    (tmp_path / "lq").mkdir()
    for path in coco.iterdir():
        image = np.array(Image.open(path))
        Image.fromarray(downscale(image, 2)).save(tmp_path / "lq" / path.name)
    chosen = options(None, data_dir=None, gt_folder=str(coco), lq_folder=str(tmp_path / "lq"))
    material = find_material(chosen, tmp_path / "cache")
    assert (material.name, material.images, material.val_images) == ("paired", 9, 1)
    material.sampler().batch(0)
    assert not (tmp_path / "cache").exists()
    with pytest.raises(UserError, match="leave out --data_dir, --val_dir and any --dataset"):
        find_material(replace(chosen, data_dir=str(coco)), tmp_path)
    with pytest.raises(UserError, match="--blur needs generated LR images"):
        find_material(replace(chosen, blur=1.0), tmp_path)


def test_patches_of_hdf5_are_cut_already(tmp_path):
    with h5py.File(tmp_path / "91-image_x2.h5", "w") as file:
        file["lr"] = file["hr"] = np.zeros((1, 8, 8), np.float32)
    for values in ({"resize": 16}, {"number_of_images": 1}, {"jpeg": 50},
                   {"degradation": "photo"}):
        with pytest.raises(UserError, match="hdf5 holds patches that are already cut"):
            find_material(options(tmp_path, dataset="hdf5", **values), tmp_path)


def test_the_flags(tmp_path):
    read = parse(TrainOptions, ["--number_of_images", "8000", "--train_test_ratio", "0.8",
                                "--resize", "384", "--blur", "1.5", "--reduction", "nearest",
                                "--noise", "2", "--jpeg", "80"], prog="train")
    assert (read.number_of_images, read.train_test_ratio, read.resize) == (8000, 0.8, 384)
    assert (read.blur, read.reduction, read.noise, read.jpeg) == (1.5, "nearest", 2.0, 80)
    for flag, value in (("train_test_ratio", "1"), ("train_test_ratio", "0"), ("blur", "-1"),
                        ("reduction", "lanczos"), ("number_of_images", "-3"), ("jpeg", "9.5")):
        with pytest.raises(UserError, match=f"--{flag}: "):
            parse(TrainOptions, [f"--{flag}={value}"], prog="train")
    with pytest.raises(UserError, match="--jpeg 101: choose from 0"):
        find_material(options(tmp_path, jpeg=101), tmp_path)
