"""JPEG files whose rows are encoded in bands by Pillow, and joined with restart markers.

Each band becomes one restart interval: the coefficients are those of the whole picture encoded at
once, and any decoder reads it.
"""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

import numpy as np
from PIL import Image

from common.images.kind import ImageKind
from common.images.row_chunks import Chunks, ChunkWriter

_BLOCK = 8  # rows and columns; without chroma subsampling there is one size
_CHUNK = 2 ** 20  # pixels
_MOST_BLOCKS = 65535  # in a restart interval
_FRAME, _SCAN, _END = b"\xff\xc0", b"\xff\xda", b"\xff\xd9"


class JpegWriter(ChunkWriter):
    """Writes one picture into an open file, without chroma subsampling.

    Args:
        file: opened for writing, at its begin.
        quality: 1 to 100.
    """

    def __init__(self, file: BinaryIO, quality: int):
        self._file, self._quality = file, quality
        super().__init__()
        self._written = 0

    def begin(self, shape: tuple, dtype: np.dtype, kind: ImageKind | None) -> None:
        """Begin the picture of shape [H, W, 1] or [H, W, 3], uint8."""
        self._shape = shape
        across = -(-shape[1] // _BLOCK)
        down = min(_MOST_BLOCKS // across, max(1, _CHUNK // (_BLOCK * shape[1])))
        self._interval = across * down if _BLOCK * down < shape[0] else 0
        self._chunks = Chunks(_BLOCK * down)
        self._options = described(kind)

    def end(self) -> None:
        """End the picture."""
        self._finish()
        self._file.write(_END)

    def _start(self, rows):
        self._jobs.start(_encoded, rows, self._quality, self._options)
        self._options = {}

    def _take(self, jpeg):
        head, scan = _parts(jpeg)
        if self._written:
            self._file.write(bytes([0xff, 0xd0 + (self._written - 1) % 8]))
        else:
            self._file.write(self._head(head))
        self._file.write(scan)
        self._written += 1

    def _head(self, head):
        """The first band's markers with the picture's height, and with the restart interval."""
        if not self._interval:
            return head
        frame, scan = _find(head, _FRAME), _find(head, _SCAN)
        restart = struct.pack(">HHH", 0xffdd, 4, self._interval)
        return (head[:frame + 5] + struct.pack(">H", self._shape[0]) + head[frame + 7:scan]
                + restart + head[scan:])


def described(kind: ImageKind | None) -> dict:
    """The options of Pillow's writers for the colour profile, EXIF data and resolution."""
    return {} if kind is None else {name: value for name, value in (
        ("icc_profile", kind.icc_profile), ("exif", kind.exif), ("dpi", kind.dpi)) if value}


def _encoded(rows, quality, options):
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rows if rows.shape[-1] > 1 else rows[..., 0])).save(
        file, "JPEG", quality=quality, subsampling=0, **options)
    return file.getvalue()


def _parts(jpeg):
    """(markers up to the scan's, the scan's data without the end) of a baseline JPEG."""
    scan = _find(jpeg, _SCAN)
    data = scan + 2 + int.from_bytes(jpeg[scan + 2:scan + 4], "big")
    return jpeg[:data], jpeg[data:jpeg.rindex(_END)]


def _find(jpeg, marker):
    """Where a marker begins."""
    place = 2
    while jpeg[place:place + 2] != marker:
        place += 2 + int.from_bytes(jpeg[place + 2:place + 4], "big")
    return place
