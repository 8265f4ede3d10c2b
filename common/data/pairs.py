"""Which LR image belongs to which HR image, and where folders of pairs keep them."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from common.cli import UserError
from common.data.prepare import Preparation
from common.images import find_images, list_images, read_rgb, read_size


@dataclass(frozen=True)
class Pair:
    """An HR image and its LR image; without one (None) it is made of the HR image.

    `preparation` says what is done with the HR file before it counts, and how the LR image is made.
    """

    name: str
    hr: Path
    lr: Optional[Path] = None
    preparation: Preparation = Preparation()


def hr_size(pair):
    """(height, width) of the HR image that a pair stands for, without decoding it."""
    if pair.preparation.resize:
        return pair.preparation.resize, pair.preparation.resize
    size, crop = read_size(pair.hr), pair.preparation.crop
    return tuple(min(side, crop) for side in size) if crop else size


def read_hr(pair):
    """The HR image that a pair stands for, uint8 HxWx3."""
    return pair.preparation.hr(read_rgb(pair.hr))


def hr_only(paths):
    """Pairs without LR images."""
    return [Pair(path.stem, path) for path in paths]


def sub_folders(folder):
    """{name in lower case: path} of the folders in a folder."""
    return {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}


def paired_split(folder, scale, words):
    """The pairs of the first of some splits that has both folders; an empty word is no split.

    Such folders are train and train_X4, HR and LR, GT and LQ, SR and LR/x4, or one folder
    image_SRF_4 with *_HR and *_LR files.

    Raises:
        UserError: images that do not pair up.
    """
    folders = sub_folders(folder)
    for word in words:
        nested = paired_split(folders[word], scale, ("",)) if word in folders else []
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
            return _pair_in_one_folder(folders[f"image_srf_{scale}"])
    return []


def _pair_in_one_folder(folder):
    """Pairs of *_HR and *_LR files; the results of other methods may lie beside them."""
    images = find_images(folder)
    hr, lr = ([path for path in images if path.stem.lower().endswith(role)]
              for role in ("_hr", "_lr"))
    if not hr:
        raise UserError(f"no images *_HR in {folder}")
    return [Pair(_ROLE.sub("", pair.name), pair.hr, pair.lr) for pair in pair_by_name(hr, lr)]


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
                yield f"no {kind} image for {path} in {next(iter(others), path).parent}"
            seen[key] = path


# Tried in order, of HR and of LR names: what need not be taken off stays, as fox1 is not fox2.
_NOTHING, _SCALE = re.compile(r"$"), re.compile(r"[-_]?[xX]\d+$|[-_]\d+[xX]$")
_ROLE = re.compile(r"([-_]?[xX]\d+|[-_]\d+[xX]|_SRF_\d+|[-_](LR|HR|LQ|GT))+$", re.IGNORECASE)
_SUFFIXES = (_NOTHING, _NOTHING), (_NOTHING, _SCALE), (_ROLE, _ROLE)
