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
    attempts = [(_by_key(hr, hr_suffix), _by_key(lr, lr_suffix))
                for hr_suffix, lr_suffix in _SUFFIXES]
    for left, right in attempts:
        if left.keys() == right.keys() and len(left) == len(hr) and len(right) == len(lr):
            return [Pair(path.stem, path, right[key][0]) for key, (path,) in left.items()]
    left, right = max(attempts, key=lambda attempt: len(attempt[0].keys() & attempt[1].keys()))
    for ours, others, kind in ((left, right, "LR"), (right, left, "HR")):
        for key, (path, *more) in ours.items():
            if more:
                raise UserError(f"{path} and {more[0]} have the same name; keep one of them")
            if key not in others:
                folder = next(iter(others.values()), [path])[0].parent
                raise UserError(f"no {kind} image for {path} in {folder}")
    raise AssertionError("the images pair up")


def _by_key(paths, suffix):
    """{name without suffix: [paths]}."""
    found = {}
    for path in paths:
        found.setdefault(suffix.sub("", path.stem), []).append(path)
    return found


def without_role(name: str) -> str:
    """A file's stem without scale and role: img_001 of img_001_SRF_2_HR."""
    return _ROLE.sub("", name)


# Suffixes to ignore in HR and LR names. The first choice that pairs all files wins, so that names
# which end in a number, such as fox1 and fox2, stay apart.
_NOTHING, _SCALE = re.compile(r"$"), re.compile(r"[-_]?[xX]\d+$|[-_]\d+[xX]$")
_ROLE = re.compile(r"([-_]?[xX]\d+|[-_]\d+[xX]|_SRF_\d+|[-_](LR|HR|LQ|GT))+$", re.IGNORECASE)
_SUFFIXES = (_NOTHING, _NOTHING), (_NOTHING, _SCALE), (_ROLE, _ROLE)
