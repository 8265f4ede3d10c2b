"""Image files: read as RGB for training, or as stored so that a result can keep the format."""

from __future__ import annotations

import contextlib
import functools
import logging
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from common.cli import UserError, one_line
from common.files import existing_folder
from common.images import colour, exif, png, tiff, with_pillow
from common.images.kind import ImageKind
from common.images.opening import Opened
from common.images.picture_file import WRITTEN_SUFFIXES, PictureFile, check_writable

# A result of a format that is not written becomes a PNG.
IMAGE_SUFFIXES = WRITTEN_SUFFIXES | {".gif", ".avif", ".jp2", ".ppm", ".tga"}
MAX_MEGAPIXELS = 200  # of an image that is read, unless `at_most` says otherwise

_ANIMATIONS = ("PNG", "WEBP", "GIF", "AVIF")
_limits = [MAX_MEGAPIXELS]  # the last counts
_SMALL = 2 ** 24  # pixels; so many are read from however few bytes
# A JPEG has at least one bit for 64 pixels; the others are known for flat colour only.
_PIXELS_PER_BYTE = {"JPEG": 512, "MPO": 512}
_OTHERS_PER_BYTE = 10_000

log = logging.getLogger("sr_zoo")


def list_images(folder: str | Path, recursive: bool = False) -> list[Path]:
    """List the image files of a folder by name, without hidden files; sub-folders if `recursive`.

    Raises:
        UserError: the folder does not exist or has no images.
    """
    folder = existing_folder(folder)
    images = find_images(folder, recursive)
    if not images:
        inside = sorted(path.name for path in folder.iterdir() if path.is_dir())
        hint = f"; its sub-folders are {', '.join(inside[:8])}" if inside else ""
        raise UserError(f"no images ({' '.join(sorted(IMAGE_SUFFIXES))}) in {folder}{hint}")
    return images


def find_images(folder: str | Path, recursive: bool = False) -> list[Path]:
    """List the image files of an existing folder by name; the list may be empty."""
    folder = Path(folder)
    return sorted(path for path in (folder.rglob("*") if recursive else folder.iterdir())
                  if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
                  and not any(part.startswith(".") for part in path.relative_to(folder).parts))


def read_size(path: str | Path) -> tuple[int, int]:
    """Read (height, width) in pixels from the header of an image file, as `read_image` turns it.

    Raises:
        UserError: the file does not exist, is not an image, is larger than allowed, or its header
            promises more pixels than it can hold.
    """
    with _explained(path):
        if tiff.is_tiff(path):
            size = tiff.read_size(path)
            _check_size(path, *size)
        else:
            with Opened(path) as image:
                header = _checked_header(path, image)
                size, data = image.size, header.exif if header else image.info.get("exif")
            size = size if exif.orientation(data) >= 5 else size[::-1]
        return size


@contextlib.contextmanager
def at_most(max_megapixels: float) -> Iterator[None]:
    """Refuse larger images than usual, or read them, in a `with` block and its threads.

    Args:
        max_megapixels: how many million pixels an image may have, in place of `MAX_MEGAPIXELS`;
            0: any number.
    """
    _limits.append(max_megapixels)
    try:
        yield
    finally:
        _limits.pop()


def _check_size(path, height, width, per_byte=0):
    """Refuse an image that may be a trap, or needs more memory than was meant.

    `per_byte`: how many pixels one byte of such a file can stand for, where that is known.
    """
    most, size = _limits[-1], Path(path).stat().st_size
    if most and height * width > most * 1e6:
        raise UserError(f"{path} has {width}x{height} pixels, more than {most:g} million; if it "
                        "is meant, allow more with --max_megapixels")
    if most and per_byte and height * width > max(_SMALL, per_byte * size):
        raise UserError(f"{path} promises {width}x{height} pixels in {size} bytes; if it is "
                        "meant, allow any size with --max_megapixels 0")


def _checked_header(path, image):
    """Check the size of an image that Pillow has opened; returns the header of a PNG."""
    is_png = image.format == "PNG"
    header = png.read_header(path) if is_png else None
    per_byte = 0 if is_png else _PIXELS_PER_BYTE.get(image.format, _OTHERS_PER_BYTE)
    _check_size(path, image.height, image.width, per_byte)
    return header


def read_rgb(path: str | Path) -> np.ndarray:
    """Read any image file as uint8 HxWx3 in [0, 255].

    Grey is repeated, palettes are expanded, 16 bits rounded to 8, and alpha dropped. What else is
    left out is logged once.

    Raises:
        UserError: as `read_image`.
    """
    array, kind = read_image(path)
    for line in kind.losses(path, "used"):
        _warn_once(line)
    array = colour.to_8_bits(array)
    if array.ndim == 2:
        array = array[..., None]
    if array.shape[-1] < 3:
        return np.repeat(array[..., :1], 3, axis=-1)
    return np.ascontiguousarray(array[..., :3])


def read_image(path: str | Path) -> tuple[np.ndarray, ImageKind]:
    """Read the first frame of an image file, upright and otherwise as stored.

    Returns:
        (array, kind): uint8 in [0, 255] or uint16 in [0, 65535]; HxW grey, HxWx2 grey and alpha,
        HxWx3 RGB or HxWx4 RGB and alpha. Palettes are expanded. CMYK and Lab colours become sRGB,
        through the file's colour profile where there is one.

    Raises:
        UserError: the file does not exist, is not an image, is damaged or larger than allowed, or
            holds a kind of pixels that cannot be read.
    """
    with _explained(path):
        if tiff.is_tiff(path):
            _check_size(path, *tiff.read_size(path))
            array, kind = tiff.read_first(path)
        else:
            with Opened(path) as image:
                array, kind = with_pillow.read_first(path, image, _checked_header(path, image))
        return _fitting(array, kind)


def read_pictures(path: str | Path) -> Iterator[tuple[np.ndarray, ImageKind]]:
    """Yield all frames of an animation, all pages of a TIFF file, or the one picture of another.

    Each is what `read_image` would return for it, the frames of one shape and of 8 bits. The
    `ImageKind` says how many there are, and how long a frame is shown.

    Raises:
        UserError: as `read_image`.
    """
    with _explained(path):
        if tiff.is_tiff(path):
            _check_size(path, *tiff.read_size(path))
            for array, kind in tiff.read_pages(path):
                yield _fitting(array, kind)
            return
        with Opened(path) as image:
            if image.format in _ANIMATIONS and getattr(image, "n_frames", 1) > 1:
                header = _checked_header(path, image)
                for array, kind in with_pillow.read_frames(path, image, header):
                    yield _fitting(array, kind)
                return
    yield read_image(path)


def _fitting(array, kind):
    """Contiguous, grey as HxW, and without a profile of other colours."""
    array = np.ascontiguousarray(array[..., 0] if array.shape[2:] == (1,) else array)
    channels = 1 if array.ndim == 2 else array.shape[-1]
    return array, kind if colour.fits(kind.icc_profile, channels) else replace(
        kind, icc_profile=None)


def write_image(path: str | Path, array: np.ndarray, kind: ImageKind | None = None) -> None:
    """Write an image atomically, in the format given by the suffix of `path`.

    JPEG uses quality 95 without chroma subsampling, WebP quality 95. Where the format cannot hold
    them, alpha is dropped and 16 bits are rounded to 8.

    Args:
        path: the file, with one of `WRITTEN_SUFFIXES`.
        array: uint8 or uint16; HxW, HxWx1, HxWx2, HxWx3 or HxWx4 (see `read_image`).
        kind: the colour profile, EXIF data and resolution to write where the format has them.

    Raises:
        UserError: another suffix, or the format cannot hold such an image.
    """
    array = np.asarray(array)
    check_writable(path, array.shape)
    with PictureFile(path) as file:
        file.picture(array.shape, array.dtype, [array], kind)


@contextlib.contextmanager
def _explained(path: str | Path) -> Iterator[None]:
    """Turn errors of decoders into a `UserError` with the name of the file."""
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of damaged metadata, in several lines
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"no such file: {path}") from error
    except IsADirectoryError as error:
        raise UserError(f"{path} is a folder, not an image file") from error
    except PermissionError as error:
        raise UserError(f"cannot read {path}: permission denied") from error
    except (UserError, MemoryError):
        raise
    except Exception as error:
        # Decoders raise many types on broken bytes: OSError, SyntaxError, struct.error, ...
        reason = "not an image, or damaged" if isinstance(error, Image.UnidentifiedImageError) \
            else one_line(error) or type(error).__name__
        raise UserError(f"cannot read {path} as an image: {reason}") from error


@functools.lru_cache(None)
def _warn_once(line):
    log.warning(line)
