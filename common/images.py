"""Image files: read as RGB for training, or as stored so that a result can keep the format."""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from common.cli import UserError, one_line
from common.files import atomic_path, existing_folder

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
QUALITY = 95  # of JPEG (without chroma subsampling) and WebP
MAX_SIDE = {".jpg": 65500, ".jpeg": 65500, ".webp": 16383}  # pixels, the encoders' limits

_DEEP_SUFFIXES = {".png", ".tif", ".tiff"}
_ALPHA_SUFFIXES = {".png", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class ImageKind:
    """A file's format and metadata, for writing a result of the same kind."""

    format: str
    icc_profile: bytes | None = None
    exif: bytes | None = None


def list_images(folder: str | Path) -> list[Path]:
    """List the image files of a folder by name, without sub-folders and hidden files.

    Raises:
        UserError: the folder does not exist or has no images.
    """
    folder = existing_folder(folder)
    images = find_images(folder)
    if not images:
        inside = sorted(path.name for path in folder.iterdir() if path.is_dir())
        hint = f"; its sub-folders are {', '.join(inside[:8])}" if inside else ""
        raise UserError(f"no images ({' '.join(sorted(IMAGE_SUFFIXES))}) in {folder}{hint}")
    return images


def find_images(folder: str | Path) -> list[Path]:
    """List the image files of an existing folder by name; the list may be empty."""
    return sorted(path for path in Path(folder).iterdir()
                  if path.suffix.lower() in IMAGE_SUFFIXES
                  and not path.name.startswith(".") and path.is_file())


@contextlib.contextmanager
def any_size() -> Iterator[None]:
    """Lift Pillow's limit of 179 million pixels within a `with` block."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def read_size(path: str | Path) -> tuple[int, int]:
    """Read (height, width) in pixels from the header of an image file.

    Raises:
        UserError: the file does not exist or is not an image.
    """
    with _opened(path) as image:
        return image.height, image.width


def read_rgb(path: str | Path) -> np.ndarray:
    """Read any image file as uint8 HxWx3 in [0, 255].

    Grey is repeated, palettes are expanded, 16 bits rounded to 8, and alpha dropped.

    Raises:
        UserError: the file does not exist, is not an image, or is damaged.
    """
    array, _ = read_image(path)
    array = _to_8_bits(array)
    if array.ndim == 2:
        array = array[..., None]
    if array.shape[-1] < 3:
        return np.repeat(array[..., :1], 3, axis=-1)
    return np.ascontiguousarray(array[..., :3])


def read_image(path: str | Path) -> tuple[np.ndarray, ImageKind]:
    """Read the first frame of an image file as stored.

    Returns:
        (array, kind): uint8 in [0, 255] or uint16 in [0, 65535]; HxW grey, HxWx2 grey and alpha,
        HxWx3 RGB or HxWx4 RGB and alpha. Palettes are expanded, and other colour spaces become
        RGB (without their colour profile, which would not describe RGB).

    Raises:
        UserError: the file does not exist, is not an image, or is damaged.
    """
    with _opened(path) as image:
        image.load()  # checks every byte, also of files that OpenCV decodes below
        profile = image.info.get("icc_profile") if image.mode not in ("CMYK", "HSV") else None
        kind = ImageKind(image.format, profile or None, image.info.get("exif") or None)
        if _is_deep_colour(image, path):
            return _read_deep_colour(path, image.format == "PNG"), kind
        mode = _wanted_mode(image)
        return _to_uint(np.array(image if image.mode == mode else image.convert(mode)), path), kind


def write_image(path: str | Path, array: np.ndarray, kind: ImageKind | None = None) -> None:
    """Write an image atomically, in the format given by the suffix of `path`.

    JPEG uses quality 95 without chroma subsampling, WebP quality 95. Where the format cannot hold
    them, alpha is dropped and 16 bits are rounded to 8.

    Args:
        path: the file, with one of `IMAGE_SUFFIXES`.
        array: uint8 or uint16; HxW, HxWx1, HxWx2, HxWx3 or HxWx4 (see `read_image`).
        kind: the colour profile and EXIF data to write (a 16-bit colour TIFF gets no EXIF).

    Raises:
        UserError: another suffix, or the format cannot hold such an image.
    """
    path, array = Path(path), np.asarray(array)
    suffix = path.suffix.lower()
    check_writable(path, array.shape)
    if array.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"cannot write an image of type {array.dtype}; use uint8 or uint16")
    if array.ndim == 3 and array.shape[-1] in (2, 4) and suffix not in _ALPHA_SUFFIXES:
        array = array[..., :-1]
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if suffix not in _DEEP_SUFFIXES:
        array = _to_8_bits(array)
    with atomic_path(path) as temporary:
        try:
            if array.dtype == np.uint16 and array.ndim == 3:
                _write_deep_colour(temporary, array, kind)
            else:
                _write_with_pillow(temporary, array, kind)
        except (ValueError, OSError) as error:
            if getattr(error, "errno", None):
                raise
            raise UserError(f"cannot write {path} ({array.shape[1]}x{array.shape[0]} pixels): "
                            f"{one_line(error)}; try the suffix .png") from error


def check_writable(path: str | Path, shape: tuple[int, ...]) -> None:
    """Check that `write_image` can write an image of shape (height, width, ...) to a path.

    Raises:
        UserError: the suffix is not in `IMAGE_SUFFIXES`, or a side exceeds the format's limit.
    """
    suffix, (height, width) = Path(path).suffix.lower(), shape[:2]
    if suffix not in IMAGE_SUFFIXES:
        raise UserError(f"cannot write {path}: use one of the suffixes "
                        f"{' '.join(sorted(IMAGE_SUFFIXES))}")
    most = MAX_SIDE.get(suffix)
    if most and max(height, width) > most:
        raise UserError(f"cannot write {path} ({width}x{height} pixels): {suffix} holds at most "
                        f"{most} per side; try the suffix .png")


class _opened:
    """Open a file with Pillow; decoder errors in the block become a `UserError` with its name."""

    def __init__(self, path):
        self.path = Path(path)

    def __enter__(self):
        try:
            self.image = Image.open(self.path)
        except BaseException as error:
            self._explain(error)
            raise
        return self.image

    def __exit__(self, kind, error, trace):
        self.image.close()
        self._explain(error)

    def _explain(self, error):
        if isinstance(error, FileNotFoundError):
            raise UserError(f"no such file: {self.path}") from error
        if isinstance(error, IsADirectoryError):
            raise UserError(f"{self.path} is a folder, not an image file") from error
        if isinstance(error, PermissionError):
            raise UserError(f"cannot read {self.path}: permission denied") from error
        # Decoders raise many types on broken bytes: OSError, SyntaxError, struct.error, ...
        if isinstance(error, Exception) and not isinstance(error, (UserError, MemoryError)):
            reason = "not an image, or damaged" if isinstance(error, Image.UnidentifiedImageError) \
                else one_line(error) or type(error).__name__
            raise UserError(f"cannot read {self.path} as an image: {reason}") from error


def _wanted_mode(image):
    """The grey or RGB mode of Pillow, with or without alpha, that keeps what the file holds."""
    mode, transparent = image.mode, "transparency" in image.info
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


def _to_8_bits(array):
    if array.dtype == np.uint8:
        return array
    return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _is_deep_colour(image, path):
    """Whether the file has several 16-bit channels, which Pillow would reduce to 8 bits."""
    if image.format == "PNG":
        depth, colour_type = _png_header(path)
        return depth == 16 and colour_type != 0
    if image.format == "TIFF":
        bits = image.tag_v2.get(258, ())
        return len(bits) > 1 and max(bits) == 16
    return False


def _png_header(path):
    with open(path, "rb") as file:
        return file.read(26)[24:]


def _read_deep_colour(path, is_png):
    cv2 = _opencv()
    array = cv2.imdecode(np.fromfile(str(path), np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.ndim != 3:
        raise UserError(f"cannot read {path} as a 16-bit colour image")
    order = [2, 1, 0, 3][:array.shape[-1]]
    if is_png and _png_header(path)[1] == 4:
        order = [0, 3]  # OpenCV returns grey and alpha as colour and alpha
    return np.ascontiguousarray(array[..., order])


def _write_with_pillow(path, array, kind):
    options = {}
    if kind is not None:
        options = {name: value for name, value in
                   (("icc_profile", kind.icc_profile), ("exif", kind.exif)) if value}
    suffix = path.suffix.lower()
    if suffix in (".jpg", ".jpeg"):
        options.update(quality=QUALITY, subsampling=0)
    elif suffix == ".webp":
        options.update(quality=QUALITY)
    elif suffix in (".tif", ".tiff"):
        options.update(compression="tiff_adobe_deflate")
    Image.fromarray(np.ascontiguousarray(array)).save(path, **options)


def _write_deep_colour(path, array, kind):
    profile = kind.icc_profile if kind is not None else None
    if path.suffix.lower() == ".png":
        path.write_bytes(_deep_png(array, profile, kind.exif if kind is not None else None))
        return
    import tifffile

    if array.shape[-1] == 2:  # Pillow cannot read a TIFF of 16-bit grey and alpha
        array = array[..., [0, 0, 0, 1]]
    alpha = {"extrasamples": ["unassalpha"]} if array.shape[-1] == 4 else {}
    tifffile.imwrite(str(path), array, photometric="rgb", planarconfig="contig",
                     compression="zlib", metadata=None, iccprofile=profile, **alpha)


def _deep_png(array, profile, exif):
    """Bytes of a 16-bit colour PNG; neither Pillow nor OpenCV can write one with a profile."""
    height, width, channels = array.shape
    rows = array.astype(">u2").view(np.uint8).reshape(height, -1)
    # Filter 2 (difference from the row above) is cheap in NumPy and compresses photographs well.
    filtered = np.full((height, 1 + rows.shape[1]), 2, np.uint8)
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    colour_type = {2: 4, 3: 2, 4: 6}[channels]
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))]
    if profile:
        chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(profile)))
    if exif:
        chunks.append((b"eXIf", exif[6:] if exif.startswith(b"Exif\0\0") else exif))
    chunks += [(b"IDAT", zlib.compress(filtered, 6)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks)


def _opencv():
    try:
        import cv2
    except ImportError as error:  # also where a library of the other OpenCV package is missing
        raise UserError("16-bit colour needs OpenCV: "
                        "pip install opencv-python-headless") from error
    return cv2
