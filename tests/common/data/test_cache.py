import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from common.bicubic import downscale
from common.cli import UserError
from common.data import cache
from common.data.cache import make_missing_lr
from common.data.pairs import Pair, measure
from common.data.prepare import Preparation
from common.data.sets import open_images


@pytest.fixture
def pair(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (31, 42, 3)).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    return Pair("a", tmp_path / "a.png")


def make(pairs, scale, folder):
    return make_missing_lr(measure(pairs, scale), scale, folder)


def no_work(*arguments):
    raise AssertionError("the kept file was not used")


def test_it_makes_the_lr_images_that_matlab_makes(shared, tmp_path):
    published = open_images("paired", shared / "data" / "Set5", 3)
    missing = [Pair(pair.name, pair.hr) for pair in published]
    made = make(missing, 3, tmp_path)
    assert [(pair.name, pair.hr) for pair in made] == [(p.name, p.hr) for p in published]
    for pair, truth in zip(made, published):
        assert pair.lr.parent == tmp_path / "lr_bicubic" / "X3"
        assert pair.lr.name.startswith(pair.name + "-") and pair.lr.suffix == ".png"
        np.testing.assert_array_equal(np.array(Image.open(pair.lr)), np.array(Image.open(truth.lr)))
    assert make(published, 3, tmp_path / "other") == published
    assert not (tmp_path / "other").exists()


def test_only_what_is_missing_is_made(pair, tmp_path):
    Image.new("RGB", (21, 15)).save(tmp_path / "own.png")
    own, = measure([replace(pair, name="own", lr=tmp_path / "own.png")], 2)
    made = make([own, pair], 2, tmp_path / "cache")
    assert made[0] == own
    assert [path.name for path in (tmp_path / "cache/lr_bicubic/X2").iterdir()] == [made[1].lr.name]


def test_a_kept_file_is_used_again_until_its_hr_changes(pair, tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    first = make([pair], 2, folder)
    with monkeypatch.context() as patch:
        patch.setattr(cache, "write_image", no_work)
        assert make([pair], 2, folder) == first
    changed = np.zeros((31, 42, 3), np.uint8)
    Image.fromarray(changed).save(pair.hr)
    os.utime(str(pair.hr), ns=(1, 1))
    second = make([pair], 2, folder)
    assert second[0].lr != first[0].lr
    assert not np.array(Image.open(second[0].lr)).any()
    assert make([pair], 4, folder)[0].lr.parent.name == "X4"


def test_an_hr_image_is_resized_once(pair, tmp_path, monkeypatch):
    folder, wanted = tmp_path / "cache", Pair("a", pair.hr, None, Preparation(resize=24))

    def resized():
        return make([wanted], 2, folder)[0]

    first = resized()
    assert first.hr.parent == folder / "resized" / "24" and first.preparation == Preparation()
    assert (first.hr_size, first.lr_size) == ((24, 24), (12, 12))
    expected = Image.open(pair.hr).resize((24, 24), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(np.array(Image.open(first.hr)), np.array(expected))
    np.testing.assert_array_equal(np.array(Image.open(first.lr)),
                                  downscale(np.array(expected), 2))
    times = [path.stat().st_mtime_ns for path in (first.hr, first.lr)]
    with monkeypatch.context() as patch:
        patch.setattr(cache, "write_image", no_work)
        assert resized() == first
    assert times == [path.stat().st_mtime_ns for path in (first.hr, first.lr)]
    first.hr.write_bytes(first.hr.read_bytes()[:-20])
    assert np.array_equal(np.array(Image.open(resized().hr)), np.array(expected))
    Image.new("RGB", (50, 40), (7, 8, 9)).save(pair.hr)
    os.utime(str(pair.hr), ns=(5, 5))
    second = resized()
    assert second.hr != first.hr and second.lr != first.lr
    assert (np.array(Image.open(second.hr)) == (7, 8, 9)).all()
    other = make([Pair("a", pair.hr, None, Preparation(resize=12))], 2, folder)[0]
    assert Image.open(other.hr).size == (12, 12) and Image.open(other.lr).size == (6, 6)


def test_every_degradation_has_its_own_files(pair, tmp_path):
    ways = [Preparation(), Preparation(blur=1.0), Preparation(blur=2.0), Preparation(noise=5.0),
            Preparation(jpeg=50), Preparation(reduction="area"), Preparation(crop=20),
            Preparation(resize=20), Preparation(resize=20, jpeg=50),
            Preparation(degradation="photo"), Preparation(degradation="photo", seed=1)]
    pairs = [Pair("a", pair.hr, None, way) for way in ways]
    made = make(pairs, 2, tmp_path / "cache")
    assert len({one.lr for one in made}) == len(ways)
    assert {one.lr.parent.parent.name for one in made} == {"lr_bicubic", "lr_area", "lr_photo"}
    for one, way in zip(made, ways):
        hr = way.hr(np.array(Image.open(pair.hr)))
        np.testing.assert_array_equal(np.array(Image.open(one.lr)), way.lr(hr, 2, "a"))
    assert make(pairs, 2, tmp_path / "cache") == made


def test_without_lr_images_only_what_is_resized_is_made(pair, tmp_path):
    pairs = measure([pair, replace(pair, preparation=Preparation(resize=24, blur=1.0))], 2)
    made = make_missing_lr(pairs, 2, tmp_path / "cache", with_lr=False)
    assert made[0] == pairs[0] and made[1].lr is None
    assert Image.open(made[1].hr).size == (24, 24)
    assert list((tmp_path / "cache").rglob("*.png")) == [made[1].hr]
    make_missing_lr(pairs[:1], 2, tmp_path / "none", with_lr=False)
    assert not (tmp_path / "none").exists()


def test_files_of_one_name_in_two_folders_are_told_apart(pair, tmp_path):
    other = tmp_path / "other" / "a.png"
    other.parent.mkdir()
    Image.fromarray(np.full((31, 42, 3), 9, np.uint8)).save(other)
    first, second = make([pair, Pair("a", other)], 2, tmp_path / "cache")
    assert first.lr != second.lr
    assert (np.array(Image.open(second.lr)) == 9).all()


def test_a_killed_or_damaged_file_is_not_trusted(pair, tmp_path, monkeypatch):
    folder = tmp_path / "cache"

    def killed(path, array):
        path.parent.mkdir(parents=True)
        path.with_name(f".{path.stem}.part.png").write_bytes(b"\x89PNG half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cache, "write_image", killed)
        with pytest.raises(KeyboardInterrupt):
            make([pair], 2, folder)
    made = make([pair], 2, folder)[0]
    truth = made.lr.read_bytes()
    flipped = [truth[:at] + bytes([truth[at] ^ 1]) + truth[at + 1:]
               for at in (0, 20, 45, len(truth) // 2, len(truth) - 20, len(truth) - 1)]
    for damage in (truth[:len(truth) // 2], b"", b"text", truth[:-12] + bytes(12), truth + b"more",
                   *flipped):
        made.lr.write_bytes(damage)
        assert make([pair], 2, folder)[0].lr.read_bytes() == truth
    Image.new("RGB", (5, 5)).save(made.lr)
    assert make([pair], 2, folder)[0].lr.read_bytes() == truth


def test_mistakes_are_named(pair, tmp_path):
    with pytest.raises(UserError, match="a.png is too small for x64"):
        make([pair], 64, tmp_path / "cache")
    pair.hr.write_bytes(pair.hr.read_bytes()[:1000])
    with pytest.raises(UserError, match="cannot read .*a.png"):
        make([pair], 2, tmp_path / "cache")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot create the folder"):
        make([pair], 2, tmp_path / "file")
