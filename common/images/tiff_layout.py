"""How the pixels of a TIFF page are stored, from its tags; what cannot be read is refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.cli import UserError

BYTEWISE = (1, 5, 8, 32946, 32773, 34925, 50000)
WITHOUT_FILL_ORDER = (7, 50001)  # JPEG, WebP
_FAX = (2, 3, 4, 32771)
# Colour samples of each photometric interpretation that can be read.
_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3, 9: 3}
_OTHERS = {4: "a transparency mask", 10: "ITU Lab colours", 32803: "a colour filter array",
           32844: "LogL luminance", 32845: "LogLuv colours", 34892: "linear raw pixels",
           51177: "a depth map", 52527: "a semantic mask"}
_NAMES = {0: "WhiteIsZero", 1: "grey", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr",
          8: "CIELab", 9: "ICCLab"}
COMPRESSIONS = {
    1: "uncompressed", 2: "fax", 3: "fax", 4: "fax", 5: "LZW", 6: "old-style JPEG", 7: "JPEG",
    8: "Deflate", 32766: "NeXT", 32771: "fax", 32773: "PackBits", 32809: "ThunderScan",
    32909: "PixarLog", 32946: "Deflate", 33003: "JPEG 2000", 33005: "JPEG 2000", 34661: "JBIG",
    34676: "SGILog", 34677: "SGILog 24", 34712: "JPEG 2000", 34887: "LERC", 34925: "LZMA",
    34933: "PNG", 50000: "ZSTD", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL"}
_FORMATS = {2: "int", 3: "float", 4: "undefined", 5: "complex int", 6: "complex float"}


@dataclass(frozen=True)
class Layout:
    """How a page is stored; numbers are those of the TIFF tags.

    Args:
        path: of the file.
        width, height: as stored, in pixels.
        samples: per pixel, of which the first `colours` are colours.
        bits: per sample, 1 to 16.
        block: (height, width) of a strip or tile.
        alpha: position of the alpha channel after the colours, or None; `associated` if the
            colours were multiplied by it.
        subsampling: Y samples for one of Cb and Cr, (horizontal, vertical).
        options: tags that a decoder of pictures needs too.
    """

    path: Path
    width: int
    height: int
    samples: int
    colours: int
    bits: int
    photometric: int
    compression: int
    predictor: int
    planar: bool
    tiled: bool
    block: tuple
    byte_order: str
    reversed_bits: bool
    orientation: int
    alpha: int | None
    associated: bool
    palette: np.ndarray | None
    subsampling: tuple
    coefficients: tuple
    reference: tuple
    options: dict
    profile: bytes | None
    dpi: tuple | None
    sub_pages: tuple

    def damaged(self, reason: str) -> UserError:
        """Build the error for a file whose tags promise what its data do not hold."""
        return UserError(f"cannot read {self.path} as an image: {reason}")


class _Tags:
    """The tags of a page as plain numbers."""

    def __init__(self, page, path):
        self._tags, self._path = page.tags, path

    def number(self, code, default=None):
        value = self._tags.valueof(code)
        if isinstance(value, tuple) and value:
            value = value[0]
        if value is None and default is None:
            raise UserError(f"cannot read {self._path} as an image: the tag {code} is missing")
        return default if value is None else int(value)

    def numbers(self, code, default=()):
        value = self._tags.valueof(code)
        if value is None:
            return tuple(default)
        return (value,) if np.isscalar(value) else tuple(np.ravel(value).tolist())

    def ratios(self, code, default):
        values = self.numbers(code)
        if len(values) < 2 * len(default):  # absent, or whole numbers
            return tuple(values) if len(values) == len(default) else tuple(default)
        return tuple(over / under for over, under in zip(values[::2], values[1::2]))

    def data(self, code):
        value = self._tags.valueof(code)
        return bytes(value) if isinstance(value, (bytes, tuple, np.ndarray)) else None


def read_layout(page: Any, path: str | Path) -> Layout:
    """Read the tags of a tifffile page.

    Raises:
        UserError: a tag is missing or damaged, or the pixels are of a kind that cannot be read.
    """
    tags, path = _Tags(page, path), Path(path)
    width, height, samples = tags.number(256), tags.number(257), tags.number(277, 1)
    photometric, compression = tags.number(262), tags.number(259, 1)
    bits = _bits(tags, path)
    colours, alpha, associated = _channels(tags, path, photometric, samples)
    tiled, orientation = tags.number(322, 0) > 0, tags.number(274, 1)
    block = ((tags.number(323), tags.number(322)) if tiled else
             (min(tags.number(278, height), height), width))
    if min(width, height, samples, *block) < 1:
        raise UserError(f"cannot read {path} as an image: a size of zero")
    layout = Layout(
        path, width, height, samples, colours, bits, photometric, compression,
        tags.number(317, 1), tags.number(284, 1) == 2 and samples > 1, tiled, block,
        page.parent.byteorder, tags.number(266, 1) == 2,
        orientation if 1 <= orientation <= 8 else 1, alpha, associated,
        _palette(tags, path, bits) if photometric == 3 else None,
        _subsampling(tags) if photometric == 6 and compression in BYTEWISE else (1, 1),
        tags.ratios(529, (0.299, 0.587, 0.114)),
        tags.ratios(532, (0, 255, 128, 255, 128, 255)),
        {code: tags.numbers(code) for code in (292, 293, 530) if tags.numbers(code)},
        tags.data(34675), _dpi(tags), tags.numbers(330))
    _check(layout, tags)
    return layout


def _refused(path, what):
    return UserError(f"{path} holds {what}, which cannot be read; save it as RGB or grey of 8 or "
                     "16 bits")


def _bits(tags, path):
    kinds, depths = set(tags.numbers(339, (1,))), set(tags.numbers(258, (1,)))
    if len(kinds) > 1 or len(depths) > 1:
        raise _refused(path, "channels of different types")
    kind, bits = kinds.pop(), int(depths.pop())
    if kind == 4:  # undefined: to be read as unsigned
        kind = 1
    if kind != 1 or bits > 16:
        raise _refused(path, f"{_FORMATS.get(kind, 'uint')}{bits} values")
    if bits < 1:
        raise UserError(f"cannot read {path} as an image: {bits} bits per sample")
    return bits


def _channels(tags, path, photometric, samples):
    """(number of colours, position of alpha among the other samples or None, associated)."""
    if photometric not in _COLOURS:
        raise _refused(path, _OTHERS.get(photometric, f"the photometric interpretation "
                                                      f"{photometric}"))
    colours = _COLOURS[photometric]
    extra = tags.numbers(338)
    # Without the tag, the fourth channel of RGB is alpha, as all readers take it.
    if not extra and samples > colours:
        extra = (2,) if (photometric, samples) == (2, 4) else (0,) * (samples - colours)
    if samples != colours + len(extra) or (photometric == 5 and tags.number(332, 1) != 1):
        raise _refused(path, f"{samples - len(extra)} channels of {_NAMES[photometric]} colours")
    if colours == 1 and extra.count(0) > 1:
        raise _refused(path, f"{samples} channels, of which {extra.count(0)} are of unspecified "
                             "meaning")
    alpha = next((position for position, kind in enumerate(extra) if kind in (1, 2)), None)
    associated = alpha is not None and extra[alpha] == 1
    if associated and photometric in (0, 3, 6, 8, 9):
        raise _refused(path, f"{_NAMES[photometric]} colours multiplied by alpha")
    return colours, alpha, associated


def _palette(tags, path, bits):
    values = tags.numbers(320)
    if len(values) != 3 * 2 ** bits:
        raise UserError(f"cannot read {path} as an image: the palette is damaged")
    palette = np.array(values, np.uint16).reshape(3, -1).T
    return palette if palette.max() > 255 else palette << 8  # some programs write 8 bits


def _subsampling(tags):
    values = tags.numbers(530, (2, 2))
    return values if len(values) == 2 and set(values) <= {1, 2, 4} else (0, 0)


def _dpi(tags):
    unit = {2: 1.0, 3: 2.54}.get(tags.number(296, 2))
    if unit is None:
        return None
    try:
        dpi = tuple(tags.ratios(code, (0,))[0] * unit for code in (282, 283))
    except ZeroDivisionError:
        return None
    return dpi if min(dpi) > 0 else None


def _check(layout, tags):
    """Refuse combinations that no reader agrees on, or that cannot be decoded."""
    path, photometric, bits = layout.path, layout.photometric, layout.bits
    name = COMPRESSIONS.get(layout.compression, f"compression {layout.compression}")
    if layout.compression not in (*BYTEWISE, *_FAX, *WITHOUT_FILL_ORDER):
        raise _refused(path, f"pixels compressed by {name}")
    if layout.compression in _FAX and (bits, layout.samples) != (1, 1):
        raise _refused(path, f"{bits}-bit pixels compressed as a fax")
    if layout.compression in WITHOUT_FILL_ORDER and (bits != 8 or layout.samples != layout.colours):
        raise _refused(path, f"{bits}-bit JPEG or WebP pixels of {layout.samples} channels")
    if layout.predictor not in (1, 2) or (layout.predictor == 2 and bits not in (8, 16)):
        raise _refused(path, f"{bits}-bit pixels with the predictor {layout.predictor}")
    if layout.subsampling == (0, 0) or (layout.subsampling != (1, 1) and (
            layout.planar or layout.predictor == 2 or layout.samples != 3)):
        raise _refused(path, "YCbCr colours in an unusual subsampling")
    if photometric == 6 and (bits != 8 or (layout.planar and layout.compression == 7)):
        raise _refused(path, f"YCbCr colours of {bits} bits")
    if photometric in (8, 9) and bits not in (8, 16):
        raise _refused(path, f"Lab colours of {bits} bits")
    if tags.number(32997, 1) != 1:
        raise _refused(path, "a volume of several depths")
    ranges = tags.numbers(336)
    if photometric == 5 and ranges and (set(ranges[::2]), set(ranges[1::2])) != (
            {0}, {2 ** bits - 1}):
        raise _refused(path, "inks of an unusual range")
