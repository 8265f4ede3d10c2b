"""The sizes and pixels of pairs, and what a resumed run recognises its data by."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.cli import UserError
from common.data import pairs as module
from common.data.pairs import Pair, fingerprint, hr_only, measure, pair_by_name
from common.data.prepare import Preparation
from common.data.sets import open_dataset, open_images
from common.data.split import Choices, log_once
from common.data.store import ImageStore


@pytest.fixture
def photos(tmp_path, photo):
    """Three HR photographs of 61x83 pixels, and their LR images at x2 in `lr`."""
    (tmp_path / "lr").mkdir()
    for name in "abc":
        Image.fromarray(photo(61, 83)).save(tmp_path / f"{name}.png")
        Image.fromarray(Preparation().lr(photo(61, 83), 2)).save(tmp_path / "lr" / f"{name}.png")
    return tmp_path


@pytest.fixture
def opened(monkeypatch):
    """The files whose headers were read, one entry each time."""
    found = []

    def read_size(path):
        found.append(path)
        with Image.open(path) as image:
            return image.height, image.width

    monkeypatch.setattr(module, "read_size", read_size)
    return found


def test_each_header_is_read_once(photos, opened):
    hr = sorted(photos.glob("*.png"))
    headers = {}
    own = [Pair(path.stem, path, photos / "lr" / path.name) for path in hr]
    first = measure([*own, *hr_only(hr)], 2, headers)
    assert {pair.hr_size for pair in first} == {(61, 83)}
    assert {pair.lr_size for pair in first} == {(30, 41)}
    assert sorted(opened) == sorted([*hr, *(photos / "lr").iterdir()])
    assert measure(hr_only(hr), 3, headers)[0].lr_size == (20, 27) and len(opened) == 6
    cut, square = measure([replace(own[0], lr=None, preparation=Preparation(crop=70)),
                           replace(own[0], lr=None, preparation=Preparation(resize=24))], 4)
    assert (cut.hr_size, cut.lr_size) == ((61, 70), (15, 17))
    assert (square.hr_size, square.lr_size) == ((24, 24), (6, 6))
    assert opened[6:] == [hr[0]]  # a square is of that size whatever the file's


def test_sizes_that_do_not_fit_are_named(photos):
    pair = Pair("a", photos / "a.png", photos / "lr" / "a.png")
    words = r"lr.a.png \(41x30\) is not .*a.png \(83x61\) reduced by 3; check --scale"
    with pytest.raises(UserError, match=words):
        measure([pair], 3)
    with pytest.raises(UserError, match="a.png is too small for x62"):
        measure(hr_only([pair.hr]), 62)
    pair.hr.write_bytes(b"")
    with pytest.raises(UserError, match="cannot read .*a.png"):
        measure([pair], 2)


def test_pixels_are_those_of_the_preparation(photos, photo):
    pair, way = Pair("a", photos / "a.png"), Preparation(crop=50, blur=1.0, jpeg=80)
    lr, hr = pair.read(4)
    assert np.array_equal(hr, photo(61, 83)[:60, :80])
    assert np.array_equal(lr, Preparation().lr(photo(61, 83), 4))
    lr, hr = replace(pair, preparation=way).read(4)
    assert np.array_equal(hr, way.hr(photo(61, 83))[:48, :48])
    assert np.array_equal(lr, way.lr(way.hr(photo(61, 83)), 4))
    lr, hr = replace(pair, lr=photos / "lr" / "a.png").read(2)
    assert lr.shape == (30, 41, 3) and np.array_equal(hr, photo(61, 83)[:60, :82])
    grey = pair.read(2, lambda path: np.array(Image.open(path))[..., 1])
    assert [image.shape for image in grey] == [(30, 41), (60, 82)]


def test_fingerprint(shared, tmp_path):
    pairs = open_images("paired", shared / "data" / "Set5", 2)
    known = fingerprint(pairs)
    assert known == "abad754cb89ef700"  # runs that began with an older version are resumed
    assert fingerprint(open_images("paired", shared / "data" / "Set5", 4)) == known
    assert fingerprint(pairs[:-1]) != known
    assert fingerprint([replace(pairs[0], name="other"), *pairs[1:]]) != known
    moved = tmp_path / pairs[0].hr.name
    for source, same in ((pairs[0].hr, True), (pairs[1].hr, False)):
        moved.write_bytes(source.read_bytes())
        copy = measure([Pair(pairs[0].name, moved)], 2)
        assert (fingerprint([*copy, *pairs[1:]]) == known) == same
    cut = open_dataset("bsds500_256", shared / "data", 2)
    assert fingerprint(cut.train) == "0d3e913e5f30bea4"


def paths(folder, *stems):
    return [Path(folder) / f"{stem}.png" for stem in stems]


@pytest.mark.parametrize("hr, lr", [
    (["0001", "0002"], ["0001x4", "0002x4"]),  # DIV2K
    (["000001", "000002"], ["000001x2", "000002x2"]),  # Flickr2K
    (["baby_HR_x2", "bird_HR_x2"], ["baby_LRBI_x2", "bird_LRBI_x2"]),  # RCAN's Set5
    (["baby_HR", "bird_HR"], ["baby_LR", "bird_LR"]),
    (["img_001_SRF_2_HR", "img_002_SRF_2_HR"], ["img_001_SRF_2_LR", "img_002_SRF_2_LR"]),
    (["Canon_001_HR", "Canon_002_HR"], ["Canon_001_LR2", "Canon_002_LR2"]),  # RealSR
    (["DSC_1454_x1", "DSC_1455_x1"], ["DSC_1454_x4", "DSC_1455_x4"]),  # DRealSR
    (["0001", "0002"], ["0001bicLRx2", "0002bicLRx2"]),
    (["baby", "bird"], ["baby_bicLRx2", "bird_bicLRx2"]),
    (["baby", "bird"], ["baby_2x", "bird_2x"]),
    (["HR_0001", "HR_0002"], ["LR_0001", "LR_0002"]),
    (["0001", "0002"], ["LRx2_0001", "LRx2_0002"]),
    (["hr-1", "hr-2"], ["lr-1", "lr-2"]),
    (["a_HR_01", "a_HR_02"], ["a_LR_01", "a_LR_02"]),
    (["IMG_1", "IMG_2"], ["img_1_lq", "img_2_lq"]),
    (["0001", "0010"], ["1", "10"]),
    (["1_gt", "2_gt"], ["001_lq", "002_lq"]),
    (["fox1", "fox2"], ["fox1", "fox2"]),
    (["x2", "x3"], ["x2", "x3"]),
])
def test_names_of_published_sets_pair_up(hr, lr, caplog):
    log_once.cache_clear()
    with caplog.at_level("INFO", logger="sr_zoo"):
        pairs = pair_by_name(paths("hr", *hr), paths("lr", *reversed(lr)))
    assert [pair.lr.stem for pair in pairs] == lr and [pair.hr.stem for pair in pairs] == hr
    told = [record.message for record in caplog.records]
    assert told == [] if hr == lr else (
        len(told) == 1 and told[0].startswith("2 pairs by name without ")
        and told[0].endswith(f": {hr[0]}.png with {lr[0]}.png"))


def test_every_image_without_a_partner_is_named():
    with pytest.raises(UserError) as error:
        pair_by_name(paths("hr", "a", "b", "c", "d"), paths("lr", "bx2", "dx2", "ex2"))
    assert str(error.value) == ("no LR image for hr/a.png, hr/c.png in lr; "
                                "no HR image for lr/ex2.png in hr")
    with pytest.raises(UserError, match="hr/a.png and lr2/a.png have the same name; keep one"):
        pair_by_name([*paths("hr", "a"), *paths("lr2", "a")], paths("lr", "a"))


@pytest.fixture
def damaged(photos):
    """The photographs and three bad ones: no image, cut short within, and an LR of another size."""
    (photos / "d.png").write_bytes(b"no image")
    whole = (photos / "a.png").read_bytes()
    (photos / "e.png").write_bytes(whole[:len(whole) // 2])
    Image.open(str(photos / "a.png")).save(str(photos / "f.png"))
    pairs = [Pair(name, photos / f"{name}.png") for name in "abcde"]
    return [*pairs, Pair("f", photos / "f.png", photos / "b.png")]


def test_all_bad_images_are_named_at_once(damaged):
    with pytest.raises(UserError) as error:
        measure(damaged, 2)
    text = str(error.value)
    assert "d.png" in text and "e.png" in text and "f.png (83x61) reduced by 2" in text
    assert "a.png" not in text and "c.png" not in text and "\n" not in text
    with pytest.raises(UserError, match=r"e\.png.*; .*g\.png"):  # found only by decoding
        (damaged[0].hr.parent / "g.png").write_bytes(damaged[4].hr.read_bytes())
        pairs = measure([*damaged[:3], damaged[4], Pair("g", damaged[0].hr.parent / "g.png")], 2)
        ImageStore(pairs, 2, damaged[0].hr.parent / "cache")


def test_skip_bad_goes_on_without_them_and_says_so(damaged, caplog):
    folder = damaged[0].hr.parent
    choices = Choices(skip_bad=True)
    with caplog.at_level("WARNING", logger="sr_zoo"):
        splits = open_dataset("folder", folder, 2, choices=choices)
    assert sorted({pair.name for pair in splits.train + splits.val}) == ["a", "b", "c", "f"]
    lr, *out = [record.message for record in caplog.records]
    assert lr == f"{folder}: LR images x2 generated from HR; not used: {folder / 'lr'}"
    assert [line.split(":")[0] for line in out] == ["left out", "left out"]
    for path in folder.glob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(UserError, match="--skip_bad leaves no training image"):
        open_dataset("folder", folder, 2, choices=choices)
