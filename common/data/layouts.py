"""How each data set lies on disk: functions of (folder, scale) to the pairs (train, val)."""

import functools
import importlib.util
import logging
import re
from dataclasses import replace
from pathlib import Path

from common.cli import UserError
from common.data.pairs import hr_only, pair_by_name, paired_split, sub_folders
from common.data.prepare import Preparation
from common.images import find_images, list_images

DEMO_TRAIN = ("coffee.png", "hubble_deep_field.jpg", "ihc.png", "motorcycle_left.png",
              "motorcycle_right.png", "retina.jpg", "rocket.jpg")
DEMO_VAL = ("astronaut.png", "chelsea.png")
VAL_WORDS = ("valid", "val", "test")

_LOW_RESOLUTION = re.compile(r"(^|[-_])(lr|lq)([-_]|$)|[-_]?x\d$|[-_]\dx$", re.IGNORECASE)

_USR248 = {"hr", "lr_2x", "lr_4x", "lr_8x"}

log = logging.getLogger("sr_zoo")


def open_demo(_, scale):
    """Photographs of scikit-image."""
    package = importlib.util.find_spec("skimage")  # found without the seconds of an import
    if package is None:
        raise UserError("the demo photographs are in scikit-image: pip install scikit-image")
    folder = Path(package.origin).parent / "data"
    pairs = [hr_only([folder / name for name in names]) for names in (DEMO_TRAIN, DEMO_VAL)]
    for pair in pairs[0] + pairs[1]:
        if not pair.hr.is_file():
            raise UserError(f"this scikit-image lacks the photograph {pair.hr}; reinstall it")
    return pairs


# ---- DIV2K, Flickr2K ----------------------------------------------------------------------------

def open_div2k(folder, scale):
    """The published layout, or the one of ModelZoo: `train` and `valid` in folder or file names."""
    splits = []
    for word in ("train", "valid"):
        published = folder / f"DIV2K_{word}_HR"
        if published.is_dir():
            splits.append(_with_lr(published, scale))
        else:
            splits.append(hr_only(_named(folder, word)))
    if not any(splits):
        raise UserError(f"no DIV2K images in {folder}: neither DIV2K_train_HR nor images with "
                        "`train` and `valid` in their sub-folder's or file's name")
    return splits


def is_div2k(folder, scale):
    """Whether a folder, or its sub-folder DIV2K, is laid out so."""
    folder = sub_folders(folder).get("div2k", folder)
    return any((folder / f"DIV2K_{word}_HR").is_dir() for word in ("train", "valid")) or bool(
        _named(folder, "train") and _named(folder, "valid"))


def _with_lr(folder, scale):
    """The pairs of a published folder *_HR, with *_LR_bicubic/X4 beside it where it is there."""
    hr, name = list_images(folder), folder.name[:-len("_HR")]
    bicubic = folder.with_name(f"{name}_LR_bicubic")
    inside = sub_folders(bicubic) if bicubic.is_dir() else {}
    eightfold = folder.with_name(f"{name}_LR_x{scale}")  # as DIV2K's x8 was published later
    lr = inside.get(f"x{scale}") or (eightfold if eightfold.is_dir() else None)
    return pair_by_name(hr, list_images(lr)) if lr else hr_only(hr)


def _named(folder, word):
    """The HR images of a folder that have a word in the name of their sub-folder or file."""
    found = [path for path in find_images(folder) if word in path.name.lower()]
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        if word in inner.name.lower() and not _LOW_RESOLUTION.search(inner.name):
            found += find_images(inner)
    return found


def open_flickr2k(folder, scale):
    """The published Flickr2K_HR and Flickr2K_LR_bicubic, all to train on."""
    if not is_flickr2k(folder, scale):
        raise UserError(f"no Flickr2K images in {folder}: expected the folder Flickr2K_HR")
    return _with_lr(_flickr2k_hr(folder), scale), []


def is_flickr2k(folder, scale):
    """Whether a folder, or its sub-folder Flickr2K, is laid out so."""
    return _flickr2k_hr(folder).is_dir()


def _flickr2k_hr(folder):
    return sub_folders(folder).get("flickr2k", folder) / "Flickr2K_HR"


# ---- T91, BSDS500 -------------------------------------------------------------------------------

def open_t91(folder, scale):
    """A folder of images, all to train on."""
    return hr_only(list_images(folder)), []


def open_bsds500(folder, scale):
    """The published images/{train,test,val}: train and test are trained on, val never."""
    images = _bsds500_images(folder)
    if images is None:
        raise UserError(f"no BSDS500 images in {folder}: expected images/train and images/test")
    folders = sub_folders(images)
    train, test, val = (hr_only(list_images(folders[word])) if word in folders else []
                        for word in ("train", "test", "val"))
    if val:
        _warn_once(f"{folders['val']} holds the images of BSD100: they are never trained on, but "
                   "weights chosen by them are no independent test on BSD100")
    return train + test, val


def open_bsds500_256(folder, scale):
    """The same, only the middle 256x256 pixels of each image."""
    return [_prepared(pairs, Preparation(crop=256)) for pairs in open_bsds500(folder, scale)]


def is_bsds500(folder, scale):
    """Whether a folder is laid out so."""
    return _bsds500_images(folder) is not None


def _bsds500_images(folder):
    for inner in ("", "data", "BSDS500/data", "BSR/BSDS500/data"):
        images = folder / inner / "images"
        if (images / "train").is_dir() or (images / "test").is_dir():
            return images
    return None


@functools.cache
def _warn_once(text):
    log.warning(text)


def _prepared(pairs, preparation):
    return [replace(pair, preparation=preparation) for pair in pairs]


# ---- COCO ---------------------------------------------------------------------------------------

def open_coco(folder, scale):
    """The published train2017 and val2017 as far as they are there, or any folder of images."""
    train, val = _coco_folders(folder)
    pairs = [hr_only(list_images(path)) if path else [] for path in (train or folder, val)]
    return [_prepared(split, Preparation(resize=384)) for split in pairs]


def is_coco(folder, scale):
    """Whether a folder holds the published ones."""
    return _coco_folders(folder)[0] is not None


def _coco_folders(folder):
    """The folders (train, val) of the newest year, None where there is none."""
    inside = sub_folders(folder)
    for folders in (inside, sub_folders(inside["images"]) if "images" in inside else {}):
        for year in ("2017", "2014"):
            if f"train{year}" in folders:
                return folders[f"train{year}"], folders.get(f"val{year}")
    return None, None


# ---- USR-248 ------------------------------------------------------------------------------------

def open_usr248(folder, scale):
    """The published train_val and TEST, or hr, lr_2x, lr_4x and lr_8x side by side."""
    train = paired_split(folder, scale, ("train_val", "train"))
    val = paired_split(folder, scale, ("test",))
    train = train or ([] if val else paired_split(folder, scale, ("",)))
    if not train and not val:
        raise UserError(f"no images of USR-248 for x{scale} in {folder}: expected hr and "
                        f"lr_{scale}x there, or in train_val and TEST")
    return train, val


def is_usr248(folder, scale):
    """Whether a folder is laid out so, in whole."""
    inside = sub_folders(folder)
    return any(_USR248.issubset(sub_folders(path))
               for path in (folder, *(inside[name] for name in ("train_val", "test")
                                      if name in inside)))


# ---- evaluation sets ----------------------------------------------------------------------------

def open_benchmark(folder, scale):
    """Set5 and its like: only to validate with; LR images by bicubic where it has none."""
    pairs = paired_split(folder, scale, ("",))
    if not pairs:
        folders = sub_folders(folder)
        if any(name.startswith("image_srf_") for name in folders):
            raise UserError(f"{folder} has no images for x{scale}: no folder image_SRF_{scale}")
        hr = next((folders[name] for name in ("hr", "gt", "sr") if name in folders), folder)
        pairs = hr_only(list_images(hr))
    return [], pairs


def is_benchmark(folder, scale):
    """Whether a folder that has such a set's name has its images too."""
    return bool(find_images(folder)) or not {"hr", "gt", "sr"}.isdisjoint(sub_folders(folder)) or (
        any(name.startswith("image_srf_") for name in sub_folders(folder)))


# ---- one's own images ---------------------------------------------------------------------------

def open_paired(folder, scale):
    """HR and LR folders."""
    train = paired_split(folder, scale, ("train",)) or paired_split(folder, scale, ("",))
    val = paired_split(folder, scale, VAL_WORDS)
    if not train and not val:
        raise UserError(f"no pair of HR and LR folders in {folder}: expected train and "
                        f"train_X{scale}, or HR and LR")
    return train, val


def is_paired(folder, scale):
    """Whether a folder has such folders."""
    return any(_has_pair(folder, scale, words) for words in (("train",), ("",), VAL_WORDS))


def _has_pair(folder, scale, words):
    try:
        return bool(paired_split(folder, scale, words))
    except UserError:  # the folders are there; opening them will say what is wrong
        return True


def open_folder(folder, scale):
    """HR images, in train and val folders or all in one."""
    folders = sub_folders(folder)
    val = next((folders[word] for word in VAL_WORDS if word in folders), None)
    if "train" in folders and not find_images(folder):
        folder = folders["train"]
    return hr_only(list_images(folder)), hr_only(list_images(val)) if val else []
