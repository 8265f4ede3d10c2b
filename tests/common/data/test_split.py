import logging

import numpy as np
import pytest
from PIL import Image

from common.cli import UserError
from common.data.prepare import Preparation
from common.data.sets import open_dataset
from common.data.split import Choices, at_random, hold_out


def write(path, width=40, height=30):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (90, 120, 150)).save(path)


def names(pairs):
    return [pair.name for pair in pairs]


@pytest.fixture
def photos(tmp_path):
    """30 files: 00.png to 29.png."""
    for i in range(30):
        write(tmp_path / "photos" / f"{i:02}.png")
    return tmp_path / "photos"


def test_a_random_split_is_drawn_from_the_seed_alone():
    whole = list(range(100))
    for ratio, count in ((0.8, 80), (0.5, 50), (0.999, 99), (0.001, 1)):
        train, val = at_random(whole, ratio, 7)
        assert len(train) == count and sorted(train + val) == whole
        assert train == sorted(train) and val == sorted(val)
        assert at_random(whole, ratio, 7) == (train, val) != at_random(whole, ratio, 8)
    # On every version of NumPy:
    assert at_random(list(range(20)), 0.8, 0)[1] == [0, 9, 11, 12]
    assert at_random(["one"], 0.8, 0) == (["one"], ["one"]) == hold_out(["one"])
    kept = np.concatenate([at_random(list(range(10)), 0.8, seed)[1] for seed in range(500)])
    assert np.bincount(kept).min() > 60  # each a fifth of the times


def test_number_and_ratio_of_a_folder(photos):
    everything = [f"{i:02}" for i in range(30)]
    splits = open_dataset("folder", photos, 2, choices=Choices(10, 0.7, seed=3))
    assert len(splits.train) == 7 and len(splits.val) == 3
    assert sorted(names(splits.train) + names(splits.val)) == everything[:10]
    assert names(open_dataset("auto", photos, 3, choices=Choices(10, 0.7, seed=3)).val) == names(
        splits.val)
    assert open_dataset("folder", photos, 2, choices=Choices(10, 0.7, seed=4)) != splits
    last = open_dataset("folder", photos, 2, choices=Choices(20))
    assert names(last.train) == everything[:18] and names(last.val) == everything[18:20]


def test_more_images_than_there_are_is_said(photos, caplog):
    with caplog.at_level(logging.INFO, "sr_zoo"):
        splits = open_dataset("folder", photos, 2, choices=Choices(8000, 0.8))
    assert (len(splits.train), len(splits.val)) == (24, 6)
    assert f"--number_of_images 8000: {photos} has only 30, all are used" in caplog.text


def test_a_ratio_takes_the_place_of_a_sets_own_split(tmp_path, photos):
    folder = tmp_path / "split"
    for i in range(10):
        write(folder / "train" / f"{i}.png")
    write(folder / "val" / "own.png")
    own = open_dataset("folder", folder, 2, choices=Choices(number_of_images=4))
    assert names(own.train) == ["0", "1", "2", "3"] and names(own.val) == ["own"]
    drawn = open_dataset("folder", folder, 2, choices=Choices(train_test_ratio=0.8))
    assert len(drawn.train) == 8 and len(drawn.val) == 2
    assert sorted(names(drawn.train + drawn.val)) == [str(i) for i in range(10)]
    demo = open_dataset("demo", None, 2, choices=Choices(4, 0.75))
    assert len(demo.train) == 3 and len(demo.val) == 1
    assert "astronaut" not in names(demo.train + demo.val)
    with pytest.raises(UserError, match="--train_test_ratio 0.8 and --val_dir .* use one of them"):
        open_dataset("folder", folder, 2, photos, choices=Choices(train_test_ratio=0.8))


def test_pairs_are_counted_and_split_but_not_prepared(tmp_path):
    for i in range(10):
        write(tmp_path / "HR" / f"{i}.png")
        write(tmp_path / "LR" / f"{i}.png", 20, 15)
    splits = open_dataset("paired", tmp_path, 2, choices=Choices(5, 0.6, seed=1))
    assert len(splits.train) == 3 and len(splits.val) == 2
    assert sorted(names(splits.train + splits.val)) == ["0", "1", "2", "3", "4"]
    assert all(pair.lr.name == pair.hr.name for pair in splits.train + splits.val)
    for name, value in (("resize", 32), ("blur", 1.0), ("reduction", "nearest"), ("noise", 5.0),
                        ("jpeg", 50)):
        choices = Choices(preparation=Preparation(**{name: value}))
        with pytest.raises(UserError, match=f"--{name} needs generated LR images.*own.*0.png;"):
            open_dataset("auto", tmp_path, 2, choices=choices)


def test_a_size_is_for_the_set_and_a_degradation_for_every_lr_image(photos, tmp_path, caplog):
    wanted = Preparation(resize=32, blur=1.0, jpeg=60)
    splits = open_dataset("folder", photos, 2, choices=Choices(preparation=wanted))
    assert {pair.preparation for pair in splits.train + splits.val} == {wanted}
    assert {pair.hr_size for pair in splits.val} == {(32, 32)}
    write(tmp_path / "val" / "v.png")
    other = open_dataset("folder", photos, 2, tmp_path / "val", choices=Choices(preparation=wanted))
    assert other.val[0].preparation == Preparation(blur=1.0, jpeg=60)
    assert other.val[0].hr_size == (30, 40) and other.train[0].hr_size == (32, 32)
    write(tmp_path / "pairs" / "HR" / "p.png")
    write(tmp_path / "pairs" / "LR" / "p.png", 20, 15)
    with caplog.at_level(logging.INFO, "sr_zoo"):
        pairs = open_dataset("folder", photos, 2, tmp_path / "pairs",
                             choices=Choices(preparation=wanted)).val
    assert pairs[0].lr.name == "p.png" and pairs[0].preparation == Preparation()
    assert "used without --blur, --jpeg" in caplog.text


def test_cuts_are_kept_and_resized_after(tmp_path):
    for split in ("train", "test"):
        write(tmp_path / "images" / split / "a.jpg", 481, 321)
    choices = Choices(preparation=Preparation(resize=64, noise=2.0))
    for pair in open_dataset("bsds500_256", tmp_path, 2, choices=choices).train:
        assert pair.preparation == Preparation(crop=256, resize=64, noise=2.0)
        assert pair.hr_size == (64, 64)
