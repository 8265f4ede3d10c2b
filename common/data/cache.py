"""LR images that a set does not bring: made once by bicubic reduction and kept as PNG."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from common.cli import UserError
from common.data.bicubic import crop_to_multiple, downscale
from common.data.pairs import cropped, hr_size
from common.files import make_folder
from common.images import read_rgb, read_size, write_image

THREADS = min(16, os.cpu_count() or 1)


def make_missing_lr(pairs, scale, cache_dir):
    """Give every pair an LR image; those that lack one get `<cache_dir>/lr_bicubic/X<scale>/*.png`.

    A file is used again as long as it is whole and its HR image stays the same (path, size, time
    of change).

    Args:
        pairs: list of `Pair`.
        scale: integer.
        cache_dir: folder; made when needed.

    Returns:
        list of `Pair`, all with `lr`.

    Raises:
        UserError: an HR image cannot be read or is smaller than scale pixels.
    """
    if all(pair.lr is not None for pair in pairs):
        return pairs
    folder = make_folder(Path(cache_dir) / "lr_bicubic" / f"X{scale}")

    def complete(pair):
        if pair.lr is not None:
            return pair
        path = folder / f"{pair.hr.stem}-{_key(pair)}.png"
        if not _is_whole(path, pair, scale):
            hr = crop_to_multiple(cropped(read_rgb(pair.hr), pair.crop), scale)
            if not hr.size:
                raise UserError(f"the image {pair.hr} is too small for x{scale}")
            write_image(path, downscale(hr, scale))
        return replace(pair, lr=path)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(tqdm(pool.map(complete, pairs), total=len(pairs), desc=f"LR images x{scale}",
                         unit="image", leave=False, disable=None))


def _is_whole(path, pair, scale):
    """Whether a kept PNG is of the right size and has its end (a full disk may cut it short)."""
    try:
        with open(path, "rb") as file:
            file.seek(-12, os.SEEK_END)
            ended = file.read().startswith(b"\0\0\0\0IEND")
        return ended and read_size(path) == tuple(side // scale for side in hr_size(pair))
    except (OSError, UserError):
        return False


def _key(pair):
    stat = pair.hr.stat()
    text = f"{pair.hr.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
    if pair.crop is not None:
        text += f"|{pair.crop}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]
