"""A file of one or several pictures, written in bands of rows under a temporary name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from common.cli import UserError, one_line
from common.files import atomic_path
from common.images import colour
from common.images.kind import ImageKind
from common.images.write_jpeg import JpegWriter
from common.images.write_png import PngWriter
from common.images.write_tiff import TiffWriter
from common.images.write_whole import AnimatedWebpWriter, WholeWriter

QUALITY = 95  # of JPEG (without chroma subsampling) and WebP
_JPEG, _TIFF = {".jpg", ".jpeg", ".jpe", ".jfif"}, {".tif", ".tiff"}
WRITTEN_SUFFIXES = frozenset({".png", ".webp", ".bmp"} | _JPEG | _TIFF)
MAX_SIDE = {**dict.fromkeys(_JPEG, 65500), ".webp": 16383}  # pixels, the encoders' limits
_DEEP = _TIFF | {".png"}
_ALPHA = _DEEP | {".webp"}


def check_writable(path: str | Path, shape: tuple[int, ...]) -> None:
    """Check that a picture of shape (height, width, ...) can be written to a path.

    Raises:
        UserError: the suffix is not in `WRITTEN_SUFFIXES`, or a side exceeds the format's limit.
    """
    suffix, (height, width) = Path(path).suffix.lower(), shape[:2]
    if suffix not in WRITTEN_SUFFIXES:
        raise UserError(f"cannot write {path}: use one of the suffixes "
                        f"{' '.join(sorted(WRITTEN_SUFFIXES))}")
    most = MAX_SIDE.get(suffix)
    if most and max(height, width) > most:
        raise UserError(f"cannot write {path} ({width}x{height} pixels): {suffix} holds at most "
                        f"{most} per side; try the suffix .png")


def holds_several(path: str | Path, kind: ImageKind) -> bool:
    """Whether a format holds all pictures of a file of this kind: frames in time, or pages."""
    suffix = Path(path).suffix.lower()
    if kind.duration is not None:
        return suffix in _TIFF or suffix in (".png", ".webp")
    return kind.format == "TIFF" and suffix in _TIFF


class PictureFile:
    """A `with` block in which a file is written; at its end it takes the place of an older one.

    JPEG is written without chroma subsampling. Where the format cannot hold them, alpha is dropped
    and 16 bits are rounded to 8.

    Args:
        path: the file, with one of `WRITTEN_SUFFIXES`.
        pictures: how many will come; see `holds_several`.
        quality: of JPEG and WebP, 1 to 100.
    """

    def __init__(self, path: str | Path, pictures: int = 1, quality: int = QUALITY):
        self.path, self._suffix = Path(path), Path(path).suffix.lower()
        self._pictures, self._quality = pictures, quality
        self._shape, self._stack = None, contextlib.ExitStack()

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self.path))
            file = stack.enter_context(open(temporary, "wb"))
            self._writer = self._open(file)
            stack.callback(self._writer.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error):
        return self._stack.__exit__(*error)

    def picture(self, shape: tuple, dtype: np.dtype, bands: Iterator[np.ndarray],
                kind: ImageKind | None = None) -> None:
        """Write a picture.

        Args:
            shape: [H, W] grey, [H, W, 1], [H, W, 2] grey and alpha, [H, W, 3] RGB, or [H, W, 4]
                RGB and alpha. Frames have the shape of the first.
            dtype: uint8 or uint16.
            bands: its rows from top to bottom, in arrays of any height.
            kind: the metadata to write where the format has them.

        Raises:
            UserError: the format cannot hold such a picture.
        """
        check_writable(self.path, shape)
        if dtype not in (np.uint8, np.uint16):
            raise ValueError(f"cannot write an image of type {dtype}; use uint8 or uint16")
        channels = 1 if len(shape) == 2 else shape[2]
        kept = channels - (channels in (2, 4) and self._suffix not in _ALPHA)
        deep = self._suffix in _DEEP
        with self._explained(shape):
            self._writer.begin((*shape[:2], kept), np.dtype(dtype if deep else np.uint8), kind)
        for band in bands:
            band = band.reshape(*band.shape[:2], channels)[..., :kept]
            with self._explained(shape):
                self._writer.rows(band if deep else colour.to_8_bits(band))
        with self._explained(shape):
            self._writer.end()

    @contextlib.contextmanager
    def _explained(self, shape):
        try:
            yield
        except (ValueError, OSError) as error:
            if getattr(error, "errno", None):
                raise
            raise UserError(f"cannot write {self.path} ({shape[1]}x{shape[0]} pixels): "
                            f"{one_line(error)}; try the suffix .png") from error

    def _open(self, file: BinaryIO):
        if self._suffix == ".png":
            return PngWriter(file, self._pictures)
        if self._suffix in _TIFF:
            return TiffWriter(file, self._pictures)
        if self._suffix in _JPEG:
            return JpegWriter(file, self._quality)
        if self._suffix == ".webp":
            if self._pictures > 1:
                return AnimatedWebpWriter(file, self._pictures, quality=self._quality)
            return WholeWriter(file, "WEBP", quality=self._quality)
        return WholeWriter(file, "BMP")
