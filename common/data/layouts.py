"""How data sets are laid out on disk: functions from (folder, scale) to the pairs (train, val)."""

import importlib.util
import logging
import re
from dataclasses import replace
from pathlib import Path

from common.cli import UserError, require_packages
from common.data.pairs import Pair, hr_only, pair_by_name, without_role
from common.data.prepare import Preparation
from common.data.split import log_once
from common.images.files import find_images, list_images

DEMO_TRAIN = ("coffee.png", "hubble_deep_field.jpg", "ihc.png", "motorcycle_left.png",
              "motorcycle_right.png", "retina.jpg", "rocket.jpg")
DEMO_VAL = ("astronaut.png", "chelsea.png")
VAL_WORDS = ("valid", "val", "test")

LOW_RESOLUTION = re.compile(r"(^|[-_])(lr|lq)([-_]|$)|[-_]?x\d$|[-_]\dx$", re.IGNORECASE)

_USR248 = {"hr", "lr_2x", "lr_4x", "lr_8x"}


def open_demo(_, scale):
    """Photographs that come with scikit-image."""
    require_packages("the data set demo", ["skimage"], install="scikit-image")
    package = importlib.util.find_spec("skimage")  # importing it would take seconds
    folder = Path(package.origin).parent / "data"
    train, val = (hr_only([folder / name for name in names]) for names in (DEMO_TRAIN, DEMO_VAL))
    for pair in train + val:
        if not pair.hr.is_file():
            raise UserError(f"scikit-image lacks its photograph {pair.hr}; reinstall it")
    return train, val


# ---- folders of pairs ---------------------------------------------------------------------------

def sub_folders(folder):
    """{name in lower case: path} of the folders in a folder."""
    return {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}


def _paired_split(folder, scale, words):
    """The pairs of the first of several splits that has HR and LR folders; "" means no split.

    The folders are train and train_X4, HR and LR, GT and LQ, SR and LR/x4, or one folder
    image_SRF_4 of *_HR and *_LR files.
    """
    folders = sub_folders(folder)
    for word in words:
        nested = _paired_split(folders[word], scale, ("",)) if word in folders else []
        if nested:
            return nested
        hr_names = (f"{word}_hr", f"hr_{word}", word) if word else ("hr", "gt", "gtmod12", "sr")
        lr_names = [f"{base}{end}" for base in ((f"{word}_lr", f"lr_{word}", word) if word
                                                else ("lr", "lq"))
                    for end in (f"_x{scale}", f"x{scale}", f"_{scale}x", f"_bicubic_x{scale}",
                                f"bicx{scale}", "_bicubic", "")]
        for hr in (folders[name] for name in hr_names if name in folders):
            for lr in (folders[name] for name in lr_names if name in folders):
                if lr != hr:
                    return pair_by_name(list_images(hr),
                                        list_images(sub_folders(lr).get(f"x{scale}", lr)))
        if not word and f"image_srf_{scale}" in folders:
            return _pairs_in_one_folder(folders[f"image_srf_{scale}"])
    return []


def _pairs_in_one_folder(folder):
    """Pairs of *_HR and *_LR files, among which other methods' results may lie."""
    images = find_images(folder)
    hr, lr = ([path for path in images if path.stem.lower().endswith(role)]
              for role in ("_hr", "_lr"))
    if not hr:
        raise UserError(f"no images *_HR in {folder}")
    return [replace(pair, name=without_role(pair.name)) for pair in pair_by_name(hr, lr)]


def open_paired(folder, scale):
    """HR and LR folders."""
    train = _paired_split(folder, scale, ("train", ""))
    val = _paired_split(folder, scale, VAL_WORDS)
    if not train and not val:
        raise UserError(f"no pair of HR and LR folders in {folder}: expected train and "
                        f"train_X{scale}, or HR and LR")
    return train, val


def is_paired(folder, scale):
    """Whether a folder has such folders."""
    try:
        return bool(_paired_split(folder, scale, ("train", "", *VAL_WORDS)))
    except UserError:  # the folders exist; opening them will report the error
        return True


# ---- DIV2K, Flickr2K ----------------------------------------------------------------------------

def open_div2k(folder, scale, track="bicubic"):
    """The published layout, or ModelZoo's: `train` and `valid` in folder or file names.

    `track` is the word after LR in the names of published folders: how LR images were made.
    """
    splits = []
    for word in ("train", "valid"):
        published = folder / f"DIV2K_{word}_HR"
        splits.append(_with_published_lr(published, scale, track) if published.is_dir()
                      else hr_only(_named(folder, word)) if track == "bicubic" else [])
    if not any(splits):
        raise UserError(f"no DIV2K images in {folder}: expected the folder DIV2K_train_HR, or "
                        "`train` and `valid` in the names of sub-folders or files")
    return splits


def is_div2k(folder, scale):
    """Whether a folder, or its sub-folder DIV2K, has this layout."""
    folder = sub_folders(folder).get("div2k", folder)
    return any((folder / f"DIV2K_{word}_HR").is_dir() for word in ("train", "valid")) or bool(
        _named(folder, "train") and _named(folder, "valid"))


def _with_published_lr(folder, scale, track):
    """The pairs of a published folder *_HR, with the LR images of *_LR_bicubic/X4 if they exist.

    Those of another track must exist.
    """
    hr, name = list_images(folder), folder.name[:-len("_HR")]
    of_track = folder.with_name(f"{name}_LR_{track}")
    lr = sub_folders(of_track).get(f"x{scale}") if of_track.is_dir() else None
    if track != "bicubic":
        return _pairs_of_track(hr, lr or of_track, scale)
    eightfold = folder.with_name(f"{name}_LR_x{scale}")  # as DIV2K's x8 was published later
    lr = lr or (eightfold if eightfold.is_dir() else None)
    return pair_by_name(hr, list_images(lr)) if lr else hr_only(hr)


def _pairs_of_track(hr, folder, scale):
    """Pairs with LR images 0001x4, 0001x4m (mild), 0001x4d (difficult) or 0001x4w1 to w4 (wild)."""
    ending = re.compile(rf"x{scale}([mdw]\d*)?$", re.IGNORECASE)
    lr = [path for path in (find_images(folder) if folder.is_dir() else [])
          if ending.search(path.stem)]
    if not lr:
        raise UserError(f"no LR images for x{scale} in {folder}; correct --scale or --dataset")
    by_stem = {path.stem: path for path in hr}
    stems = {path: ending.sub("", path.stem) for path in lr}
    alone = [path for path in hr if path.stem not in set(stems.values())] + [
        path for path in lr if stems[path] not in by_stem]
    if alone:
        raise UserError(f"no partner for {', '.join(map(str, alone))} in {folder} or "
                        f"{hr[0].parent}")
    several = len(lr) > len(hr)
    return [Pair(path.stem if several else stems[path], by_stem[stems[path]], path) for path in lr]


def _named(folder, word):
    """The HR images in a folder whose sub-folder's or file's name contains a word."""
    found = [path for path in find_images(folder) if word in path.name.lower()]
    for name, inner in sub_folders(folder).items():
        if word in name and not LOW_RESOLUTION.search(name):
            found += find_images(inner)
    return found


def open_flickr2k(folder, scale, track="bicubic"):
    """The published Flickr2K_HR and Flickr2K_LR_bicubic (or another track), all for training."""
    hr = find_flickr2k(folder)
    if hr is None:
        raise UserError(f"no Flickr2K images in {folder}: expected the folder Flickr2K_HR")
    return _with_published_lr(hr, scale, track), []


def find_flickr2k(folder, scale=None):
    """Flickr2K_HR in a folder, or in its sub-folder Flickr2K; None where it is not."""
    hr = sub_folders(folder).get("flickr2k", folder) / "Flickr2K_HR"
    return hr if hr.is_dir() else None


# ---- T91, BSDS500, COCO -------------------------------------------------------------------------

def open_t91(folder, scale):
    """A folder of images, all for training."""
    return hr_only(list_images(folder)), []


def open_bsds500(folder, scale):
    """The published images/{train,test,val}: train and test are for training, val never is."""
    images = find_bsds500(folder)
    if images is None:
        raise UserError(f"no BSDS500 images in {folder}: expected images/train and images/test")
    folders = sub_folders(images)
    train, test, val = (hr_only(list_images(folders[word])) if word in folders else []
                        for word in ("train", "test", "val"))
    if val:
        log_once(f"{folders['val']} holds the images of BSD100: they are not used for training, "
                 "but weights selected on them have no independent test on BSD100",
                 logging.WARNING)
    return train + test, val


def open_bsds500_256(folder, scale):
    """The same, only the central 256x256 pixels of each image."""
    return _prepared(open_bsds500(folder, scale), Preparation(crop=256))


def find_bsds500(folder, scale=None):
    """The folder `images` in a folder with this layout, else None."""
    for inner in ("", "data", "BSDS500/data", "BSR/BSDS500/data"):
        images = folder / inner / "images"
        if (images / "train").is_dir() or (images / "test").is_dir():
            return images
    return None


def open_coco(folder, scale):
    """The published train2017 and, if it exists, val2017; or any folder of images."""
    splits = [hr_only(list_images(path)) if path else []
              for path in find_coco(folder) or (folder, None)]
    return _prepared(splits, Preparation(resize=384))


def find_coco(folder, scale=None):
    """The published folders (train, val or None) of the newest year, else None."""
    inside = sub_folders(folder)
    for folders in (inside, sub_folders(inside["images"]) if "images" in inside else {}):
        for year in ("2017", "2014"):
            if f"train{year}" in folders:
                return folders[f"train{year}"], folders.get(f"val{year}")
    return None


def _prepared(splits, preparation):
    return [[replace(pair, preparation=preparation) for pair in pairs] for pairs in splits]


# ---- USR-248, evaluation sets, a folder of images -----------------------------------------------

def open_usr248(folder, scale):
    """The published train_val and TEST, or hr, lr_2x, lr_4x and lr_8x side by side."""
    val = _paired_split(folder, scale, ("test",))
    train = _paired_split(folder, scale, ("train_val", "train") if val else
                          ("train_val", "train", ""))
    if not train and not val:
        raise UserError(f"no images of USR-248 for x{scale} in {folder}: expected hr and "
                        f"lr_{scale}x there, or in train_val and TEST")
    return train, val


def is_usr248(folder, scale):
    """Whether a folder has this layout, with all scales."""
    inside = sub_folders(folder)
    return any(_USR248.issubset(sub_folders(path))
               for path in (folder, *(inside[name] for name in ("train_val", "test")
                                      if name in inside)))


def open_benchmark(folder, scale):
    """Set5 and similar sets, only for validation."""
    pairs = _paired_split(folder, scale, ("",))
    if not pairs:
        folders = sub_folders(folder)
        if any(name.startswith("image_srf_") for name in folders):
            raise UserError(f"{folder} has no images for x{scale}: no folder image_SRF_{scale}")
        hr = next((folders[name] for name in ("hr", "gt", "sr") if name in folders), folder)
        pairs = hr_only(list_images(hr))
    return [], pairs


def is_benchmark(folder):
    """Whether a folder, which has the name of such a set, has images too."""
    return bool(find_images(folder)) or any(
        name in ("hr", "gt", "sr") or name.startswith("image_srf_") for name in sub_folders(folder))


def open_folder(folder, scale):
    """HR images, in train and val folders or all in one."""
    folders = sub_folders(folder)
    val = next((folders[word] for word in VAL_WORDS if word in folders), None)
    if "train" in folders and not find_images(folder):
        folder = folders["train"]
    return hr_only(list_images(folder)), hr_only(list_images(val)) if val else []
