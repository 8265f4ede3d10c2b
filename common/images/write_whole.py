"""Pictures that Pillow encodes whole: BMP, and WebP, also animated."""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

import numpy as np
from PIL import Image

from common.images.kind import ImageKind
from common.images.write_jpeg import described


class WholeWriter:
    """Collects the rows of a picture and writes it into an open file.

    Args:
        file: opened for writing, at its begin.
        name: Pillow's name of the format.
        options: for Pillow's writer.
    """

    def __init__(self, file: BinaryIO, name: str, **options):
        self._file, self._name, self._options = file, name, options

    def begin(self, shape: tuple, dtype: np.dtype, kind: ImageKind | None) -> None:
        """Begin a picture of shape [H, W, C], uint8."""
        self._array, self._top, self._kind = np.empty(shape, dtype), 0, kind

    def rows(self, band: np.ndarray) -> None:
        """Take the next rows."""
        self._array[self._top:self._top + len(band)] = band
        self._top += len(band)

    def end(self) -> None:
        """Encode and write the picture."""
        self._save(self._file, described(self._kind))

    def close(self) -> None:
        """Nothing is left to end."""

    def _save(self, file, options):
        array = self._array[..., 0] if self._array.shape[-1] == 1 else self._array
        Image.fromarray(array).save(file, self._name, **self._options, **options)


class AnimatedWebpWriter(WholeWriter):
    """Writes the frames of an animation, each encoded as a WebP picture of its own.

    Args:
        file: opened for writing, at its begin; it can seek.
        options: for Pillow's writer.
    """

    def __init__(self, file: BinaryIO, pictures: int, **options):
        super().__init__(file, "WEBP", **options)
        self._left, self._begun = pictures, False

    def begin(self, shape: tuple, dtype: np.dtype, kind: ImageKind | None) -> None:
        """Begin a frame; `kind` says how long it is shown."""
        super().begin(shape, dtype, kind)
        if not self._begun:
            self._begun = True
            flags = 2 | 16 * (shape[-1] in (2, 4))
            flags |= 32 * bool(kind.icc_profile) | 8 * bool(kind.exif)
            self._file.write(b"RIFF\0\0\0\0WEBP")
            self._chunk(b"VP8X", struct.pack("<I", flags) + _three(shape[1] - 1, shape[0] - 1))
            if kind.icc_profile:
                self._chunk(b"ICCP", kind.icc_profile)
            self._chunk(b"ANIM", struct.pack("<IH", 0, min(kind.plays, 65535)))

    def end(self) -> None:
        """Encode and write the frame."""
        file = io.BytesIO()
        self._save(file, {})
        height, width = self._array.shape[:2]
        # Shown as it is, whatever was before.
        head = _three(0, 0, width - 1, height - 1, round(self._kind.duration or 0)) + b"\x02"
        self._chunk(b"ANMF", head + _picture(file.getvalue()))
        self._left -= 1
        if not self._left:
            if self._kind.exif:
                exif = self._kind.exif
                self._chunk(b"EXIF", exif[6:] if exif.startswith(b"Exif\0\0") else exif)
            size = self._file.tell() - 8
            self._file.seek(4)
            self._file.write(struct.pack("<I", size))

    def _chunk(self, name, data):
        self._file.write(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2))


def _three(*numbers):
    """Numbers of three bytes."""
    return b"".join(struct.pack("<I", number)[:3] for number in numbers)


def _picture(webp):
    """The chunks of a WebP file that hold pixels and alpha."""
    place, found = 12, b""
    while place < len(webp):
        size = 8 + struct.unpack_from("<I", webp, place + 4)[0]
        size += size % 2
        if webp[place:place + 4] in (b"ALPH", b"VP8 ", b"VP8L"):
            found += webp[place:place + size]
        place += size
    return found
