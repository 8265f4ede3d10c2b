"""The first frame of an image file that Pillow reads, with nothing of its pixels lost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from common.cli import UserError
from common.images import colour, exif, png
from common.images.kind import ImageKind
from common.images.opening import pixels


def read_first(path: str | Path, image: Image.Image,
               header: png.PngHeader | None) -> tuple[np.ndarray, ImageKind]:
    """Read the first frame, upright; `common.images.files.read_image` says of what kind.

    Args:
        path: of the file.
        image: the file, opened by Pillow.
        header: of a PNG file, else None.

    Raises:
        UserError: the pixels are neither of 8 nor of 16 bits. Decoders raise other types.
    """
    pictures = getattr(image, "n_frames", 1)
    if header is not None:
        png.check_data(path)
    image.load()  # checks the rest, also of files that OpenCV decodes below
    data, notes = image.info.get("exif") or None, []
    profile, dpi = image.info.get("icc_profile") or None, _dpi(image)
    if header is not None and header.is_deep_colour:
        array = png.read_deep_colour(path, header)
    elif image.mode == "CMYK":
        rgb, profile, note = colour.to_rgb(image, profile)
        array, notes = pixels(rgb), [note] * bool(note)
    else:
        mode = _wanted_mode(image, header)
        array = _to_uint(pixels(image if image.mode == mode else image.convert(mode)), path)
    if header is not None and header.key:
        array = png.with_key(array, header)
    bits = _bits(path, image.format)
    if bits > 8 and array.dtype == np.uint8:
        notes.append(f"its {bits} bits per channel are read as 8")
    turned = exif.orientation(data)
    if turned >= 5 and dpi:
        dpi = dpi[::-1]
    kind = ImageKind(image.format, profile, exif.without_orientation(data), dpi, pictures,
                     tuple(notes))
    return exif.upright(array, turned), kind


def read_frames(path: str | Path, image: Image.Image,
                header: png.PngHeader | None) -> Iterator[tuple[np.ndarray, ImageKind]]:
    """Yield the frames of an animation as `read_first` does, all of one shape, of 8 bits.

    Arguments and errors are those of `read_first`.
    """
    _, kind = read_first(path, image, header)
    data = image.info.get("exif") or None
    mode = "RGBA" if image.format == "GIF" else _wanted_mode(image, None)
    # A PNG may have a picture for programs that show no animations.
    first, count = int(image.info.get("default_image", False)), image.n_frames
    loop = image.info.get("loop")
    if image.format == "GIF":  # it says how often to repeat, if at all
        loop = 1 if loop is None else loop and loop + 1
    notes = kind.notes
    if header is not None and header.depth == 16:
        mode = {"I;16": "L"}.get(mode, mode)
        notes = (*notes, "its 16 bits per channel are read as 8")
    for number in range(first, count):
        image.seek(number)
        image.load()
        array = _to_uint(pixels(image if image.mode == mode else image.convert(mode)), path)
        yield exif.upright(array, exif.orientation(data)), replace(
            kind, pictures=count - first, duration=float(image.info.get("duration") or 0),
            plays=loop or 0, notes=notes)


def _bits(path, name):
    """Bits per channel, of the formats whose colours Pillow may reduce to 8; else 8."""
    pattern = {"PPM": rb"P[36]" + 3 * rb"\s(?:\s|#[^\n]*\n)*(\d+)" + rb"\s",
               "JPEG2000": rb"\xff\x4f\xff\x51.{38}(.)",  # the depth of the first component
               "AVIF": rb"pixi.{5}(.)"}.get(name)
    if pattern is None:
        return 8
    with open(path, "rb") as file:
        found = re.search(pattern, file.read(2 ** 16), re.DOTALL)
    if not found:
        return 8
    return {"PPM": lambda: int(found.group(3)).bit_length(),
            "JPEG2000": lambda: (found.group(1)[0] & 127) + 1,
            "AVIF": lambda: found.group(1)[0]}[name]()


def _dpi(image):
    """(horizontal, vertical) pixels per inch, or None where the file does not say them."""
    if image.format in ("JPEG", "MPO") and not image.info.get("jfif_unit") and \
            0x011A not in image.getexif():
        return None  # Pillow would say 72
    dpi = image.info.get("dpi")
    return tuple(map(float, dpi)) if dpi and min(dpi) > 0 else None


def _wanted_mode(image, header):
    """The grey or RGB mode of Pillow, with or without alpha, that keeps what the file holds."""
    mode = image.mode
    transparent = "transparency" in image.info and not (header is not None and header.key)
    if mode.startswith(("I", "F")):
        return mode
    if mode in ("1", "L"):
        return "LA" if transparent else "L"
    if mode in ("LA", "La"):
        return "LA"
    return "RGBA" if transparent or mode in ("RGBA", "RGBa", "PA") else "RGB"


def _to_uint(array, path):
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind in "iu" and array.min() >= 0 and array.max() <= 65535:
        return array.astype(np.uint16)
    raise UserError(f"{path} holds {array.dtype} values; only 8-bit and 16-bit images can be read")
