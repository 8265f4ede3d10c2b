"""Which data set has which files: pairs of paths, no pixels."""

import difflib
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

from common.cli import UserError
from common.images import IMAGE_SUFFIXES, list_images, read_size

DEMO_TRAIN = ("coffee.png", "hubble_deep_field.jpg", "ihc.png", "motorcycle_left.png",
              "motorcycle_right.png", "retina.jpg", "rocket.jpg")
DEMO_VAL = ("astronaut.png", "chelsea.png")
VAL_WORDS = ("valid", "val", "test")
LAST_IMAGES = 10  # of a folder without a validation set, at most


@dataclass(frozen=True)
class Pair:
    """An HR image and its LR image; without one (None) it is made by bicubic reduction."""

    name: str
    hr: Path
    lr: Optional[Path] = None


@dataclass(frozen=True)
class Splits:
    """The pairs to train on and to validate with."""

    name: str
    train: list
    val: list


@dataclass(frozen=True)
class DataSet:
    """A row of the table: how a set is called, described and opened.

    `open(folder, scale)` returns (train, val); `images(folder, scale)`, where it differs from val,
    the pairs that an evaluation is to use; `recognise(folder, scale)` whether a folder looks so.
    """

    name: str
    summary: str
    open: Callable
    images: Optional[Callable] = None
    recognise: Optional[Callable] = None
    needs_folder: bool = True


def open_dataset(name, data_dir, scale, val_dir=None):
    """Find the training and validation images of a set.

    Args:
        name: a name of `DATASETS`, or "auto": demo without a folder, else told from its layout.
        data_dir: the set's folder.
        scale: which LR images are meant.
        val_dir: folder of HR images to validate with, in place of the set's own.

    Raises:
        UserError: unknown name, missing or empty folder, or images that do not pair up.
    """
    entry = _entry(name, data_dir, scale)
    train, val = entry.open(_folder(entry, data_dir), scale)
    if val_dir is not None:
        val = _hr_only(list_images(val_dir))
    _check_sizes([*train, *val], scale)
    return Splits(entry.name, train, val)


def open_images(name, data_dir, scale):
    """The images of a set that an evaluation uses, as a list of `Pair`; errors as `open_dataset`."""
    entry = _entry(name, data_dir, scale)
    folder = _folder(entry, data_dir)
    pairs = entry.images(folder, scale) if entry.images else entry.open(folder, scale)[1]
    _check_sizes(pairs, scale)
    return pairs


def describe():
    """The table as text for help and error messages."""
    return "; ".join(f"{entry.name}: {entry.summary}" for entry in DATASETS.values())


def _entry(name, data_dir, scale):
    if name == "auto":
        if data_dir is None:
            return DATASETS["demo"]
        folder = _existing(data_dir)
        return next(entry for entry in DATASETS.values()
                    if entry.recognise and entry.recognise(folder, scale))
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, 1, 0.5)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise UserError(f"no data set {name!r}{hint}; known are {describe()}")
    return DATASETS[name]


def _folder(entry, data_dir):
    if not entry.needs_folder:
        return None
    if data_dir is None:
        raise UserError(f"the data set {entry.name} needs --data_dir")
    return _existing(data_dir)


def _existing(data_dir):
    folder = Path(data_dir)
    if not folder.is_dir():
        raise UserError(f"no folder {folder}; name the data set's folder with --data_dir")
    return folder


def _check_sizes(pairs, scale):
    for pair in pairs:
        if pair.lr is None:
            continue
        lr, hr = read_size(pair.lr), read_size(pair.hr)
        if (hr[0] // scale, hr[1] // scale) != lr:
            raise UserError(f"{pair.lr} ({lr[1]}x{lr[0]}) is not {pair.hr} ({hr[1]}x{hr[0]}) "
                            f"reduced by {scale}; check --scale and the folders")


def _hr_only(paths):
    return [Pair(path.stem, path) for path in paths]


# ---- demo ---------------------------------------------------------------------------------------

def _open_demo(_, scale):
    folder = Path(importlib.util.find_spec("skimage").origin).parent / "data"
    pairs = [_hr_only([folder / name for name in names]) for names in (DEMO_TRAIN, DEMO_VAL)]
    for pair in pairs[0] + pairs[1]:
        if not pair.hr.is_file():
            raise UserError(f"this scikit-image lacks the photograph {pair.hr}; reinstall it")
    return pairs


# ---- DIV2K --------------------------------------------------------------------------------------

def _open_div2k(folder, scale):
    """The published layout, or the one of ModelZoo: `train` and `valid` in folder or file names."""
    splits = []
    for word in ("train", "valid"):
        published = folder / f"DIV2K_{word}_HR"
        if published.is_dir():
            lr = folder / f"DIV2K_{word}_LR_bicubic" / f"X{scale}"
            hr = list_images(published)
            splits.append(pair_by_name(hr, list_images(lr)) if lr.is_dir() else _hr_only(hr))
        else:
            splits.append(_hr_only(_named(folder, word)))
    if not splits[0]:
        raise UserError(f"no training images in {folder}: neither DIV2K_train_HR nor images with "
                        "`train` in their folder's or file's name")
    return splits


def _named(folder, word):
    """The HR images below a folder whose sub-folder or file name has a word."""
    found = []
    for path in sorted(folder.rglob("*")):
        names = path.relative_to(folder).parts
        reduced = any(re.search(r"(^|_)LR(_|$)|^[xX]\d$|_[xX]\d$", part) for part in names[:-1])
        if is_image(path) and not reduced and any(word in part.lower() for part in names):
            found.append(path)
    return found


def _is_div2k(folder, scale):
    return (folder / "DIV2K_train_HR").is_dir() or (
        bool(_named(folder, "train") and _named(folder, "valid")) and not _is_paired(folder, scale))


# ---- pairs of HR and LR folders -----------------------------------------------------------------

def _open_paired(folder, scale):
    train = _paired_split(folder, scale, ("train",)) or _paired_split(folder, scale, ("",))
    if not train:
        raise UserError(f"no pair of HR and LR folders in {folder}: expected train and "
                        f"train_X{scale}, or HR and LR")
    val = _paired_split(folder, scale, VAL_WORDS)
    return (train, val) if val else _hold_out(train)


def _paired_images(folder, scale):
    pairs = (_paired_split(folder, scale, VAL_WORDS) or _paired_split(folder, scale, ("",))
             or _paired_split(folder, scale, ("train",)))
    return pairs or _open_paired(folder, scale)[1]


def _paired_split(folder, scale, words):
    """The pairs of the first of some splits that has both folders; an empty word is no split."""
    folders = {path.name.lower(): path for path in folder.iterdir() if path.is_dir()}
    for word in words:
        hr_names = (f"{word}_hr", f"hr_{word}", word) if word else ("hr", "gt")
        lr_names = [f"{base}{end}" for base in ((f"{word}_lr", f"lr_{word}", word) if word
                                                else ("lr", "lq"))
                    for end in (f"_x{scale}", f"x{scale}", f"_bicubic_x{scale}", "")]
        for hr in (folders[name] for name in hr_names if name in folders):
            for lr in (folders[name] for name in lr_names if name in folders):
                inner = next((path for path in lr.iterdir()
                              if path.is_dir() and path.name.lower() == f"x{scale}"), lr)
                if lr != hr:
                    return pair_by_name(list_images(hr), list_images(inner))
    return []


def _is_paired(folder, scale):
    return any(_has_pair(folder, scale, words) for words in (("train",), ("",)))


def _has_pair(folder, scale, words):
    try:
        return bool(_paired_split(folder, scale, words))
    except UserError:  # the folders are there; opening them will say what is wrong
        return True


def pair_by_name(hr, lr):
    """Pair images by their names without suffixes such as x2, _x2, _LR or _SRF_2_HR.

    Raises:
        UserError: an image without its partner, which is named.
    """
    by_key = {_key(path): path for path in lr}
    pairs = []
    for path in hr:
        partner = by_key.pop(_key(path), None)
        if partner is None:
            raise UserError(f"no LR image for {path} in {lr[0].parent}")
        pairs.append(Pair(path.stem, path, partner))
    if by_key:
        raise UserError(f"no HR image for {next(iter(by_key.values()))} in {hr[0].parent}")
    return pairs


def _key(path):
    return re.sub(r"([-_]?[xX]\d+|_SRF_\d+|[-_](LR|HR|lr|hr|LQ|GT|lq|gt))+$", "", path.stem)


# ---- a folder of HR images ----------------------------------------------------------------------

def _open_folder(folder, scale):
    folders = {path.name.lower(): path for path in folder.iterdir() if path.is_dir()}
    val = next((folders[word] for word in VAL_WORDS if word in folders), None)
    if "train" in folders and not any(is_image(path) for path in folder.iterdir()):
        train = _hr_only(list_images(folders["train"]))
        return (train, _hr_only(list_images(val))) if val else _hold_out(train)
    train = _hr_only(list_images(folder))
    return (train, _hr_only(list_images(val))) if val else _hold_out(train)


def _folder_images(folder, scale):
    return _hr_only(list_images(folder))


def _hold_out(pairs):
    """Split off the last tenth, 1 to `LAST_IMAGES`; a single image serves for both."""
    count = max(1, min(LAST_IMAGES, len(pairs) // 10))
    return (pairs[:-count] or pairs, pairs[-count:])


DATASETS = {entry.name: entry for entry in (
    DataSet("demo", "the colour photographs inside scikit-image, no download", _open_demo,
            needs_folder=False),
    DataSet("paired", "HR and LR folders, e.g. train, train_X4, test, test_X4, or HR and LR",
            _open_paired, _paired_images, _is_paired),
    DataSet("div2k", "DIV2K as published, or one folder told apart by train and valid in names",
            _open_div2k, None, _is_div2k),
    DataSet("folder", "HR images alone; LR images are made by bicubic reduction", _open_folder,
            _folder_images, lambda folder, scale: True),
)}


def is_image(path):
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
