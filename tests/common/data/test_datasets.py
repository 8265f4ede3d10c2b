import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.cli import UserError
from common.data.bicubic import downscale
from common.data.datasets import describe, open_dataset, open_images

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
    code = ("import sys; from common.data.datasets import open_dataset; open_dataset('demo', None, "
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
    with pytest.raises(UserError, match="a.png cannot be read"):
        open_images("paired", tmp_path, 3)
