"""Opening image files with Pillow, and their pixels as arrays."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

_BAND = 2 ** 22  # pixels


class Opened:
    """A `with` block with an image, in which Pillow's own limit of 179 million pixels is lifted.

    Args:
        file: a path or an open file.
    """

    _lock, _users, _limit = threading.Lock(), 0, None

    def __init__(self, file: str | Path | BinaryIO):
        self._file, self._image = file, None

    def __enter__(self) -> Image.Image:
        with Opened._lock:
            if not Opened._users:
                Opened._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            Opened._users += 1
        try:
            self._image = Image.open(self._file)
        except BaseException:
            self.__exit__()
            raise
        return self._image

    def __exit__(self, *_):
        if self._image is not None:
            self._image.close()
        with Opened._lock:
            Opened._users -= 1
            if not Opened._users:
                Image.MAX_IMAGE_PIXELS = Opened._limit


def pixels(image: Image.Image) -> np.ndarray:
    """Return `np.array(image)`; in bands, since Pillow needs two copies of what it hands over."""
    width, height = image.size
    rows = max(1, _BAND // width)
    if rows >= height:
        return np.array(image)
    first = np.asarray(image.crop((0, 0, width, rows)))
    result = np.empty((height, *first.shape[1:]), first.dtype)
    for top in range(0, height, rows):
        result[top:top + rows] = np.asarray(
            image.crop((0, top, width, min(top + rows, height))))
    return result
