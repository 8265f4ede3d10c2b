"""Enlarging a file: all of its pictures, read, enlarged and written beside each other."""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from common import bicubic
from common.images.files import read_pictures
from common.images.picture_file import QUALITY, PictureFile, holds_several
from common.inference.upscaler import Enlarger


def enlarge_file(source: str | Path, target: str | Path, upscaler: Enlarger,
                 outscale: float | None = None, quality: int = QUALITY,
                 tell: Callable[[str], None] = print) -> tuple[tuple, tuple]:
    """Enlarge an image file: all frames or pages where the target's format holds them.

    Args:
        source, target: the files; the target is written whole or not at all.
        upscaler: enlarges a picture in bands.
        outscale: how many times larger the result is; the network's result is resized by bicubic
            interpolation. None: as the network makes it.
        quality: of JPEG and WebP, 1 to 100.
        tell: gets lines about what of the source is not in the target.

    Returns:
        (height, width) of the source and of the target.

    Raises:
        UserError: the source cannot be read or enlarged, or the target cannot be written.
    """
    pictures = read_pictures(source)
    first = _, kind = next(pictures)
    count = kind.pictures if holds_several(target, kind) else 1
    for line in kind.losses(source, "enlarged", kind.pictures if count > 1 else 1):
        tell(line)
    before = after = None
    with PictureFile(target, count, quality) as file:
        rest = _ahead(pictures) if count > 1 else ()
        for image, kind in itertools.chain([first], rest):
            shape = tuple(upscaler.scale * side for side in image.shape[:2])
            size = shape if outscale is None else tuple(
                max(1, round(outscale * side)) for side in image.shape[:2])
            bands = upscaler.bands(image)
            if size != shape:
                bands = bicubic.resized(bands, (*shape, *image.shape[2:]), image.dtype, size)
            file.picture((*size, *image.shape[2:]), image.dtype, bands, kind)
            before, after = before or image.shape[:2], after or size
    return before, after


def _ahead(items: Iterable) -> Iterator:
    """Yield items that a thread makes, one ahead of their use."""
    made, stop = queue.Queue(1), threading.Event()

    def make():
        try:
            for item in items:
                if stop.is_set():
                    return
                made.put((item, None))
            made.put((None, StopIteration()))
        except BaseException as error:
            made.put((None, error))

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    try:
        while True:
            item, error = made.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
    finally:
        stop.set()
        while thread.is_alive():  # it may wait for room
            with contextlib.suppress(queue.Empty):
                made.get(timeout=0.05)
