import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.bicubic import downscale
from common.cli import UserError
from common.data.prepare import Preparation
from common.data.sets import (
    DATASETS,
    describe,
    markdown,
    open_dataset,
    open_folders,
    open_images,
)
from common.data.split import Choices

SMALL = np.random.default_rng(0).integers(0, 256, (13, 18, 3)).astype(np.uint8)


def write(path, scale=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(downscale(SMALL, scale)).save(path)


def names(pairs):
    return [pair.name for pair in pairs]


def files(pairs):
    return [(pair.hr.name, pair.lr and f"{pair.lr.parent.name}/{pair.lr.name}") for pair in pairs]


def test_demo_is_found_without_a_folder():
    for name in ("demo", "auto"):
        splits = open_dataset(name, None, 2)
        assert splits.name == "demo"
        assert names(splits.train) == ["coffee", "hubble_deep_field", "ihc", "motorcycle_left",
                                       "motorcycle_right", "retina", "rocket"]
        assert names(splits.val) == ["astronaut", "chelsea"]
        assert names(open_images(name, None, 2)) == names(splits.val)
        for pair in splits.train + splits.val:
            assert pair.lr is None
            with Image.open(pair.hr) as image:
                assert image.mode == "RGB" and min(image.size) >= 300


def test_demo_is_found_without_slow_imports():
    code = ("import sys; from common.data.sets import open_dataset; open_dataset('demo', None, "
            "2); print([m for m in ('skimage', 'scipy', 'tensorflow', 'cv2') if m in sys.modules])")
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE,
                          check=True, text=True)
    assert done.stdout.strip() == "[]"


def make_div2k(folder, lr_scales=()):
    for number in (1, 2, 800):
        write(folder / "DIV2K_train_HR" / f"{number:04}.png")
        for scale in lr_scales:
            write(folder / f"DIV2K_train_LR_bicubic/X{scale}" / f"{number:04}x{scale}.png", scale)
    write(folder / "DIV2K_valid_HR" / "0801.png")
    for scale in lr_scales:
        write(folder / f"DIV2K_valid_LR_bicubic/X{scale}" / f"0801x{scale}.png", scale)


@pytest.mark.parametrize("name", ["div2k", "auto"])
def test_div2k_as_published(tmp_path, name):
    make_div2k(tmp_path, (2, 4))
    splits = open_dataset(name, tmp_path, 4)
    assert splits.name == "div2k"
    assert files(splits.train) == [("0001.png", "X4/0001x4.png"), ("0002.png", "X4/0002x4.png"),
                                   ("0800.png", "X4/0800x4.png")]
    assert files(splits.val) == [("0801.png", "X4/0801x4.png")]
    assert files(open_images(name, tmp_path, 2)) == [("0801.png", "X2/0801x2.png")]
    assert files(open_dataset(name, tmp_path, 3).val) == [("0801.png", None)]
    shutil.rmtree(tmp_path / "DIV2K_valid_HR")
    assert names(open_dataset(name, tmp_path, 4).val) == ["0800"]


def make_track(folder, track, letter="", scale=4, copies=("",), inside=False):
    for split, number in (("train", "0001"), ("train", "0002"), ("train", "0800"),
                          ("valid", "0801")):
        place = folder / f"DIV2K_{split}_LR_{track}" / (f"X{scale}" if inside else "")
        for copy in copies:
            write(place / f"{number}x{scale}{letter}{copy}.png", scale)


@pytest.mark.parametrize("track, how", [
    ("unknown", {"inside": True}), ("mild", {"letter": "m"}), ("difficult", {"letter": "d"})])
def test_tracks_of_div2k(tmp_path, track, how, caplog):
    above, tmp_path = tmp_path, tmp_path / "DIV2K"
    make_div2k(tmp_path, (2, 4))
    make_track(tmp_path, track, **how)
    end = how.get("letter", "")
    for folder in (tmp_path, above):
        splits = open_dataset(f"div2k_{track}", folder, 4)
        assert splits.name == f"div2k_{track}"
        assert [(pair.name, pair.hr.name, pair.lr.name) for pair in splits.train] == [
            (number, f"{number}.png", f"{number}x4{end}.png") for number in
            ("0001", "0002", "0800")]
        (val,) = splits.val
        assert f"DIV2K_valid_LR_{track}" in str(val.lr) and val.name == "0801"
        assert open_images(f"div2k_{track}", folder, 4) == splits.val
    assert (f"{tmp_path / 'DIV2K_train_HR'}: LR images x4 from {splits.train[0].lr.parent}; not "
            f"used: {tmp_path / 'DIV2K_train_LR_bicubic/X4'}") in caplog.text
    auto = open_dataset("auto", tmp_path, 4)
    assert auto.name == "div2k" and auto.train[0].lr.parent.parent.name == "DIV2K_train_LR_bicubic"
    assert f"X4; not used: {splits.train[0].lr.parent}" in caplog.text
    with pytest.raises(UserError, match=rf"no LR images for x3 in .*LR_{track}.*--scale"):
        open_dataset(f"div2k_{track}", tmp_path, 3)
    splits.train[1].lr.unlink()
    with pytest.raises(UserError, match=r"no partner for .*0002\.png in .*LR_" + track):
        open_dataset(f"div2k_{track}", tmp_path, 4)


def test_the_wild_track_has_four_lr_images_of_each(tmp_path):
    make_div2k(tmp_path)
    make_track(tmp_path, "wild", "w", copies="1234")
    splits = open_dataset("div2k_wild", tmp_path, 4)
    assert names(splits.train) == [f"{number}x4w{copy}" for number in ("0001", "0002", "0800")
                                   for copy in "1234"]
    assert [pair.hr.stem for pair in splits.train[3:5]] == ["0001", "0002"]
    shutil.rmtree(tmp_path / "DIV2K_valid_LR_wild")
    write(tmp_path / "DIV2K_valid_LR_wild" / "0801x4w.png", 4)
    assert names(open_dataset("div2k_wild", tmp_path, 4).val) == ["0801"]  # as published


def test_tracks_of_div2k_and_flickr2k_together(tmp_path):
    make_div2k(tmp_path)
    make_track(tmp_path, "unknown", scale=2, inside=True)
    write(tmp_path / "Flickr2K_HR" / "000001.png")
    write(tmp_path / "Flickr2K_LR_unknown/X2" / "000001x2.png", 2)
    splits = open_dataset("div2k_unknown+flickr2k_unknown", tmp_path, 2)
    assert names(splits.train) == ["0001", "0002", "0800", "000001"]
    assert {pair.lr.parent.parent.name for pair in splits.train} == {
        "DIV2K_train_LR_unknown", "Flickr2K_LR_unknown"}
    with pytest.raises(UserError, match="did you mean 'div2k_unknown'"):
        open_dataset("div2k-unknown", tmp_path, 2)


def test_lr_images_beside_generated_ones_are_named(tmp_path, caplog):
    make_div2k(tmp_path, (2, 4))
    make_track(tmp_path, "mild", "m")
    hr = tmp_path / "DIV2K_train_HR"
    for scale, others in ((2, ["LR_bicubic/X2"]), (3, []), (4, ["LR_bicubic/X4", "LR_mild"])):
        caplog.clear()
        assert all(pair.lr is None for pair in open_dataset("folder", hr, scale).train)
        said = [record.getMessage() for record in caplog.records]
        assert said == [f"{hr}: LR images x{scale} generated from HR; not used: "
                        + ", ".join(f"{tmp_path}/DIV2K_train_{other}" for other in others)
                        ] * bool(others)


@pytest.mark.parametrize("hr, lr, other, scale", [
    ("HR", "LR", "LR_bicubic", 2), ("train", "train_X2", "train_LR_x2", 2),
    ("GT", "LQ", "LR_unknown/X2", 2), ("hr", "lr_2x", "LR/x2", 2),
    ("train_HR", "train_LR_x2", "train_LR_unknown", 2)])
def test_lr_images_beside_those_that_are_used_are_named(tmp_path, caplog, hr, lr, other, scale):
    for name in ("a", "b", "c"):
        write(tmp_path / hr / f"{name}.png")
        for folder in (lr, other):
            write(tmp_path / folder / f"{name}.png", scale)
    write(tmp_path / "lr_4x" / "a.png", 4)  # of another scale
    write(tmp_path / "valid_LR" / "a.png", 2)  # of other images
    (tmp_path / "LR_x2_empty").mkdir()
    splits = open_dataset("paired", tmp_path, scale)
    used = splits.train[0].lr.parent
    unused = ({tmp_path / lr, tmp_path / other} - {used}).pop()
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / hr}: LR images x2 from {used}; not used: {unused}"]


def test_div2k_with_validation_images_only(tmp_path):
    write(tmp_path / "DIV2K_valid_HR" / "0801.png")
    assert names(open_images("auto", tmp_path, 2)) == ["0801"]
    with pytest.raises(UserError, match="no training images"):
        open_dataset("auto", tmp_path, 2)


@pytest.mark.parametrize("name", ["div2k", "auto"])
@pytest.mark.parametrize("layout", ["{0}_{1}.png", "{0}/{1}.png", "div2k_{0}/{1}.png"])
def test_div2k_told_apart_by_names(tmp_path, name, layout):
    for split, number in (("train", "0001"), ("train", "0002"), ("valid", "0801")):
        write(tmp_path / layout.format(split, number))
        write(tmp_path / f"._{split}.png")
    splits = open_dataset(name, tmp_path, 2)
    assert splits.name == "div2k"
    assert [pair.name[-4:] for pair in splits.train] == ["0001", "0002"]
    assert [pair.name[-4:] for pair in splits.val] == ["0801"]
    assert all(pair.lr is None for pair in splits.train + splits.val)


def test_div2k_needs_the_words(tmp_path):
    write(tmp_path / "a.png")
    with pytest.raises(UserError, match="no DIV2K images in .*train.*valid"):
        open_dataset("div2k", tmp_path, 2)


@pytest.mark.parametrize("name", ["paired", "auto"])
@pytest.mark.parametrize("word", ["test", "valid", "val"])
def test_paired_as_anime_sr(tmp_path, name, word):
    for i in (1, 2, 11):
        write(tmp_path / "train" / f"Anime_{i}.jpg")
        write(tmp_path / "train_X4" / f"Anime_{i}.jpg", 4)
    write(tmp_path / word / "Anime_1.jpg")
    write(tmp_path / f"{word}_X4" / "Anime_1.jpg", 4)
    splits = open_dataset(name, tmp_path, 4)
    assert splits.name == "paired"
    assert files(splits.train) == [(f"Anime_{i}.jpg", f"train_X4/Anime_{i}.jpg")
                                   for i in (1, 11, 2)]
    assert files(splits.val) == [("Anime_1.jpg", f"{word}_X4/Anime_1.jpg")]
    assert files(open_images(name, tmp_path, 4)) == files(splits.val)


@pytest.mark.parametrize("hr, lr, suffix", [
    ("HR", "LR", ""), ("hr", "lr_3x", ""), ("GT", "LQ", "_x3"), ("HR", "LR_bicubic/X3", "x3"),
    ("HR", "LR_x3", "x3"), ("train/HR", "train/LR", ""), ("train_HR", "train_LR_bicubic_X3", "x3")])
def test_pairs_of_folders(tmp_path, hr, lr, suffix):
    for i in range(12):  # names that end like a suffix themselves
        write(tmp_path / hr / f"box{i:02}.png")
        write(tmp_path / lr / f"box{i:02}{suffix}.png", 3)
    splits = open_dataset("auto", tmp_path, 3)
    assert splits.name == "paired"
    everything = [f"box{i:02}" for i in range(12)]
    assert names(splits.train) == everything[:11] and names(splits.val) == everything[11:]
    images = open_images("paired", tmp_path, 3)
    assert names(images) == everything
    assert [pair.lr.stem for pair in images] == [f"{stem}{suffix}" for stem in everything]


def test_real_pairs(shared):
    for scale in (2, 3, 4):
        pairs = open_images("auto", shared / "data" / "Set5", scale)
        assert [pair.lr.name for pair in pairs] == [f"img_00{i}x{scale}.png" for i in range(1, 6)]
    pairs = open_images("auto", shared / "data" / "USR-248", 4)
    assert len(pairs) == 25
    assert all(pair.hr.name == pair.lr.name and pair.lr.parent.name == "lr_4x" for pair in pairs)
    splits = open_dataset("auto", shared / "data" / "T91", 3)
    assert (splits.name, len(splits.train), len(splits.val)) == ("folder", 82, 9)


def test_folder_keeps_some_images_for_validation(tmp_path):
    write(tmp_path / "0.png")
    one = open_dataset("auto", tmp_path, 2)
    assert one.name == "folder" and names(one.train) == names(one.val) == ["0"]
    for count, kept in ((2, 1), (25, 2), (130, 10)):
        for i in range(count):
            shutil.copy(str(tmp_path / "0.png"), str(tmp_path / f"{i:03}.png"))
        shutil.rmtree(tmp_path / "0.png", ignore_errors=True)
        found = sorted(path.stem for path in tmp_path.glob("*.png"))
        splits = open_dataset("folder", tmp_path, 2)
        assert names(splits.val) == found[-kept:] and names(splits.train) == found[:-kept]
        assert names(open_images("folder", tmp_path, 2)) == found


def test_folder_with_its_own_split(tmp_path):
    write(tmp_path / "train" / "a.png")
    write(tmp_path / "test" / "b.png")
    for name in ("auto", "folder"):
        splits = open_dataset(name, tmp_path, 2)
        assert (splits.name, names(splits.train), names(splits.val)) == ("folder", ["a"], ["b"])
        assert names(open_images(name, tmp_path, 2)) == ["b"]


def test_val_dir_takes_the_place_of_a_split(tmp_path):
    for i in range(3):
        write(tmp_path / "images" / f"{i}.png")
    write(tmp_path / "own" / "v.png")
    splits = open_dataset("folder", tmp_path / "images", 2, tmp_path / "own")
    assert names(splits.train) == ["0", "1", "2"] and names(splits.val) == ["v"]
    write(tmp_path / "pairs" / "HR" / "p.png")
    write(tmp_path / "pairs" / "LR" / "p.png", 2)
    splits = open_dataset("folder", tmp_path / "images", 2, tmp_path / "pairs")
    assert files(splits.val) == [("p.png", "LR/p.png")]
    with pytest.raises(UserError, match="no such folder: .*gone"):
        open_dataset("folder", tmp_path / "images", 2, tmp_path / "gone")


def test_mistakes_are_named(tmp_path):
    with pytest.raises(UserError, match="no such folder: .*nowhere"):
        open_dataset("auto", tmp_path / "nowhere", 2)
    (tmp_path / "empty").mkdir()
    for name in ("auto", "folder"):
        with pytest.raises(UserError, match="no images .*empty"):
            open_dataset(name, tmp_path / "empty", 2)
    write(tmp_path / "a.png")
    with pytest.raises(UserError, match="a.png is a file"):
        open_dataset("folder", tmp_path / "a.png", 2)
    with pytest.raises(UserError, match="folder needs --data_dir"):
        open_dataset("folder", None, 2)
    with pytest.raises(UserError, match="no data set 'div2l'.*did you mean 'div2k'"):
        open_dataset("div2l", tmp_path, 2)
    with pytest.raises(UserError, match="no pair of HR and LR folders.*train_X2"):
        open_dataset("paired", tmp_path, 2)
    assert all(f"{name}: " in describe() for name in ("demo", "div2k", "paired", "folder"))


def test_unpaired_images_are_named(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / "HR" / f"{name}.png")
        write(tmp_path / "LR" / f"{name}x2.png", 2)
    write(tmp_path / "HR" / "lonely.png")
    with pytest.raises(UserError, match=r"no LR image for .*HR.lonely.png in .*LR"):
        open_images("paired", tmp_path, 2)
    (tmp_path / "HR" / "lonely.png").unlink()
    write(tmp_path / "LR" / "strayx2.png", 2)
    with pytest.raises(UserError, match=r"no HR image for .*LR.strayx2.png in .*HR"):
        open_images("auto", tmp_path, 2)
    (tmp_path / "LR" / "strayx2.png").unlink()
    write(tmp_path / "HR" / "a.bmp")
    with pytest.raises(UserError, match=r"a.bmp and .*a.png have the same name"):
        open_images("paired", tmp_path, 2)


def test_sizes_that_do_not_fit_the_scale_are_named(tmp_path):
    write(tmp_path / "HR" / "a.png")  # 18x13: x3 crops the odd rows and columns
    write(tmp_path / "LR" / "a.png", 3)
    assert len(open_images("paired", tmp_path, 3)) == 1
    with pytest.raises(UserError, match=r"LR.a.png \(6x4\) is not .*a.png \(18x13\) reduced by 2"):
        open_images("paired", tmp_path, 2)
    with pytest.raises(UserError, match="check --scale"):
        open_dataset("paired", tmp_path, 4)
    (tmp_path / "LR" / "a.png").write_bytes(b"")
    with pytest.raises(UserError, match="cannot read .*a.png"):
        open_images("paired", tmp_path, 3)


@pytest.mark.parametrize("name, folder", [("set5", "Set5"), ("set14", "set14"), ("bsd100", "B100"),
                                          ("bsd100", "BSD100"), ("urban100", "Urban100")])
def test_evaluation_sets_in_all_their_layouts(tmp_path, name, folder):
    plain, split, modelzoo = (tmp_path / kind for kind in ("plain", "split", "modelzoo"))
    for i in ("001", "002"):
        write(plain / folder / f"{i}.png")
        for s in (2, 3):
            write(split / folder / f"LR_bicubic/X{s}" / f"{i}x{s}.png", s)
            write(modelzoo / folder / f"LR/x{s}" / f"{i}.png", s)
            for role, by in (("HR", 1), ("LR", s), ("bicubic", 1), ("SelfExSR", 1)):
                write(tmp_path / "srf" / folder / f"image_SRF_{s}" / f"img_{i}_SRF_{s}_{role}.png",
                      by)
        write(split / folder / "HR" / f"{i}.png")
        write(modelzoo / folder / "SR" / f"{i}.png")
    expected = {"plain": [(f"{i}.png", None) for i in ("001", "002")],
                "split": [(f"{i}.png", f"X3/{i}x3.png") for i in ("001", "002")],
                "modelzoo": [(f"{i}.png", f"x3/{i}.png") for i in ("001", "002")]}
    for kind, pairs in expected.items():
        for data_dir in (tmp_path / kind, tmp_path / kind / folder):
            assert files(open_images(name, data_dir, 3)) == pairs
        assert files(open_images("auto", tmp_path / kind / folder, 3)) == pairs
    for found in (open_images(name, tmp_path / "srf", 3),
                  open_images("auto", tmp_path / "srf" / folder, 3)):
        assert names(found) == ["img_001", "img_002"]
        assert files(found)[1] == ("img_002_SRF_3_HR.png", "image_SRF_3/img_002_SRF_3_LR.png")
    shutil.copytree(str(tmp_path / "srf" / folder), str(tmp_path / "a name that says nothing"))
    assert len(open_images("auto", tmp_path / "a name that says nothing", 2)) == 2
    with pytest.raises(UserError, match="no images for x4: no folder image_SRF_4"):
        open_images(name, tmp_path / "srf", 4)
    with pytest.raises(UserError, match="no training images.*with --val_dir"):
        open_dataset(name, tmp_path / "split", 2)
    with pytest.raises(UserError, match=f"by its name is the folder of {name};"):
        open_images("t91", tmp_path / "plain" / folder, 2)


def test_set5_validates_any_training(shared, tmp_path):
    for scale in (2, 3, 4):
        splits = open_dataset("demo", None, scale, shared / "data" / "Set5")
        assert [pair.lr.name for pair in splits.val] == [f"img_00{i}x{scale}.png"
                                                         for i in range(1, 6)]
    assert names(open_images("set5", shared / "data", 2)) == names(splits.val)


def test_joined_sets(shared, tmp_path):
    root = shared / "data"
    counts = {}
    for name in ("t91", "bsds500", "t91+bsds500", "bsds500_256+t91"):
        splits = open_dataset(name, root, 2, root / "Set5")
        assert splits.name == name and len(splits.val) == 5
        counts[name] = len(splits.train)
    assert counts["t91"] == 91 and counts["bsds500"] == 400
    assert counts["t91+bsds500"] == counts["bsds500_256+t91"] == 491
    kept = open_dataset("t91+bsds500", root, 2)
    assert (len(kept.train), len(kept.val)) == (481, 10)
    assert not {pair.hr for pair in kept.train} & {pair.hr for pair in kept.val}
    assert names(open_dataset("t91+set5", root, 2).val) == [f"img_00{i}" for i in range(1, 6)]
    with pytest.raises(UserError, match="no set14 in .*sub-folder Set14"):
        open_dataset("t91+set14", root, 2)
    with pytest.raises(UserError, match="no t91 in .*sub-folder T91"):
        open_dataset("t91+bsds500", root / "T91", 2)
    with pytest.raises(UserError, match="folder has no folder name of its own"):
        open_dataset("t91+folder", root, 2)
    with pytest.raises(UserError, match="no data set 'bsd50'.*did you mean 'bsds500'"):
        open_dataset("t91+bsd50", root, 2)


@pytest.mark.parametrize("inner", ["", "BSDS500", "BSDS500/BSDS500/data", "BSR/BSDS500/data"])
def test_bsds500_never_trains_on_its_val(tmp_path, caplog, inner):
    images = tmp_path / inner / "images"
    for split, name in (("train", "1"), ("train", "3"), ("test", "2"), ("val", "9")):
        write(images / split / f"{name}.jpg")
    (images / "train" / "Thumbs.db").write_bytes(b"no image")
    with caplog.at_level(logging.WARNING, "sr_zoo"):
        splits = open_dataset("bsds500", tmp_path, 2)
    assert names(splits.train) == ["1", "3", "2"] and names(splits.val) == ["9"]
    assert [record.name for record in caplog.records] == ["sr_zoo"]
    assert "BSD100" in caplog.text and "not used for training" in caplog.text
    assert names(open_images("bsds500", tmp_path, 2)) == ["9"]
    assert open_dataset("auto", images.parent, 2).name == "bsds500"
    shutil.rmtree(images / "val")
    splits = open_dataset("bsds500", tmp_path, 2)
    assert names(splits.train) == ["1", "3"] and names(splits.val) == ["2"]
    shutil.rmtree(images)
    with pytest.raises(UserError, match="no BSDS500 images"):
        open_dataset("bsds500", tmp_path, 2)


def test_cuts_of_bsds500_are_the_middle(shared, tmp_path):
    from common.data.cache import make_missing_lr
    from common.data.store import ImageStore

    pairs = open_dataset("bsds500_256", shared / "data" / "BSDS500", 2).train[:2]
    whole = open_dataset("bsds500", shared / "data" / "BSDS500", 2).train[:2]
    store = ImageStore(pairs, 2, tmp_path)
    for i, pair in enumerate(whole):
        image = np.asarray(Image.open(pair.hr))
        top, left = (image.shape[0] - 256) // 2, (image.shape[1] - 256) // 2
        cut = image[top:top + 256, left:left + 256]
        assert image.shape[:2] in ((321, 481), (481, 321))
        assert np.array_equal(store.hr[i], cut) and np.array_equal(store.lr[i], downscale(cut, 2))
    lr = [pair.lr for pair in make_missing_lr(whole, 2, tmp_path)]
    assert not set(lr) & {pair.lr for pair in make_missing_lr(pairs, 2, tmp_path)}


@pytest.mark.parametrize("name", ["div2k", "auto"])
def test_the_layout_of_bsrn(tmp_path, name):
    for i in range(1, 13):
        write(tmp_path / "DIV2K/DIV2K_train_HR" / f"{i:04}.png")
        write(tmp_path / "DIV2K/DIV2K_train_LR_bicubic/X3" / f"{i:04}x3.png", 3)
    write(tmp_path / "BSD100/SR/101085.png")
    write(tmp_path / "BSD100/LR/x3/101085.png", 3)
    splits = open_dataset(name, tmp_path, 3)
    assert splits.name == "div2k" and len(splits.train) == 12
    assert files(splits.train)[0] == ("0001.png", "X3/0001x3.png")
    assert files(splits.val) == [("101085.png", "x3/101085.png")]
    assert len(open_images("div2k", tmp_path, 3)) == 12  # BSD100 is not DIV2K
    assert files(open_images("bsd100", tmp_path, 3)) == files(splits.val)
    write(tmp_path / "DIV2K/DIV2K_valid_HR/0801.png")
    assert names(open_dataset(name, tmp_path, 2).val) == ["0801"]
    assert len(open_dataset(name, tmp_path / "DIV2K", 2).train) == 12


def test_div2k_x8_as_published(tmp_path):
    make_div2k(tmp_path)
    for number in (1, 2, 800):
        write(tmp_path / "DIV2K_train_LR_x8" / f"{number:04}x8.png", 8)
    assert files(open_dataset("div2k", tmp_path, 8).train)[0] == (
        "0001.png", "DIV2K_train_LR_x8/0001x8.png")


def make_flickr2k(folder, lr_scales=()):
    for number in range(1, 13):
        write(folder / "Flickr2K_HR" / f"{number:06}.png")
        for scale in lr_scales:
            write(folder / f"Flickr2K_LR_bicubic/X{scale}" / f"{number:06}x{scale}.png", scale)
            write(folder / f"Flickr2K_LR_unknown/X{scale}" / f"{number:06}x{scale}.png", scale)


@pytest.mark.parametrize("name", ["flickr2k", "auto"])
def test_flickr2k_as_published(tmp_path, name):
    make_flickr2k(tmp_path / "Flickr2K", (2, 3, 4))
    for folder in (tmp_path, tmp_path / "Flickr2K"):
        for scale in (2, 3, 4):
            splits = open_dataset(name, folder, scale)
            assert splits.name == "flickr2k" and (len(splits.train), len(splits.val)) == (11, 1)
            assert files(splits.train)[0] == ("000001.png", f"X{scale}/000001x{scale}.png")
            assert splits.train[0].lr.parents[1].name == "Flickr2K_LR_bicubic"
        assert files(open_dataset(name, folder, 8).val) == [("000012.png", None)]
    (tmp_path / "Flickr2K/Flickr2K_LR_bicubic/X4/000003x4.png").unlink()
    with pytest.raises(UserError, match="no LR image for .*000003.png"):
        open_dataset(name, tmp_path, 4)
    with pytest.raises(UserError, match="no Flickr2K images in .*expected the folder Flickr2K_HR"):
        open_dataset("flickr2k", tmp_path / "Flickr2K/Flickr2K_HR", 4)


@pytest.mark.parametrize("div2k, flickr2k", [("DIV2K", "Flickr2K"), ("", ""),
                                             ("DIV2K", "")])
def test_df2k_is_both(tmp_path, div2k, flickr2k):
    make_div2k(tmp_path / div2k, (4,))
    make_flickr2k(tmp_path / flickr2k, (4,))
    splits = open_dataset("div2k+flickr2k", tmp_path, 4)
    assert splits.name == "div2k+flickr2k" and names(splits.val) == ["0801"]
    assert names(splits.train) == ["0001", "0002", "0800", *(f"{i:06}" for i in range(1, 13))]
    assert {pair.lr.name for pair in splits.train} >= {"0800x4.png", "000012x4.png"}
    shutil.rmtree(tmp_path / flickr2k / "Flickr2K_HR")
    with pytest.raises(UserError, match="Flickr2K"):
        open_dataset("div2k+flickr2k", tmp_path, 4)


def test_hdf5_is_not_a_set_of_images(tmp_path):
    with pytest.raises(UserError, match="hdf5 holds luma patches, not images"):
        open_dataset("hdf5", tmp_path, 2)


def test_any_folder_is_coco(tmp_path):
    for i in range(20):
        write(tmp_path / f"{i:012}.jpg")
    splits = open_dataset("coco", tmp_path, 4)
    assert splits.name == "coco" and (len(splits.train), len(splits.val)) == (16, 4)
    assert sorted(names(splits.train + splits.val)) == [f"{i:012}" for i in range(20)]
    assert {pair.preparation for pair in splits.train + splits.val} == {Preparation(resize=384)}
    assert {pair.hr_size for pair in splits.train} == {(384, 384)}
    assert len(open_images("coco", tmp_path, 4)) == 20
    sized = open_dataset("coco", tmp_path, 4, choices=Choices(10, 0.5, 1, Preparation(resize=96)))
    assert (len(sized.train), len(sized.val)) == (5, 5) and sized.val[0].hr_size == (96, 96)
    write(tmp_path / "own" / "v.png")
    other = open_dataset("coco", tmp_path, 4, tmp_path / "own")
    assert len(other.train) == 20 and names(other.val) == ["v"]
    assert other.val[0].hr_size == SMALL.shape[:2]
    assert open_dataset("auto", tmp_path, 4).name == "folder"
    with pytest.raises(UserError, match="no images .*empty"):
        (tmp_path / "empty").mkdir()
        open_dataset("coco", tmp_path / "empty", 4)


@pytest.mark.parametrize("inner", ["", "COCO", "images"])
def test_coco_as_published(tmp_path, inner):
    for i in range(10):
        write(tmp_path / inner / "train2017" / f"{i:012}.jpg")
    (tmp_path / inner / "annotations").mkdir()
    drawn = open_dataset("coco", tmp_path, 4)
    assert (len(drawn.train), len(drawn.val)) == (8, 2)
    write(tmp_path / inner / "val2017" / "000000000139.jpg")
    published = open_dataset("coco" if inner == "COCO" else "auto", tmp_path, 4)
    assert published.name == "coco" and len(published.train) == 10
    assert names(published.val) == ["000000000139"]
    again = open_dataset("coco", tmp_path, 4, choices=Choices(train_test_ratio=0.8))
    assert again == drawn


def test_coco_images_of_any_kind_become_squares(tmp_path):
    from common.data.store import ImageStore

    write(tmp_path / "wide.png")
    Image.fromarray(SMALL[..., 0]).save(tmp_path / "grey.jpg")
    store = ImageStore(open_images("coco", tmp_path, 4), 4, tmp_path / "cache")
    assert [hr.shape for hr in store.hr] == [(384, 384, 3)] * 2
    assert [lr.shape for lr in store.lr] == [(96, 96, 3)] * 2
    assert all(np.array_equal(lr, downscale(hr, 4)) for lr, hr in zip(store.lr, store.hr))


@pytest.mark.parametrize("name", ["usr248", "auto"])
@pytest.mark.parametrize("train, val", [("train_val", "TEST"), ("TRAIN_VAL", "test")])
def test_usr248_as_published(tmp_path, name, train, val):
    for split, image in ((train, "a"), (train, "b"), (val, "t")):
        write(tmp_path / split / "hr" / f"{image}_.jpg")
        for scale in (2, 4, 8):
            write(tmp_path / split / f"lr_{scale}x" / f"{image}_.jpg", scale)
    for scale in (2, 4, 8):
        splits = open_dataset(name, tmp_path, scale)
        assert splits.name == "usr248"
        assert files(splits.train) == [("a_.jpg", f"lr_{scale}x/a_.jpg"),
                                       ("b_.jpg", f"lr_{scale}x/b_.jpg")]
        assert files(splits.val) == [("t_.jpg", f"lr_{scale}x/t_.jpg")]
        assert open_images(name, tmp_path, scale) == splits.val
        one = open_dataset(name, tmp_path / train, scale)
        assert (one.name, names(one.train), names(one.val)) == ("usr248", ["a_"], ["b_"])
    with pytest.raises(UserError, match="USR-248 for x3 .*expected hr and lr_3x"):
        open_dataset("usr248", tmp_path, 3)


def test_usr248_of_the_shared_folder(shared):
    folder = shared / "data" / "USR-248"
    for name, data_dir in (("auto", folder), ("usr248", folder), ("usr248", folder.parent)):
        for scale, width in ((2, 320), (4, 160), (8, 80)):
            pairs = open_images(name, data_dir, scale)
            assert len(pairs) == 25 and {pair.hr_size for pair in pairs} == {(480, 640)}
            assert all(pair.lr.name == pair.hr.name for pair in pairs)
            assert {Image.open(pair.lr).size for pair in pairs} == {(width, width * 3 // 4)}
            splits = open_dataset(name, data_dir, scale)
            assert splits.name == "usr248" and splits.train + splits.val == pairs
            assert len(splits.val) == 2


def test_paired_folders_named_one_by_one(tmp_path):
    for i in range(4):
        write(tmp_path / "a" / f"{i}.png")
        write(tmp_path / "b" / f"{i}.png", 4)
    a, b = tmp_path / "a", tmp_path / "b"
    splits = open_folders(a, b, None, None, 4)
    assert names(splits.train) == ["0", "1", "2"] and files(splits.val) == [("3.png", "b/3.png")]
    own = open_folders(a, b, a, b, 4, choices=Choices(number_of_images=2))
    assert names(own.train) == ["0", "1"] and len(own.val) == 4
    drawn = open_folders(a, b, a, b, 4, choices=Choices(train_test_ratio=0.5))
    assert len(drawn.train) == 2 and not {*names(drawn.train)} & {*names(drawn.val)}
    with pytest.raises(UserError, match="--jpeg needs generated LR images"):
        open_folders(a, b, None, None, 4, choices=Choices(preparation=Preparation(jpeg=50)))


def test_one_table_for_help_error_and_docs(tmp_path):
    assert {"demo", "div2k", "paired", "folder", "t91", "bsds500", "set5", "set14", "bsd100",
            "urban100", "coco", "usr248", "hdf5"} <= set(DATASETS)
    with pytest.raises(UserError) as error:
        open_dataset("what", tmp_path, 2)
    root = Path(__file__).resolve().parents[3]
    page = (root / "docs" / "training.md").read_text(encoding="utf-8")
    for name, line in zip(DATASETS, markdown()):
        assert f"{name}: {DATASETS[name].summary}" in describe() and name in str(error.value)
        assert line.startswith(f"- `{name}`: ")
        assert line in page, f"docs/training.md lacks the line of {name}: common.data.sets.markdown"
