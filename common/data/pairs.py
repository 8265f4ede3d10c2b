"""An HR image and its LR image: their files, sizes and pixels, and how file names pair up."""

import hashlib
import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, Optional

import numpy as np

from common.cli import UserError
from common.data.prepare import Preparation
from common.data.split import log_once
from common.data.threads import in_threads
from common.images.files import read_rgb, read_size

log = logging.getLogger("sr_zoo")


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
        lr = read(self.lr) if self.lr else self.preparation.lr(hr, scale, self.name)
        return lr, hr[:lr.shape[0] * scale, :lr.shape[1] * scale]


def readable(pairs: list, scale: int) -> list:
    """The pairs whose files can be decoded whole and fit; a line names what is wrong with others.

    Args:
        pairs: list of `Pair`.
        scale: how many times larger the HR images are.
    """
    def problem(pair):
        try:
            _decode(pair, scale, {})
        except UserError as error:
            return str(error)

    problems = in_threads(problem, pairs, "checking images")
    for text in filter(None, problems):
        log.warning("left out: %s", text)
    return [pair for pair, text in zip(pairs, problems) if not text]


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
        UserError: files cannot be read, HR images are smaller than `scale` pixels, or the sizes
            of pairs do not fit. Then all images are decoded, so that it names every bad one.
    """
    headers = {} if headers is None else headers
    files = [path for pair in pairs
             for path in (None if pair.preparation.resize else pair.hr, pair.lr) if path]
    new = [path for path in dict.fromkeys(files) if path not in headers]
    try:
        headers.update(zip(new, in_threads(read_size, new, "image sizes")))
        return [_with_sizes(pair, scale, headers) for pair in pairs]
    except UserError:
        in_threads(lambda pair: _decode(pair, scale, headers), pairs, "checking images")
        raise


def _decode(pair, scale, headers):
    _with_sizes(pair, scale, headers)
    pair.read_hr()
    if pair.lr:
        read_rgb(pair.lr)


def _with_sizes(pair, scale, headers):
    for path in (None if pair.preparation.resize else pair.hr, pair.lr):
        if path and path not in headers:
            headers[path] = read_size(path)
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
    """Pair HR and LR files by name, as strictly as pairs all of them.

    Names may be equal; or differ in the LR's scale (0001x2); in the scale, role and method of both
    (baby_HR and baby_LRBI_x2, 0001 and 0001bicLRx2, HR_0001 and LR_0001); or in case and in zeros
    before numbers. A line says how, where it is not plain equality.

    Raises:
        UserError: images have no partner, or two have the same name; it names all of them.
    """
    attempts = [(_by_key(hr, hr_key), _by_key(lr, lr_key), ignored)
                for hr_key, lr_key, ignored in _KEYS]
    for left, right, ignored in attempts:
        if left.keys() == right.keys() and len(left) == len(hr) and len(right) == len(lr):
            pairs = [Pair(path.stem, path, right[key][0]) for key, (path,) in left.items()]
            if ignored and pairs:
                log_once(f"{len(pairs)} pairs by name without {ignored}: {pairs[0].hr.name} with "
                         f"{pairs[0].lr.name}")
            return pairs
    left, right, _ = max(attempts, key=lambda attempt: len(attempt[0].keys() & attempt[1].keys()))
    raise UserError(_why_unpaired(left, right))


def _why_unpaired(hr, lr):
    twice = [f"{path} and {more[0]}"
             for found in (hr, lr) for path, *more in found.values() if more]
    if twice:
        return f"{'; '.join(twice)} have the same name; keep one of them"
    reasons = []
    for ours, others, kind in ((hr, lr, "LR"), (lr, hr, "HR")):
        alone = [path for key, (path, *_) in ours.items() if key not in others]
        if alone:
            folder = next(iter(others.values()), alone)[0].parent
            reasons.append(f"no {kind} image for {', '.join(map(str, alone))} in {folder}")
    return "; ".join(reasons)


def _by_key(paths, key):
    """{key of the name: [paths]}."""
    found = {}
    for path in paths:
        found.setdefault(key(path.stem), []).append(path)
    return found


def without_role(name: str) -> str:
    """A file's stem without scale, role and method: img_001 of img_001_SRF_2_HR."""
    return _PREFIX.sub("", _SUFFIX.sub("", name))


def _without_scale(name):
    return _SCALE.sub("", name)


def _without_word(name):
    return _WITHIN.sub("", name)


def _loosely(key):
    return lambda name: _ZEROS.sub("", key(name)).casefold()


_SCALE = re.compile(r"[-_]?[xX]\d+$|[-_]\d+[xX]$")
_WORD = (r"(?:(?:bic(?:ubic)?|bilinear|nearest|bd|bi|dn)?(?:lr|hr|lq|gtmod|gt)(?:bic|bi|bd|dn)?"
         r"|srf|bic(?:ubic)?|bilinear|nearest)")
_SUFFIX = re.compile(rf"(?<=.)(?:(?:[-_. ]|(?<=\d)){_WORD}[-_]?(?:x?\d{{1,2}}x?)?|[-_. ]?x\d{{1,2}}"
                     rf"|[-_. ]\d{{1,2}}x)+$", re.IGNORECASE)
_PREFIX = re.compile(rf"^(?:{_WORD}(?:[-_]?x?\d{{1,2}}x?)?|x\d{{1,2}}|\d{{1,2}}x)[-_. ](?=.)",
                     re.IGNORECASE)
_WITHIN = re.compile(rf"(?:^|[-_. ])(?:{_WORD}|x\d{{1,2}}|\d{{1,2}}x)(?=[-_. ]|$)", re.IGNORECASE)
_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")
_LOOSELY = "case and the zeros before numbers"
# What of an HR and of an LR name must be equal, and what is then ignored. The strictest that pairs
# all files wins, so that names which end in a number, such as fox1 and fox2, stay apart.
_KEYS = ((str, str, ""), (str, _without_scale, "the LR's scale"),
         (without_role, without_role, "scale and role"),
         (_without_word, _without_word, "the word for scale and role"),
         (_loosely(without_role), _loosely(without_role), f"scale, role, {_LOOSELY}"),
         (_loosely(_without_word), _loosely(_without_word), f"scale, role, {_LOOSELY}"))
