"""PNG files, also animated ones, whose rows are filtered and compressed in threads."""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction
from typing import BinaryIO

import numpy as np

from common.images.kind import ImageKind
from common.images.png import SIGNATURE, chunk
from common.images.row_chunks import Chunks, ChunkWriter, deflated

_CHUNK = 2 ** 20  # bytes of pixels
_BLOCK = 2 ** 17  # bytes that are filtered at a time, with their temporaries in the CPU's cache
_NO_ROWS = b"\x78\x01"  # how a zlib stream begins
_LAST = b"\x03\x00"  # the last, empty block of a Deflate stream
_PAETH = 4


class PngWriter(ChunkWriter):
    """Writes pictures into an open file: one, or the frames of an animation of one size.

    Args:
        file: opened for writing, at its begin.
        pictures: how many will come; more than one make an animated PNG.
    """

    def __init__(self, file: BinaryIO, pictures: int):
        self._file, self._pictures = file, pictures
        super().__init__()
        self._sequence, self._begun = 0, 0

    def begin(self, shape: tuple, dtype: np.dtype, kind: ImageKind | None) -> None:
        """Begin a picture of shape [H, W, C]; `kind` says its metadata and how long it is shown."""
        height, width, channels = shape
        itemsize = np.dtype(dtype).itemsize
        if not self._begun:
            self._head(height, width, channels, 8 * itemsize, kind)
        if self._pictures > 1:
            shown = _seconds(kind and kind.duration or 0)
            self._chunk(b"fcTL", struct.pack(">5I2H2B", self._next(), width, height, 0, 0,
                                             shown.numerator, shown.denominator, 0, 0))
        self._begun += 1
        self._above, self._step = None, channels * itemsize
        self._chunks = Chunks(max(1, _CHUNK // (width * self._step)))
        self._adler = 1
        self._data(_NO_ROWS)

    def end(self) -> None:
        """End a picture."""
        self._finish()
        self._data(_LAST + struct.pack(">I", self._adler))
        if self._begun == self._pictures:
            self._chunk(b"IEND", b"")

    def _start(self, rows):
        self._jobs.start(_encoded, rows, self._above, self._step)
        self._above = rows[-1:].copy()

    def _take(self, encoded):
        data, adler, length = encoded
        self._adler = _joined(self._adler, adler, length)
        self._data(data)

    def _data(self, data):
        if self._begun > 1:
            self._chunk(b"fdAT", struct.pack(">I", self._next()) + data)
        else:
            self._chunk(b"IDAT", data)

    def _head(self, height, width, channels, depth, kind):
        colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
        self._file.write(SIGNATURE)
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0))
        if self._pictures > 1:
            self._chunk(b"acTL", struct.pack(">II", self._pictures, kind and kind.plays or 0))
        if kind and kind.icc_profile:
            self._chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(kind.icc_profile))
        if kind and kind.dpi:
            per_metre = (int(value / 0.0254 + 0.5) for value in kind.dpi)
            self._chunk(b"pHYs", struct.pack(">IIB", *per_metre, 1))
        if kind and kind.exif:
            bare = kind.exif[6:] if kind.exif.startswith(b"Exif\0\0") else kind.exif
            self._chunk(b"eXIf", bare)

    def _next(self):
        self._sequence += 1
        return self._sequence - 1

    def _chunk(self, name, data):
        self._file.write(chunk(name, data))


def _encoded(rows, above, step):
    """(Deflate blocks, Adler checksum, length) of rows [h, W, C]; `above`: the row before."""
    both = rows if above is None else np.concatenate([above, rows])
    flat = np.ascontiguousarray(both, both.dtype.newbyteorder(">")).view(np.uint8)
    flat = flat.reshape(len(both), -1)
    padded = np.zeros((len(rows) + 1, step + flat.shape[1]), np.uint8)
    padded[len(padded) - len(flat):, step:] = flat
    flat = padded[1:, step:]
    filtered, plain = (np.full((len(flat), 1 + flat.shape[1]), number, np.uint8)
                       for number in (_PAETH, 0))
    plain[:, 1:] = flat
    block = max(1, _BLOCK // flat.shape[1])
    for top in range(0, len(flat), block):
        part = padded[top:top + block + 1]
        np.subtract(part[1:, step:], _predicted(part[1:, :-step], part[:-1, step:],
                                                part[:-1, :-step]),
                    out=filtered[top:top + block, 1:])
    data, chosen = deflated(filtered, plain, -15)
    return data, zlib.adler32(chosen), chosen.nbytes


def _predicted(left, above, corner):
    """Paeth's predictor of PNG: of three uint8 arrays, the one nearest to left + above - corner.

    In bytes, which a CPU computes 16 to 64 at a time. Where the corner is not between the other
    two, it is never the nearest; where it is, its distance is the other two distances' difference.
    """
    to_left = np.maximum(above, corner) - np.minimum(above, corner)
    to_above = np.maximum(left, corner) - np.minimum(left, corner)
    found = left ^ above
    found &= -(to_left <= to_above).view(np.uint8)
    found ^= above
    least = np.minimum(to_left, to_above)
    to_corner = np.maximum(to_left, to_above) - least
    is_corner = ((above > corner) ^ (left > corner)) & (least > to_corner)
    found ^= (corner ^ found) & -is_corner.view(np.uint8)
    return found


def _joined(first, second, length):
    """The Adler-32 checksum of two parts, the second of `length` bytes, from those of each."""
    base = 65521
    low = (first & 0xffff) + (second & 0xffff) - 1
    high = (first >> 16) + (second >> 16) + length * ((first & 0xffff) - 1)
    return high % base << 16 | low % base


def _seconds(milliseconds):
    """A duration as a fraction of seconds in two 16-bit numbers."""
    seconds = min(Fraction(milliseconds / 1000), Fraction(65535))
    return seconds.limit_denominator(max(1, int(65535 / max(seconds, 1))))
