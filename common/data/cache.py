"""LR images that a set does not bring, and resized HR images: made once and kept as PNG."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from tqdm import tqdm

from common.cli import UserError
from common.data.pairs import hr_size, read_hr
from common.files import make_folder
from common.images import read_size, write_image

THREADS = min(16, os.cpu_count() or 1)


def make_missing_lr(pairs, scale, cache_dir):
    """Give every pair an LR image, and an HR image of the size that is wanted.

    What is missing is made as the pair's `preparation` says and kept in `cache_dir`, as
    `lr_<reduction>/X<scale>/*.png` and `resized/<side>/*.png`. A file is used again as long as it
    is whole, what it is made of stays the same (path, size, time of change), and how as well.

    Args:
        pairs: list of `Pair`.
        scale: integer.
        cache_dir: folder; made when needed.

    Returns:
        list of `Pair`, all with `lr`, whose HR images need at most a crop.

    Raises:
        UserError: an HR image cannot be read or is smaller than scale pixels.
    """
    if all(pair.lr is not None for pair in pairs):
        return pairs
    cache_dir = make_folder(cache_dir)

    def complete(pair):
        if pair.lr is not None:
            return pair
        wanted = pair.preparation
        path = cache_dir / f"lr_{wanted.reduction}" / f"X{scale}" / _file_name(pair, wanted)
        return _with_lr(_resized(pair, cache_dir), scale, path)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(tqdm(pool.map(complete, pairs), total=len(pairs), desc=f"LR images x{scale}",
                         unit="image", leave=False, disable=None))


def _resized(pair, cache_dir):
    wanted = pair.preparation.hr_only()
    if not wanted.resize:
        return pair
    path = cache_dir / "resized" / str(wanted.resize) / _file_name(pair, wanted)
    if not _is_whole(path, hr_size(pair)):
        write_image(path, read_hr(pair))
    return replace(pair, hr=path, preparation=pair.preparation.lr_only())


def _with_lr(pair, scale, path):
    height, width = (side // scale for side in hr_size(pair))
    if not height or not width:
        raise UserError(f"the image {pair.hr} is too small for x{scale}")
    if not _is_whole(path, (height, width)):
        write_image(path, pair.preparation.lr(read_hr(pair), scale))
    return replace(pair, lr=path)


def _is_whole(path, size):
    """Whether a kept PNG is of the right size and has its end (a full disk may cut it short)."""
    try:
        with open(path, "rb") as file:
            file.seek(-12, os.SEEK_END)
            ended = file.read().startswith(b"\0\0\0\0IEND")
        return ended and read_size(path) == size
    except (OSError, UserError):
        return False


def _file_name(pair, wanted):
    stat = pair.hr.stat()
    text = f"{pair.hr.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
    if wanted.key:
        text += f"|{wanted.key}"
    return f"{pair.hr.stem}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.png"
