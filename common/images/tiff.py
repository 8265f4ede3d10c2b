"""TIFF files: pixels exactly as the standard says, or a refusal by name of what cannot be read.

tifffile finds the tags and the strips or tiles; libtiff, inside Pillow, decompresses them.
"""

from __future__ import annotations

import io
import logging
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from common.images import exif
from common.images.kind import ImageKind
from common.images.opening import Opened, pixels
from common.images.tiff_colour import in_colour
from common.images.tiff_layout import (
    BYTEWISE,
    COMPRESSIONS,
    WITHOUT_FILL_ORDER,
    Layout,
    read_layout,
)

_TOGETHER = 2 ** 26  # bytes of samples, at most as 16 bits, that are decoded at a time
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_tiff(path: str | Path) -> bool:
    """Whether a file begins as a TIFF or BigTIFF file does."""
    with open(path, "rb") as file:
        return file.read(4) in _MAGIC


def read_size(path: str | Path) -> tuple[int, int]:
    """Read (height, width) in pixels of the first page, as its orientation shows it."""
    with _opened(path) as file:
        layout = read_layout(file.pages[0], path)
        sides = layout.height, layout.width
        return sides[::-1] if layout.orientation >= 5 else sides


def read_first(path: str | Path) -> tuple[np.ndarray, ImageKind]:
    """Read the first page, upright: uint8 or uint16, HxWxC, grey or RGB, then alpha if it has any.

    Raises:
        UserError: its kind of pixels cannot be read, or data are missing.
    """
    with _opened(path) as file:
        return _read(path, file, file.pages[0])


def read_pages(path: str | Path) -> Iterator[tuple[np.ndarray, ImageKind]]:
    """Yield every page as `read_first` does; smaller versions of a page are left out.

    Raises:
        UserError: as `read_first`.
    """
    with _opened(path) as file:
        pages = len(file.pages)
        for page in file.pages:
            array, kind = _read(path, file, page)
            if kind.pictures > pages:
                note = f"{kind.pictures - pages} pictures inside a page are left out"
                kind = replace(kind, notes=(*kind.notes, note))
            yield array, replace(kind, pictures=pages)


def _read(path, file, page):
    layout = read_layout(page, path)
    samples = _samples(layout, page, file.filehandle)
    pages = len(file.pages) + len(layout.sub_pages)
    described = not (page.is_shaped or page.is_imagej or page.is_ome)
    array, profile, notes = in_colour(layout, samples)
    dpi = layout.dpi
    if layout.orientation >= 5 and dpi:
        dpi = dpi[::-1]
    with open(path, "rb") as file:
        said = exif.read_from_tiff(file, described)
    return (exif.upright(array, layout.orientation),
            ImageKind("TIFF", profile, said, dpi, pages, tuple(notes)))


def _opened(path):
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # errors are told in one line
    return tifffile.TiffFile(str(path))


# ---- samples ------------------------------------------------------------------------------------

def _samples(layout: Layout, page: Any, file: Any) -> np.ndarray:
    """All samples as stored, uint8 or uint16, HxWxS; YCbCr of full chroma resolution."""
    offsets, counts = page.dataoffsets, page.databytecounts
    rows, columns = layout.block
    down, across = -(-layout.height // rows), -(-layout.width // columns)
    planes = layout.samples if layout.planar else 1
    if min(len(offsets), len(counts)) < planes * down * across:
        raise layout.damaged("strips or tiles are missing")
    tables = page.tags.valueof(347)  # of JPEG
    result = np.empty((layout.height, layout.width, layout.samples),
                      np.uint8 if layout.bits <= 8 else np.uint16)
    # Many at once, for libtiff is opened anew for each group.
    together = max(1, _TOGETHER // (rows * columns * layout.samples * 2))
    for plane in range(planes):
        target = result[..., plane:plane + 1] if layout.planar else result
        for start in range(0, down * across, together):
            places = range(start, min(start + together, down * across))
            data = []
            for place in places:
                file.seek(offsets[plane * down * across + place])
                data.append(file.read(counts[plane * down * across + place]))
            # The last strip is cut at the image's end; a tile is always whole.
            heights = [rows if layout.tiled else min(rows, layout.height - place * rows)
                       for place in places]
            block = _decoded(layout, data, heights, columns, tables)
            for place, piece in zip(places, np.split(block, np.cumsum(heights)[:-1])):
                top, left = place // across * rows, place % across * columns
                part = target[top:top + rows, left:left + columns]
                part[...] = piece[:part.shape[0], :part.shape[1]]
    return result


def _decoded(layout, data, heights, columns, tables):
    """The samples of strips or tiles of one width, below each other: [rows, columns, samples]."""
    if layout.reversed_bits and layout.compression not in WITHOUT_FILL_ORDER:
        data = [np.packbits(np.unpackbits(np.frombuffer(part, np.uint8)).reshape(-1, 8)[:, ::-1]
                            ).tobytes() for part in data]
    count = 1 if layout.planar else layout.samples
    if layout.compression not in BYTEWISE:
        return _picture(layout, data, heights, columns, count, tables)
    if layout.subsampling != (1, 1):
        return np.concatenate([_ycbcr_units(layout, part, rows, columns)
                               for part, rows in zip(data, heights)])
    row_bytes = -(-columns * count * layout.bits // 8)
    data = _decompressed(layout, data, heights, row_bytes)
    if layout.bits == 8:
        samples = data
    elif layout.bits == 16:
        samples = data.view(layout.byte_order + "u2").astype(np.uint16)
    else:
        samples = _unpacked(data, columns * count, layout.bits)
    samples = samples.reshape(-1, columns, count)
    if layout.predictor == 2:
        samples = np.cumsum(samples, axis=1, dtype=samples.dtype)
    return samples


def _unpacked(data, count, bits):
    """Samples of 1 to 15 bits from rows of bytes, most significant bit first."""
    result = np.zeros((len(data), count), np.uint8 if bits < 8 else np.uint16)
    for start in range(0, len(data), 64):  # in parts: each bit takes a byte meanwhile
        part = np.unpackbits(data[start:start + 64], axis=1)[:, :count * bits]
        part = part.reshape(len(part), count, bits)
        for bit in range(bits):
            result[start:start + 64] = result[start:start + 64] * 2 + part[..., bit]
    return result


def _ycbcr_units(layout, data, rows, columns):
    """YCbCr of full resolution from units of several Y samples and one Cb and Cr."""
    across, down = layout.subsampling
    units = -(-rows // down), -(-columns // across)
    size = down * across + 2
    data = _decompressed(layout, [data], [units[0]], units[1] * size).reshape(*units, size)
    luma = data[..., :-2].reshape(*units, down, across).swapaxes(1, 2)
    luma = luma.reshape(units[0] * down, units[1] * across)
    chroma = data[..., -2:].repeat(down, axis=0).repeat(across, axis=1)
    return np.dstack([luma, chroma])[:rows, :columns]


def _decompressed(layout, data, heights, row_bytes):
    """The bytes of strips or tiles below each other, uint8 [rows, row_bytes]."""
    if layout.compression not in (1, 8, 32946):
        return _with_libtiff(layout, data, heights, {256: row_bytes, 258: 8, 277: 1, 262: 1,
                                             259: layout.compression})
    found = []
    for part, rows in zip(data, heights):
        size = rows * row_bytes
        if layout.compression != 1:
            stream = zlib.decompressobj()
            part = stream.decompress(part, size)
            stream.decompress(stream.unconsumed_tail, 64)  # compares the checksum
        if len(part) < size:
            raise layout.damaged("data are missing")
        found.append(np.frombuffer(part, np.uint8, size))
    return (found[0] if len(found) == 1 else np.concatenate(found)).reshape(-1, row_bytes)


def _picture(layout, data, heights, columns, count, tables):
    """The samples of strips or tiles compressed as pictures; YCbCr becomes RGB."""
    tags = {256: columns, 258: (layout.bits,) * count, 277: count, 259: layout.compression,
            262: layout.photometric if count > 1 else 1, **layout.options}
    if tables:
        tags[347] = bytes(tables)
    array = _with_libtiff(layout, data, heights, tags)
    if array.dtype == bool:
        array = array.astype(np.uint8)
    if array.size != sum(heights) * columns * count:
        raise layout.damaged("a strip or tile is of another kind than its tags")
    return array.reshape(-1, columns, count)


def _with_libtiff(layout, data, heights, tags):
    """Decode strips as those of a TIFF file of their own, which Pillow gives to libtiff."""
    directory = ImageFileDirectory_v2(b"II*\0\0\0\0\0")
    counts = [len(part) for part in data]
    starts = np.cumsum([0, *counts[:-1]]).tolist()
    for tag, value in {**tags, 257: sum(heights), 273: tuple(starts), 278: heights[0],
                       279: tuple(counts)}.items():
        directory[tag] = value
    directory.tagtype[273] = directory.tagtype[279] = 4
    file = io.BytesIO(b"".join([b"II*\0\x08\0\0\0", directory.tobytes(8), *data]))
    try:
        with Opened(file) as image:
            image.load()
            return pixels(image)
    except (OSError, ValueError, SyntaxError) as error:
        raise layout.damaged(f"its {COMPRESSIONS[layout.compression]} data are damaged, or cannot "
                             "be read by this Pillow") from error
