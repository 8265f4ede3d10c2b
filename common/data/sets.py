"""The data sets by name: which files of a folder to train on and to validate with, no pixels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

from common.cli import UserError, did_you_mean
from common.data import layouts
from common.data.luma_patches import open_as_images
from common.data.pairs import Pair, hr_size, sub_folders
from common.data.prepare import Preparation
from common.data.split import Choices, at_random, say_once
from common.images import read_size

__all__ = ["DATASETS", "Choices", "DataSet", "Pair", "Preparation", "Splits", "check_sizes",
           "describe", "markdown", "open_dataset", "open_images"]

NO_CHOICES = Choices()


@dataclass(frozen=True)
class Splits:
    """The pairs to train on and to validate with."""

    name: str
    train: list
    val: list


@dataclass(frozen=True)
class DataSet:
    """A row of the table: how a set is called, described, found and opened.

    `open(folder, scale)` returns the pairs (train, val), of which one may be empty where a set has
    no such split; `recognise(folder, scale)` tells whether a folder looks so. `folders` are the
    names its folder usually has: it is looked for under them in the folder that the user names.
    `val_set` is a set that a user may keep beside it to validate with, `train_test_ratio` how it is
    split at random where it brings no validation images.
    """

    name: str
    summary: str
    open: Callable
    recognise: Optional[Callable] = None
    folders: tuple = ()
    needs_folder: bool = True
    val_set: Optional[str] = None
    train_test_ratio: Optional[float] = None


def open_dataset(name, data_dir, scale, val_dir=None, *, choices=NO_CHOICES):
    """Find the training and validation images of a set, or of several.

    Args:
        name: a name of `DATASETS`, or "auto": demo without a folder, else told from its layout.
            Several joined by +, as in "t91+bsds500", are all trained on.
        data_dir: the set's folder, or one that has it as a sub-folder; of several sets the latter,
            or one in which all lie side by side, as DIV2K_train_HR and Flickr2K_HR.
        scale: which LR images are meant.
        val_dir: folder to validate with (all its images, or what `open_images` takes of it), in
            place of the set's own. Without either, the last tenth of the images, 1 to 10 (of
            coco a fifth, at random), is kept out of training; a single image serves for both.
        choices: how many images, split and prepared how. Their ratio splits the images to train on
            and leaves a set's own validation images out.

    Raises:
        UserError: unknown name, missing or empty folder, images that do not pair up, or choices
            that do not fit them or `val_dir`.
    """
    parts = _parts(name, data_dir, scale)
    train, val = _open(parts, scale)
    if not train:
        hint = ("; give its folder as --val_dir to the training on another set"
                if all(entry.open is layouts.open_benchmark for entry, _ in parts) else "")
        raise UserError(f"no training images in {data_dir}, only some to validate with{hint}")
    place, elsewhere = data_dir or "the set", []
    if val_dir is not None:
        if choices.train_test_ratio:
            raise UserError(f"--train_test_ratio {choices.train_test_ratio} keeps images of the "
                            f"set to validate with, and --val_dir {val_dir} names others; give one "
                            "of them")
        elsewhere = choices.prepared_elsewhere(open_images("auto", val_dir, scale), val_dir)
    elif not val and not choices.train_test_ratio:
        elsewhere = choices.prepared_elsewhere(*_val_beside(parts, data_dir, scale))
    if elsewhere:
        train, val = choices.prepared(choices.first_images(train, place)), elsewhere
    else:
        ratio = parts[0][0].train_test_ratio if len(parts) == 1 else None
        train, val = choices.split(train, val, place, ratio)
    check_sizes([*train, *val], scale)
    return Splits("+".join(entry.name for entry, _ in parts), train, val)


def open_images(name, data_dir, scale, *, choices=NO_CHOICES):
    """The images of a set that an evaluation uses, as a list of `Pair`.

    These are its validation images; where it has no such split, all of them, or with a
    `train_test_ratio` in `choices` the images that it keeps from training. Arguments and errors are
    those of `open_dataset`.
    """
    train, val = _open(_parts(name, data_dir, scale), scale)
    train = choices.first_images(train, data_dir or "the set")
    if choices.train_test_ratio and train:
        val = at_random(train, choices.train_test_ratio, choices.seed)[1]
    pairs = choices.prepared(val or train)
    check_sizes(pairs, scale)
    return pairs


def describe():
    """The table as text for help messages."""
    return "; ".join(f"{entry.name}: {entry.summary}" for entry in DATASETS.values())


def markdown():
    """The table as a list of Markdown lines, for the README."""
    return [f"- `{entry.name}`: {entry.summary}" for entry in DATASETS.values()]


def _parts(name, data_dir, scale):
    """The (entry, folder) of every set that a name joins."""
    names = name.split("+")
    entries = [_entry(each, data_dir, scale, len(names) > 1) for each in names]
    return [(entry, _folder(entry, data_dir, scale, len(names) > 1)) for entry in entries]


def _entry(name, data_dir, scale, joined):
    if name == "auto" and not joined:
        if data_dir is None:
            return DATASETS["demo"]
        folder = _existing(data_dir)
        return next(entry for entry in DATASETS.values()
                    if entry.recognise and entry.recognise(folder, scale))
    if name not in DATASETS:
        raise UserError(f"no data set {name!r}{did_you_mean(name.lower(), DATASETS)}; known are "
                        f"auto, {', '.join(DATASETS)}, and several of them joined by +")
    return DATASETS[name]


def _folder(entry, data_dir, scale, joined):
    if not entry.needs_folder:
        return None
    if data_dir is None:
        raise UserError(f"the data set {entry.name} needs --data_dir")
    folder = _existing(data_dir)
    inside = sub_folders(folder)
    found = next((inside[name.lower()] for name in entry.folders if name.lower() in inside), None)
    if found:
        return found
    if joined and not entry.folders:
        raise UserError(f"the data set {entry.name} has no folder name of its own and cannot be "
                        "joined with others")
    if joined and entry.recognise and entry.recognise(folder, scale):
        return folder
    if joined:
        raise UserError(f"no {entry.name} in {folder}: expected the sub-folder "
                        f"{' or '.join(entry.folders)}")
    owner = next((other for other in DATASETS.values() if _is_named(folder, other)), None)
    if entry.folders and owner and not _is_named(folder, entry):
        raise UserError(f"no {entry.name} in {folder}, which is the folder of {owner.name} by its "
                        f"name; correct --dataset or --data_dir")
    return folder


def _is_named(folder, entry):
    return folder.resolve().name.lower() in [name.lower() for name in entry.folders]


def _existing(data_dir):
    folder = Path(data_dir)
    if not folder.exists():
        raise UserError(f"no such folder: {folder}; give the data set's folder")
    if not folder.is_dir():
        raise UserError(f"{folder} is a file; give the folder that holds the images")
    return folder


def _open(parts, scale):
    train, val = [], []
    for entry, folder in parts:
        for pairs, more in zip((train, val), entry.open(folder, scale)):
            pairs += more
    return train, val


def _val_beside(parts, data_dir, scale):
    """(validation images, their folder) of a set that lies beside the sets that have none."""
    for entry, _ in parts:
        inside = sub_folders(Path(data_dir)) if entry.val_set else {}
        other = DATASETS.get(entry.val_set)
        for name in other.folders if other else ():
            if name.lower() in inside:
                folder = inside[name.lower()]
                say_once(f"{entry.name} has no validation images here: validating on {folder}")
                return other.open(folder, scale)[1], folder
    return [], None


def check_sizes(pairs, scale):
    """Raise a `UserError` for the first LR image whose size does not fit that of its HR image."""
    for pair in pairs:
        if pair.lr is None:
            continue
        lr, hr = read_size(pair.lr), hr_size(pair)
        if (hr[0] // scale, hr[1] // scale) != lr:
            raise UserError(f"{pair.lr} ({lr[1]}x{lr[0]}) is not {pair.hr} ({hr[1]}x{hr[0]}) "
                            f"reduced by {scale}; check --scale and the folders")


def _benchmark(name, title, *folders):
    def recognise(folder, scale):
        return _is_named(folder, DATASETS[name]) and layouts.is_benchmark(folder, scale)

    return DataSet(name, f"{title}, to evaluate on: HR and LR_bicubic/X2, or image_SRF_2",
                   layouts.open_benchmark, recognise, folders)


# In this order `auto` asks them.
DATASETS = {entry.name: entry for entry in (
    DataSet("demo", "the colour photographs inside scikit-image, no download", layouts.open_demo,
            needs_folder=False),
    _benchmark("set5", "Set5", "Set5"),
    _benchmark("set14", "Set14", "Set14"),
    _benchmark("bsd100", "BSD100", "BSD100", "B100", "BSDS100"),
    _benchmark("urban100", "Urban100", "Urban100"),
    DataSet("t91", "the 91 images of Yang et al., a folder", layouts.open_t91, None,
            ("T91", "91-image", "91-images")),
    DataSet("bsds500", "BSDS500 as published; trains on images/train and images/test, never on "
            "images/val, which is BSD100", layouts.open_bsds500, layouts.is_bsds500,
            ("BSDS500", "BSR")),
    DataSet("bsds500_256", "the same, the middle 256x256 pixels of each image",
            layouts.open_bsds500_256, None, ("BSDS500", "BSR")),
    DataSet("coco", "COCO's train2017 and val2017, or any folder of images, resized to 384x384 "
            "once; without val2017 a fifth, drawn from the seed, is kept to validate with",
            layouts.open_coco, layouts.is_coco, ("COCO", "COCO2017"), train_test_ratio=0.8),
    DataSet("usr248", "USR-248, underwater: hr, lr_2x, lr_4x and lr_8x in train_val and TEST, or "
            "in one folder", layouts.open_usr248, layouts.is_usr248, ("USR-248", "USR248")),
    DataSet("paired", "HR and LR folders, e.g. train, train_X4, test, test_X4, or HR and LR",
            layouts.open_paired, layouts.is_paired),
    DataSet("div2k", "DIV2K as published, or one folder told apart by train and valid in names",
            layouts.open_div2k, layouts.is_div2k, ("DIV2K",), val_set="bsd100"),
    DataSet("flickr2k", "Flickr2K as published, all to train on: Flickr2K_HR and "
            "Flickr2K_LR_bicubic/X4; DF2K is div2k+flickr2k",
            layouts.open_flickr2k, layouts.is_flickr2k, ("Flickr2K",), val_set="bsd100"),
    DataSet("hdf5", "luma patches such as 91-image_x2.h5 and Set5_x2.h5, for luma models only",
            open_as_images),
    DataSet("folder", "HR images alone; LR images are made by bicubic reduction, or as --blur, "
            "--reduction, --noise and --jpeg say",
            layouts.open_folder, lambda folder, scale: True),
)}
