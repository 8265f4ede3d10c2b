"""TIFF files of one or several pages, their strips compressed in threads; above 4 GB BigTIFF."""

from __future__ import annotations

import struct
from typing import BinaryIO

import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from common.images import exif
from common.images.kind import ImageKind
from common.images.row_chunks import Chunks, ChunkWriter, deflated

_STRIP = 2 ** 18  # bytes of pixels
_MOST = 2 ** 32 - 2 ** 26  # bytes in a TIFF file, beside which there is room for metadata
_OFFSETS, _COUNTS = 273, 279


class TiffWriter(ChunkWriter):
    """Writes pictures into an open file, each a page of its own size and kind.

    Args:
        file: opened for writing, at its begin; it can seek.
        pictures: how many will come.
    """

    def __init__(self, file: BinaryIO, pictures: int):
        self._file, self._pictures = file, pictures
        super().__init__()
        self._big, self._link = None, None

    def begin(self, shape: tuple, dtype: np.dtype, kind: ImageKind | None) -> None:
        """Begin a page of shape [H, W, C].

        Raises:
            ValueError: the file would be too large for this Pillow.
        """
        row_bytes = shape[1] * shape[2] * np.dtype(dtype).itemsize
        if self._big is None:
            self._big = self._pictures * shape[0] * row_bytes > _MOST
            magic = b"II+\0\x08\0\0\0" if self._big else b"II*\0"
            if self._big and len(ImageFileDirectory_v2(magic + bytes(8)).tobytes()) != 16:
                raise ValueError("a TIFF file holds at most 4 GB with this version of Pillow")
            self._file.write(magic)
            self._link = self._file.tell()
            self._file.write(bytes(8 if self._big else 4))
        self._shape, self._dtype, self._kind = shape, np.dtype(dtype), kind
        self._strip_rows = max(1, _STRIP // row_bytes)
        self._chunks, self._starts, self._counts = Chunks(self._strip_rows), [], []

    def end(self) -> None:
        """End a page: write its directory, and link it to the one before."""
        self._finish()
        place = self._file.tell() + self._file.tell() % 2
        directory = self._directory(place)
        self._file.seek(self._link)
        self._file.write(struct.pack("<Q" if self._big else "<I", place))
        self._file.seek(place)
        self._file.write(directory)
        self._link = place + _links_at(directory, self._big)

    def _start(self, rows):
        self._jobs.start(_encoded, rows)

    def _take(self, strip):
        self._starts.append(self._file.tell())
        self._counts.append(len(strip))
        self._file.write(strip)

    def _directory(self, place):
        """The bytes of a page's directory, which will be at `place` of the file."""
        height, width, samples = self._shape
        kind = self._kind
        dpi = kind and kind.dpi
        directory = ImageFileDirectory_v2(b"II+\0\x08\0\0\0" + bytes(8) if self._big
                                          else b"II*\0\0\0\0\0")
        number = 16 if self._big else 4
        for tag, value in {
                **exif.as_tags(kind and kind.exif), 256: width, 257: height,
                258: (8 * self._dtype.itemsize,) * samples, 259: 8, 262: 2 if samples > 2 else 1,
                _OFFSETS: (0,) * len(self._starts), 277: samples, 278: self._strip_rows,
                _COUNTS: tuple(self._counts), 282: dpi and dpi[0], 283: dpi and dpi[1], 284: 1,
                296: dpi and 2, 317: 2, 338: 2 if samples in (2, 4) else None,
                34675: kind and kind.icc_profile}.items():
            if value is not None:
                directory[tag] = value
        directory.tagtype[_OFFSETS] = directory.tagtype[_COUNTS] = number
        data = bytearray(directory.tobytes(place))
        # Pillow takes offsets for those of strips behind the directory.
        entry, size = (8, 20) if self._big else (2, 12)
        while struct.unpack_from("<H", data, entry)[0] != _OFFSETS:
            entry += size
        layout = "<Q" if self._big else "<I"
        at = entry + size - struct.calcsize(layout)
        if len(self._starts) > 1:
            at = struct.unpack_from(layout, data, at)[0] - place
        struct.pack_into(f"<{len(self._starts)}{layout[1]}", data, at, *self._starts)
        return bytes(data)


def _links_at(directory, big):
    """Where in the bytes of a directory the offset of the next one stands."""
    return 8 + 20 * struct.unpack_from("<Q", directory)[0] if big else \
        2 + 12 * struct.unpack_from("<H", directory)[0]


def _encoded(rows):
    """A strip: differences of neighbours in a row (predictor 2), compressed by Deflate."""
    rows = np.ascontiguousarray(rows, rows.dtype.newbyteorder("<"))
    differences = rows.copy()
    differences[:, 1:] -= rows[:, :-1]
    flat = differences.view(np.uint8).reshape(len(rows), -1)
    return deflated(flat, flat, 15)[0]
