"""EXIF data: the orientation of the pixels, and what a TIFF file says about its picture."""

from __future__ import annotations

import struct
from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

_ORIENTATION = 0x0112
# Description, make, model, software, date, artist, copyright; the EXIF and GPS directories. The
# other tags of a TIFF file describe how its pixels are stored.
_DESCRIPTIVE = (0x010D, 0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x013C, 0x8298)
_DIRECTORIES = (0x8769, 0x8825)


def orientation(exif: bytes | None) -> int:
    """Return the orientation in EXIF data, 1 to 8; 1 (upright) where there is none."""
    place = _orientation_at(exif)
    value = struct.unpack_from(place[1], exif, place[0])[0] if place else 1
    return value if 1 <= value <= 8 else 1


def without_orientation(exif: bytes | None) -> bytes | None:
    """Return the same EXIF data, byte for byte, but with the orientation 1 (upright)."""
    if orientation(exif) == 1:
        return exif
    offset, layout = _orientation_at(exif)
    changed = bytearray(exif)
    struct.pack_into(layout, changed, offset, 1)
    return bytes(changed)


def _orientation_at(exif):
    """(offset, struct layout) of the orientation's value in EXIF data, or None."""
    if not exif:
        return None
    start = 6 if exif.startswith(b"Exif\0\0") else 0
    order = {b"II": "<", b"MM": ">"}.get(exif[start:start + 2])
    if order is None:
        return None
    try:
        first = start + struct.unpack_from(order + "I", exif, start + 4)[0]
        count = struct.unpack_from(order + "H", exif, first)[0]
        for entry in range(first + 2, first + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(order + "HH", exif, entry)
            if tag == _ORIENTATION and kind in (1, 3, 4):
                layout = order + {1: "B", 3: "H", 4: "I"}[kind]
                struct.unpack_from(layout, exif, entry + 8)
                return entry + 8, layout
    except struct.error:  # damaged EXIF data says nothing
        pass
    return None


def upright(array: np.ndarray, turned: int) -> np.ndarray:
    """Turn and mirror stored pixels, [H, W, ...], to how an orientation of 1 to 8 shows them."""
    if turned >= 5:
        array = np.swapaxes(array, 0, 1)
    if turned in (3, 4, 7, 8):
        array = array[::-1]
    if turned in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array


def read_from_tiff(file: BinaryIO, description: bool) -> bytes | None:
    """Collect what a TIFF file says about its picture as EXIF data, without the orientation.

    Args:
        file: the open file.
        description: whether the image description is meant for people; programs store the layout
            of scientific data there, which would be wrong for an enlarged image.

    Returns:
        EXIF data, or None where there is nothing.
    """
    try:
        file.seek(0)
        head = file.read(8)
        if head[2:4] in (b"+\0", b"\0+"):  # BigTIFF
            head += file.read(8)
        source, result = ImageFileDirectory_v2(head), Image.Exif()
        file.seek(source.next)
        source.load(file)
        for tag in _DESCRIPTIVE:
            if tag in source and (description or tag != 0x010E):
                result[tag] = source[tag]
        for tag in _DIRECTORIES:
            if tag in source:
                inner = ImageFileDirectory_v2(head, group=tag)
                file.seek(source[tag])
                inner.load(file)
                result[tag] = dict(inner)
        return result.tobytes() if len(result) else None
    except Exception:  # Pillow raises many types on damaged tags, which are not worth the picture
        return None


def as_tags(exif: bytes | None) -> dict[int, Any]:
    """Return EXIF data as {tag: value} for the directory of a TIFF file; inner ones are dicts."""
    source, directory = Image.Exif(), ImageFileDirectory_v2(b"II*\0\0\0\0\0")
    try:
        source.load(exif or b"")
        tags = {tag: source[tag] for tag in _DESCRIPTIVE if tag in source}
        tags.update((tag, dict(source.get_ifd(tag))) for tag in _DIRECTORIES if tag in source)
        tags = {tag: value for tag, value in tags.items() if value}
        for tag, value in tags.items():
            directory[tag] = value
        directory.tobytes(8)  # what cannot be written is not worth the picture either
    except Exception:
        return {}
    return tags
