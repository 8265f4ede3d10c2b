"""The data sets by name: which files of a folder to train on and to validate with."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Callable, Optional

from common.cli import UserError, did_you_mean
from common.data import layouts
from common.data.layouts import sub_folders
from common.data.pairs import measure, pair_by_name, readable
from common.data.split import Choices, log_once
from common.data.which_lr import say_which_lr
from common.files import existing_folder
from common.images.files import list_images

NO_CHOICES = Choices()
LUMA_PATCHES = "hdf5"


@dataclass(frozen=True)
class Splits:
    """The measured pairs to train on and to validate with."""

    name: str
    train: list
    val: list


@dataclass(frozen=True)
class DataSet:
    """A row of the table: how a data set is named, described, recognised and opened.

    Args:
        name, summary: for users.
        open: `open(folder, scale)` returns the pairs (train, val); either may be empty where a set
            has no such split. None: the set has no images.
        recognise: `recognise(folder, scale)` is true of a folder with the set's layout.
        folders: usual names of its folder, by which it is found inside --data_dir.
        needs_folder: whether it is found in --data_dir at all.
        val_set: a set which validates this one if it lies beside it.
        train_test_ratio: how images are drawn for validation where the set has none.
    """

    name: str
    summary: str
    open: Optional[Callable]
    recognise: Optional[Callable] = None
    folders: tuple = ()
    needs_folder: bool = True
    val_set: Optional[str] = None
    train_test_ratio: Optional[float] = None

    def find_in(self, folder: Path) -> Optional[Path]:
        """The sub-folder that has one of the set's usual names; None where there is none."""
        inside = sub_folders(folder)
        return next((inside[name.lower()] for name in self.folders if name.lower() in inside), None)


def open_dataset(name: str, data_dir, scale: int, val_dir=None, *,
                 choices: Choices = NO_CHOICES, headers: Optional[dict] = None) -> Splits:
    """Find the training and validation images of a data set, or of several.

    Args:
        name: a name in `DATASETS`, several joined by + as in "t91+bsds500", or "auto": recognised
            by the folder's layout; demo without a folder.
        data_dir: the set's folder, or one that contains it; several sets are sub-folders, or share
            the folder, as DIV2K_train_HR and Flickr2K_HR do.
        scale: how many times larger the HR images are.
        val_dir: folder with validation images (as chosen by `open_images`), instead of the set's
            own. Without either, the last tenth of the images, 1 to 10 (of coco a fifth, at random),
            is held out of training; a single image serves as both.
        choices: how many images, their split and their preparation.
        headers: image sizes that are known; see `common.data.pairs.measure`.

    Raises:
        UserError: unknown name, missing or empty folder, images that do not pair up or fit the
            scale, or choices that do not fit them or `val_dir`.
    """
    parts = _parts(name, data_dir, scale)
    train, val = _open(parts, scale)
    if not train:
        hint = ("; name its folder with --val_dir while training on another data set"
                if all(entry.open is layouts.open_benchmark for entry, _ in parts) else "")
        raise UserError(f"no training images in {data_dir}, only validation images{hint}")
    elsewhere = []
    if val_dir is not None:
        if choices.train_test_ratio:
            raise UserError(f"--train_test_ratio {choices.train_test_ratio} and --val_dir {val_dir}"
                            " both choose the validation images; use one of them")
        elsewhere = choices.prepared_elsewhere(_evaluated("auto", val_dir, scale), val_dir)
    elif not val and not choices.train_test_ratio:
        elsewhere = choices.prepared_elsewhere(*_val_beside(parts, data_dir, scale))
    say_which_lr(train + (elsewhere or val), scale)
    ratio = parts[0][0].train_test_ratio if len(parts) == 1 else None
    train, val = choices.split(train, elsewhere or val, data_dir or "the set", ratio)
    return _measured("+".join(entry.name for entry, _ in parts), choices.prepared(train),
                     elsewhere or choices.prepared(val), scale, headers, choices.skip_bad)


def open_folders(gt, lq, val_gt, val_lq, scale: int, *, choices: Choices = NO_CHOICES,
                 headers: Optional[dict] = None) -> Splits:
    """Pair the images of HR and LR folders that are named one by one.

    Args:
        gt, lq: folders of the HR and LR images to train on.
        val_gt, val_lq: folders of the images to validate with; None: as in `open_dataset`.
        scale, choices, headers: as in `open_dataset`.

    Raises:
        UserError: a folder is not named or does not exist, or images do not pair up or fit.
    """
    train, val = _paired(gt, lq, "gt_folder", "lq_folder"), []
    if val_gt or val_lq:
        val = _paired(val_gt, val_lq, "val_gt_folder", "val_lq_folder")
    train, val = choices.split(train, val, gt)
    return _measured("paired", choices.prepared(train), choices.prepared(val), scale, headers,
                     choices.skip_bad)


def open_images(name: str, data_dir, scale: int) -> list:
    """The images of a data set that an evaluation uses, as a list of measured `Pair`.

    These are its validation images, or all its images if it has none. Arguments and errors are as
    in `open_dataset`.
    """
    pairs = _evaluated(name, data_dir, scale)
    say_which_lr(pairs, scale)
    return measure(pairs, scale)


def describe() -> str:
    """The table as text for help messages."""
    return "; ".join(f"{entry.name}: {entry.summary}" for entry in DATASETS.values())


def markdown() -> list:
    """The table as a list of Markdown lines, for the README."""
    return [f"- `{entry.name}`: {entry.summary}" for entry in DATASETS.values()]


def _measured(name, train, val, scale, headers, skip_bad):
    headers = {} if headers is None else headers
    if skip_bad:
        train, val = readable(train, scale), readable(val, scale)
        if not train:
            raise UserError("--skip_bad leaves no training image")
    return Splits(name, measure(train, scale, headers), measure(val, scale, headers))


def _paired(gt, lq, gt_name, lq_name):
    for name, other, folder in ((gt_name, lq_name, gt), (lq_name, gt_name, lq)):
        if not folder:
            raise UserError(f"--{other} needs --{name} beside it")
    return pair_by_name(list_images(gt), list_images(lq))


def _evaluated(name, data_dir, scale):
    train, val = _open(_parts(name, data_dir, scale), scale)
    return val or train


def _parts(name, data_dir, scale):
    """The (entry, folder) of each data set in a name."""
    names = name.split("+")
    entries = [_entry(each, data_dir, scale, len(names) > 1) for each in names]
    return [(entry, _folder(entry, data_dir, scale, len(names) > 1)) for entry in entries]


def _entry(name, data_dir, scale, joined):
    if name == "auto" and not joined:
        if data_dir is None:
            return DATASETS["demo"]
        folder = existing_folder(data_dir)
        return next(entry for entry in DATASETS.values()
                    if entry.recognise and entry.recognise(folder, scale))
    if name not in DATASETS:
        raise UserError(f"no data set {name!r}{did_you_mean(name.lower(), DATASETS)}; choose auto "
                        f"or {', '.join(DATASETS)}, or join several with +")
    if DATASETS[name].open is None:
        raise UserError(f"the data set {name} holds luma patches, not images; it can only train a "
                        "model that works on luma, and cannot be joined with others")
    return DATASETS[name]


def _folder(entry, data_dir, scale, joined):
    if not entry.needs_folder:
        return None
    if data_dir is None:
        raise UserError(f"the data set {entry.name} needs --data_dir")
    folder = existing_folder(data_dir)
    found = entry.find_in(folder)
    if found or (joined and entry.folders and entry.recognise and entry.recognise(folder, scale)):
        return found or folder
    if joined and not entry.folders:
        raise UserError(f"the data set {entry.name} has no folder name of its own and cannot be "
                        "joined with others")
    if joined:
        raise UserError(f"no {entry.name} in {folder}: expected the sub-folder "
                        f"{' or '.join(entry.folders)}")
    owner = next((other for other in DATASETS.values() if _is_named(folder, other.folders)), None)
    if entry.folders and owner and not _is_named(folder, entry.folders):
        raise UserError(f"no {entry.name} in {folder}, which by its name is the folder of "
                        f"{owner.name}; correct --dataset or --data_dir")
    return folder


def _is_named(folder, names):
    return folder.resolve().name.lower() in [name.lower() for name in names]


def _open(parts, scale):
    train, val = [], []
    for entry, folder in parts:
        for pairs, more in zip((train, val), entry.open(folder, scale)):
            pairs += more
    return train, val


def _val_beside(parts, data_dir, scale):
    """(validation images, their folder) of a data set beside those that have none."""
    for entry, _ in parts:
        other = DATASETS.get(entry.val_set)
        folder = other.find_in(Path(data_dir)) if other else None
        if folder:
            log_once(f"{entry.name} has no validation images here: validating on {folder}")
            return other.open(folder, scale)[1], folder
    return [], None


def _benchmark(name, title, *folders):
    def recognise(folder, scale):
        return _is_named(folder, folders) and layouts.is_benchmark(folder)

    return DataSet(name, f"{title}, for evaluation: HR and LR_bicubic/X2, or image_SRF_2",
                   layouts.open_benchmark, recognise, folders)


# `auto` tries them in this order.
DATASETS = {entry.name: entry for entry in (
    DataSet("demo", "colour photographs from scikit-image, no download", layouts.open_demo,
            needs_folder=False),
    _benchmark("set5", "Set5", "Set5"),
    _benchmark("set14", "Set14", "Set14"),
    _benchmark("bsd100", "BSD100", "BSD100", "B100", "BSDS100"),
    _benchmark("urban100", "Urban100", "Urban100"),
    DataSet("t91", "the 91 images of Yang et al., in one folder", layouts.open_t91, None,
            ("T91", "91-image", "91-images")),
    DataSet("bsds500", "BSDS500 as published; trains on images/train and images/test, never on "
            "images/val, which is BSD100", layouts.open_bsds500, layouts.find_bsds500,
            ("BSDS500", "BSR")),
    DataSet("bsds500_256", "the same, only the central 256x256 pixels of each image",
            layouts.open_bsds500_256, None, ("BSDS500", "BSR")),
    DataSet("coco", "COCO's train2017 and val2017, or any folder of images, resized to 384x384; "
            "without val2017 a fifth of the images, drawn from the seed, is used for validation",
            layouts.open_coco, layouts.find_coco, ("COCO", "COCO2017"), train_test_ratio=0.8),
    DataSet("usr248", "USR-248, underwater: hr, lr_2x, lr_4x and lr_8x, in train_val and TEST or "
            "in one folder", layouts.open_usr248, layouts.is_usr248, ("USR-248", "USR248")),
    DataSet("paired", "HR and LR folders: train, train_X4, test and test_X4, or HR and LR",
            layouts.open_paired, layouts.is_paired),
    DataSet("div2k", "DIV2K as published, or one folder with train and valid in file names",
            layouts.open_div2k, layouts.is_div2k, ("DIV2K",), val_set="bsd100"),
    *(DataSet(f"div2k_{track}", f"DIV2K with the LR images of DIV2K_train_LR_{track}{rest}",
              partial(layouts.open_div2k, track=track), layouts.is_div2k, ("DIV2K",))
      for track, rest in (("unknown", "/X4"), ("mild", ", only x4"), ("difficult", ", only x4"),
                          ("wild", ", only x4; each HR image has four"))),
    DataSet("flickr2k", "Flickr2K as published, all for training: Flickr2K_HR and "
            "Flickr2K_LR_bicubic/X4; DF2K is div2k+flickr2k",
            layouts.open_flickr2k, layouts.find_flickr2k, ("Flickr2K",), val_set="bsd100"),
    DataSet("flickr2k_unknown", "Flickr2K with the LR images of Flickr2K_LR_unknown/X4",
            partial(layouts.open_flickr2k, track="unknown"), layouts.find_flickr2k,
            ("Flickr2K",)),
    DataSet(LUMA_PATCHES, "luma patches such as 91-image_x2.h5 and Set5_x2.h5, only for models "
            "that work on luma", None),
    DataSet("folder", "HR images alone; LR images are generated by bicubic reduction, or as "
            "--blur, --reduction, --noise, --jpeg or --degradation say",
            layouts.open_folder, lambda folder, scale: True),
)}
