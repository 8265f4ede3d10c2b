"""PNG files: their chunks, which Pillow reads only in part, and 16-bit colour."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.cli import UserError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_MOST_PER_BYTE = 1032  # bytes that one byte of a deflate stream can stand for


@dataclass(frozen=True)
class PngHeader:
    """What the chunks of a PNG file say.

    Args:
        width, height: in pixels.
        depth: bits per channel, 1 to 16.
        colour_type: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha.
        key: the transparent grey level or colour as stored, one number per channel, or None.
        exif: EXIF data, or None.
    """

    width: int
    height: int
    depth: int
    colour_type: int
    key: tuple | None = None
    exif: bytes | None = None

    @property
    def is_deep_colour(self) -> bool:
        """Whether there are several 16-bit channels, which Pillow would reduce to 8 bits."""
        return self.depth == 16 and self.colour_type != 0


def read_header(path: str | Path) -> PngHeader:
    """Read the chunks of a PNG file, except its pixels.

    Raises:
        UserError: the header is damaged, or promises more pixels than the file can hold.
    """
    found, data_bytes = {}, 0
    with open(path, "rb", buffering=0) as file:  # unbuffered: most of the file is skipped
        for name, length in _chunks(file):
            if name == b"IDAT":
                data_bytes += length
            elif name in (b"IHDR", b"tRNS", b"eXIf"):
                found.setdefault(name, file.read(length))
    try:
        width, height, depth, colour_type = struct.unpack(">IIBB", found[b"IHDR"][:10])
        bits = depth * _CHANNELS[colour_type]
    except (KeyError, struct.error):
        raise UserError(f"cannot read {path} as an image: the header is damaged") from None
    if height * (width * bits // 8 + 1) > _MOST_PER_BYTE * (data_bytes + 1):
        raise UserError(f"{path} promises {width}x{height} pixels, more than its {data_bytes} "
                        "bytes of image data can hold; the file is damaged")
    key = None
    if b"tRNS" in found and colour_type in (0, 2):
        count = _CHANNELS[colour_type]
        if len(found[b"tRNS"]) >= 2 * count:
            key = tuple(value & (2 ** depth - 1)
                        for value in struct.unpack_from(f">{count}H", found[b"tRNS"]))
    return PngHeader(width, height, depth, colour_type, key, found.get(b"eXIf"))


def _chunks(file):
    """Yield (name, length) of each chunk; the file is then at its data, which it holds."""
    size, place = file.seek(0, 2), len(SIGNATURE)
    while place + 8 <= size:
        file.seek(place)
        length, name = struct.unpack(">I4s", file.read(8))
        yield name, min(length, size - place - 8)
        place += length + 12


def check_data(path: str | Path) -> None:
    """Compare the checksums of the image data, which Pillow skips.

    Raises:
        UserError: one is wrong.
    """
    with open(path, "rb") as file:
        for name, length in _chunks(file):
            if name == b"IDAT":
                wanted = zlib.crc32(name + file.read(length))
                if file.read(4) != struct.pack(">I", wanted):
                    raise UserError(f"cannot read {path} as an image: a checksum is wrong")


def with_key(array: np.ndarray, header: PngHeader) -> np.ndarray:
    """Add the alpha channel that the transparent colour of a PNG file stands for.

    Args:
        array: uint8 or uint16, HxW grey or HxWx3, of full range.
        header: of the file, with a `key`.

    Returns:
        the same type, HxWx2 or HxWx4.
    """
    array = array.reshape(*array.shape[:2], -1)
    most = np.iinfo(array.dtype).max
    scale = most // (2 ** header.depth - 1)
    hidden = (array == np.array(header.key) * scale).all(axis=-1)
    return np.dstack([array, np.where(hidden, 0, most).astype(array.dtype)])


def read_deep_colour(path: str | Path, header: PngHeader) -> np.ndarray:
    """Read the colours of a PNG file of 16 bits per channel: uint16, HxWx2, HxWx3 or HxWx4.

    The transparent colour, if there is one, is not yet an alpha channel.

    Raises:
        UserError: OpenCV is missing, or cannot read the file.
    """
    try:
        import cv2
    except ImportError as error:  # also where a library of the other OpenCV package is missing
        raise UserError("16-bit colour needs OpenCV: "
                        "pip install opencv-python-headless") from error
    # Without the other chunks, in which OpenCV believes every length.
    with open(path, "rb") as file:
        parts = [chunk(name, file.read(length)) for name, length in _chunks(file)
                 if name in (b"IHDR", b"IDAT")]
    data = np.frombuffer(SIGNATURE + b"".join([*parts, chunk(b"IEND", b"")]), np.uint8)
    array = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if array is None or array.ndim != 3 or array.dtype != np.uint16:
        raise UserError(f"cannot read {path} as a 16-bit colour image")
    # OpenCV returns B, G, R and alpha, also of grey and alpha.
    order = {2: [2, 1, 0], 4: [0, 3], 6: [2, 1, 0, 3]}[header.colour_type]
    return np.ascontiguousarray(array[..., order])


def chunk(name: bytes, data: bytes) -> bytes:
    """The bytes of a chunk."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
