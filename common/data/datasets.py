"""Which data set has which files: pairs of paths, no pixels."""

import difflib
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

from common.cli import UserError
from common.images import find_images, list_images, read_size

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

    `open(folder, scale)` returns the pairs (train, val), of which one may be empty where a set has
    no such split; `recognise(folder, scale)` tells whether a folder looks so.
    """

    name: str
    summary: str
    open: Callable
    recognise: Optional[Callable] = None
    needs_folder: bool = True


def open_dataset(name, data_dir, scale, val_dir=None):
    """Find the training and validation images of a set.

    Args:
        name: a name of `DATASETS`, or "auto": demo without a folder, else told from its layout.
        data_dir: the set's folder.
        scale: which LR images are meant.
        val_dir: folder to validate with (all its images, or what `open_images` takes of it), in
            place of the set's own. Without either, the last tenth of the images, 1 to 10, is kept
            out of training; a single image serves for both.

    Raises:
        UserError: unknown name, missing or empty folder, or images that do not pair up.
    """
    entry = _entry(name, data_dir, scale)
    train, val = entry.open(_folder(entry, data_dir), scale)
    if not train:
        raise UserError(f"no training images in {data_dir}, only some to validate with")
    if val_dir is not None:
        val = open_images("auto", val_dir, scale)
    elif not val:
        train, val = _hold_out(train)
    _check_sizes([*train, *val], scale)
    return Splits(entry.name, train, val)


def open_images(name, data_dir, scale):
    """The images of a set that an evaluation uses, as a list of `Pair`.

    These are its validation images; where it has no such split, all of them. Arguments and errors
    are those of `open_dataset`.
    """
    entry = _entry(name, data_dir, scale)
    train, val = entry.open(_folder(entry, data_dir), scale)
    pairs = val or train
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
        near = difflib.get_close_matches(name.lower(), [*DATASETS, "auto"], 1, 0.5)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise UserError(f"no data set {name!r}{hint}; known are auto; {describe()}")
    return DATASETS[name]


def _folder(entry, data_dir):
    if not entry.needs_folder:
        return None
    if data_dir is None:
        raise UserError(f"the data set {entry.name} needs --data_dir")
    return _existing(data_dir)


def _existing(data_dir):
    folder = Path(data_dir)
    if not folder.exists():
        raise UserError(f"no such folder: {folder}; give the data set's folder")
    if not folder.is_dir():
        raise UserError(f"{folder} is a file; give the folder that holds the images")
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
    package = importlib.util.find_spec("skimage")  # found without the seconds of an import
    if package is None:
        raise UserError("the demo photographs are in scikit-image: pip install scikit-image")
    folder = Path(package.origin).parent / "data"
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
    if not any(splits):
        raise UserError(f"no DIV2K images in {folder}: neither DIV2K_train_HR nor images with "
                        "`train` and `valid` in their sub-folder's or file's name")
    return splits


def _named(folder, word):
    """The HR images of a folder that have a word in the name of their sub-folder or file."""
    found = [path for path in find_images(folder) if word in path.name.lower()]
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        if word in inner.name.lower() and not _LOW_RESOLUTION.search(inner.name):
            found += find_images(inner)
    return found


def _is_div2k(folder, scale):
    return any((folder / f"DIV2K_{word}_HR").is_dir() for word in ("train", "valid")) or bool(
        _named(folder, "train") and _named(folder, "valid"))


# ---- pairs of HR and LR folders -----------------------------------------------------------------

def _open_paired(folder, scale):
    train = _paired_split(folder, scale, ("train",)) or _paired_split(folder, scale, ("",))
    val = _paired_split(folder, scale, VAL_WORDS)
    if not train and not val:
        raise UserError(f"no pair of HR and LR folders in {folder}: expected train and "
                        f"train_X{scale}, or HR and LR")
    return train, val


def _paired_split(folder, scale, words):
    """The pairs of the first of some splits that has both folders; an empty word is no split."""
    folders = {path.name.lower(): path for path in folder.iterdir() if path.is_dir()}
    for word in words:
        nested = _paired_split(folders[word], scale, ("",)) if word in folders else []
        if nested:
            return nested
        hr_names = (f"{word}_hr", f"hr_{word}", word) if word else ("hr", "gt")
        lr_names = [f"{base}{end}" for base in ((f"{word}_lr", f"lr_{word}", word) if word
                                                else ("lr", "lq"))
                    for end in (f"_x{scale}", f"x{scale}", f"_{scale}x", f"_bicubic_x{scale}",
                                "_bicubic", "")]
        for hr in (folders[name] for name in hr_names if name in folders):
            for lr in (folders[name] for name in lr_names if name in folders):
                inner = next((path for path in lr.iterdir()
                              if path.is_dir() and path.name.lower() == f"x{scale}"), lr)
                if lr != hr:
                    return pair_by_name(list_images(hr), list_images(inner))
    return []


def _is_paired(folder, scale):
    return any(_has_pair(folder, scale, words) for words in (("train",), ("",), VAL_WORDS))


def _has_pair(folder, scale, words):
    try:
        return bool(_paired_split(folder, scale, words))
    except UserError:  # the folders are there; opening them will say what is wrong
        return True


def pair_by_name(hr, lr):
    """Pair images by their names, less suffixes such as x2, _x2, _LR or _SRF_2_HR where needed.

    Raises:
        UserError: an image without its partner, or two of one name; it is named.
    """
    attempts = [_keyed(hr, lr, *suffixes) for suffixes in _SUFFIXES]
    for hr_key, lr_key, common in attempts:
        if len(common) == len(hr) == len(lr):
            partners = {key: path for path, key in lr_key.items()}
            return [Pair(path.stem, path, partners[hr_key[path]]) for path in hr]
    hr_key, lr_key, common = max(attempts, key=lambda attempt: len(attempt[2]))
    raise UserError(next(_mismatches(hr_key, lr_key, common)))


def _keyed(hr, lr, hr_suffix, lr_suffix):
    hr_key = {path: hr_suffix.sub("", path.stem) for path in hr}
    lr_key = {path: lr_suffix.sub("", path.stem) for path in lr}
    return hr_key, lr_key, set(hr_key.values()) & set(lr_key.values())


def _mismatches(hr_key, lr_key, common):
    for keys, others, kind in ((hr_key, lr_key, "LR"), (lr_key, hr_key, "HR")):
        seen = {}
        for path, key in keys.items():
            if key in seen:
                yield f"{seen[key]} and {path} have the same name; keep one of them"
            if key not in common:
                yield f"no {kind} image for {path} in {next(iter(others)).parent}"
            seen[key] = path


# Tried in order, of HR and of LR names: what need not be taken off stays, as fox1 is not fox2.
_NOTHING, _SCALE = re.compile(r"$"), re.compile(r"[-_]?[xX]\d+$|[-_]\d+[xX]$")
_ROLE = re.compile(r"([-_]?[xX]\d+|[-_]\d+[xX]|_SRF_\d+|[-_](LR|HR|LQ|GT))+$", re.IGNORECASE)
_SUFFIXES = (_NOTHING, _NOTHING), (_NOTHING, _SCALE), (_ROLE, _ROLE)
_LOW_RESOLUTION = re.compile(r"(^|[-_])(lr|lq)([-_]|$)|[-_]?x\d$|[-_]\dx$", re.IGNORECASE)


# ---- a folder of HR images ----------------------------------------------------------------------

def _open_folder(folder, scale):
    folders = {path.name.lower(): path for path in folder.iterdir() if path.is_dir()}
    val = next((folders[word] for word in VAL_WORDS if word in folders), None)
    if "train" in folders and not find_images(folder):
        folder = folders["train"]
    return _hr_only(list_images(folder)), _hr_only(list_images(val)) if val else []


def _hold_out(pairs):
    """Split off the last tenth, 1 to `LAST_IMAGES`; a single image serves for both."""
    count = max(1, min(LAST_IMAGES, len(pairs) // 10))
    return (pairs[:-count] or pairs, pairs[-count:])


DATASETS = {entry.name: entry for entry in (
    DataSet("demo", "the colour photographs inside scikit-image, no download", _open_demo,
            needs_folder=False),
    DataSet("paired", "HR and LR folders, e.g. train, train_X4, test, test_X4, or HR and LR",
            _open_paired, _is_paired),
    DataSet("div2k", "DIV2K as published, or one folder told apart by train and valid in names",
            _open_div2k, _is_div2k),
    DataSet("folder", "HR images alone; LR images are made by bicubic reduction", _open_folder,
            lambda folder, scale: True),
)}
