"""An HR image and its LR image: their files, sizes and pixels, and how file names pair up."""

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, Optional

import numpy as np

from common.cli import UserError
from common.data.prepare import Preparation
from common.data.threads import in_threads
from common.images import read_rgb, read_size


@dataclass(frozen=True)
class Pair:
    """An HR image and its LR image.

    Args:
        name: of the image, for results.
        hr: HR file.
        lr: LR file; None: the LR image is generated from the HR image.
        preparation: how the HR image is made from its file, and how an LR image is generated.
        hr_size, lr_size: (height, width) of both images in pixels; `measure` fills them in.
    """

    name: str
    hr: Path
    lr: Optional[Path] = None
    preparation: Preparation = Preparation()
    hr_size: Optional[tuple] = None
    lr_size: Optional[tuple] = None

    def read_hr(self, read: Callable = read_rgb) -> np.ndarray:
        """The prepared HR image, uint8 HxWx3, or of the kind that `read(path)` returns."""
        return self.preparation.hr(read(self.hr))

    def read(self, scale: int, read: Callable = read_rgb) -> tuple:
        """Both images as (lr, hr), with `hr` cropped to `scale` times `lr`; see `read_hr`."""
        hr = self.read_hr(read)
        lr = read(self.lr) if self.lr else self.preparation.lr(hr, scale)
        return lr, hr[:lr.shape[0] * scale, :lr.shape[1] * scale]


def measure(pairs: list, scale: int, headers: Optional[dict] = None) -> list:
    """Give pairs their sizes, and check that each LR image is its HR image reduced by `scale`.

    Args:
        pairs: list of `Pair`.
        scale: how many times larger the HR images are.
        headers: {path: (height, width)} of the files whose headers were read before; those that
            are read here are added. Scales that share one dict read each header once.

    Returns:
        list of `Pair` with sizes.

    Raises:
        UserError: a file cannot be read, an HR image is smaller than `scale` pixels, or the sizes
            of a pair do not fit.
    """
    headers = {} if headers is None else headers
    files = [path for pair in pairs
             for path in (None if pair.preparation.resize else pair.hr, pair.lr) if path]
    new = [path for path in dict.fromkeys(files) if path not in headers]
    headers.update(zip(new, in_threads(read_size, new, "image sizes")))
    return [_with_sizes(pair, scale, headers) for pair in pairs]


def _with_sizes(pair, scale, headers):
    hr = pair.preparation.hr_size(headers.get(pair.hr))
    reduced = hr[0] // scale, hr[1] // scale
    lr = headers[pair.lr] if pair.lr else reduced
    if not all(reduced):
        raise UserError(f"the image {pair.hr} is too small for x{scale}")
    if lr != reduced:
        raise UserError(f"{pair.lr} ({lr[1]}x{lr[0]}) is not {pair.hr} ({hr[1]}x{hr[0]}) "
                        f"reduced by {scale}; check --scale and the folders")
    return replace(pair, hr_size=hr, lr_size=lr)


def fingerprint(pairs: list) -> str:
    """Hash the names and sizes of the HR images, so that a resumed run can recognise its data."""
    text = "".join(f"{pair.name} {pair.hr_size}\n" for pair in pairs)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def hr_only(paths: list) -> list:
    """Pairs without LR files."""
    return [Pair(path.stem, path) for path in paths]


def pair_by_name(hr: list, lr: list) -> list:
    """Pair HR and LR files by name; suffixes such as x2, _LR or _SRF_2_HR may differ.

    Raises:
        UserError: an image has no partner, or two have the same name.
    """
    attempts = [_keyed(hr, lr, *suffixes) for suffixes in _SUFFIXES]
    for hr_key, lr_key, common in attempts:
        if len(common) == len(hr) == len(lr):
            partners = {key: path for path, key in lr_key.items()}
            return [Pair(path.stem, path, partners[hr_key[path]]) for path in hr]
    hr_key, lr_key, common = max(attempts, key=lambda attempt: len(attempt[2]))
    raise UserError(next(_mismatches(hr_key, lr_key, common)))


def without_role(name: str) -> str:
    """A file's stem without scale and role: img_001 of img_001_SRF_2_HR."""
    return _ROLE.sub("", name)


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


# Suffixes to ignore in HR and LR names. The first choice that pairs all files wins, so that names
# which end in a number, such as fox1 and fox2, stay apart.
_NOTHING, _SCALE = re.compile(r"$"), re.compile(r"[-_]?[xX]\d+$|[-_]\d+[xX]$")
_ROLE = re.compile(r"([-_]?[xX]\d+|[-_]\d+[xX]|_SRF_\d+|[-_](LR|HR|LQ|GT))+$", re.IGNORECASE)
_SUFFIXES = (_NOTHING, _NOTHING), (_NOTHING, _SCALE), (_ROLE, _ROLE)
