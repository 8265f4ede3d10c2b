"""Enlarging images with a network, whole or in tiles, clipped and rounded."""

from __future__ import annotations

import itertools
from collections import namedtuple
from typing import TYPE_CHECKING

import numpy as np

from common.cli import UserError
from common.colour import extend_under_alpha
from common.device.chip import fixed_shapes
from common.inference.footprint import footprint, model_scale, needed_overlap, up_to

if TYPE_CHECKING:
    from common.nn.keras_compat import keras

# Automatic tiles keep the network's largest tensor below this; the process peaks at about two to
# three times as much. The sides of a window stay within AUTOMATIC_SIDES, in LR pixels.
AUTOMATIC_BYTES = 384 * 2**20
AUTOMATIC_SIDES = (192, 1024)
ALPHAS = ("bicubic", "network")

Window = namedtuple("Window", "start stop first last")  # [start, stop) is read, [first, last) kept


class Enlarger:
    """Enlarges images by `scale` in windows; a subclass runs the network on a window.

    The subclass sets `scale`, `self_ensemble` and `progress`, and defines `_tiling(height, width)`
    and `_forward(window)` as `Upscaler` does. `window` is the one side that all windows must have,
    None where they may differ. `alpha`, one of `ALPHAS`, says how transparency is enlarged.
    """

    window = None
    alpha = ALPHAS[0]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Enlarge an image of any kind.

        Grey goes through the network as equal R, G and B and comes back as their mean. What is
        wholly transparent takes the nearest visible colour first. Alpha is enlarged by bicubic
        interpolation, or as grey where `self.alpha` is "network".

        Args:
            image: uint8 or uint16, [H, W] grey, [H, W, 2] grey and alpha, [H, W, 3] RGB, or
                [H, W, 4] RGB and alpha.

        Returns:
            the same kind, `scale` times the size, clipped and rounded.

        Raises:
            UserError: the network's output is not finite, or memory is exhausted.
        """
        image = np.asarray(image)
        channels = 1 if image.ndim == 2 else image.shape[-1]
        if image.dtype not in (np.uint8, np.uint16) or image.ndim not in (2, 3) or channels > 4:
            raise ValueError(f"not an image: {image.dtype} of shape {image.shape}")
        colours = 3 if channels > 2 else 1
        planes = image.reshape(*image.shape[:2], channels)
        per_level = np.iinfo(image.dtype).max / 255
        visible = planes[..., :colours]
        if channels > colours:
            visible = extend_under_alpha(visible, planes[..., -1])
        sr = _to_levels(self._colours(np.float32(visible) / np.float32(per_level)), per_level,
                        image.dtype)
        if channels > colours:
            sr = np.dstack([sr, self._enlarged_alpha(planes[..., -1:], per_level)])
        return sr.reshape(*sr.shape[:2], *image.shape[2:])

    def _colours(self, image):
        """The network's output for float32 [H, W, 1] or [H, W, 3] in 0..255; checked."""
        grey = image.shape[-1] == 1
        sr = self.predict(np.repeat(image, 3, axis=-1) if grey else image)
        if not np.isfinite(sr).all():
            raise UserError("the network's output is not finite; use float32 precision, or other "
                            "weights")
        return sr.mean(axis=-1, keepdims=True) if grey else sr

    def _enlarged_alpha(self, alpha, per_level):
        if self.alpha == "network" and alpha.min() < alpha.max():
            sr = self._colours(np.float32(alpha) / np.float32(per_level))
            return _to_levels(sr, per_level, alpha.dtype)
        from common import bicubic

        return _to_levels(bicubic.upscale(alpha[..., 0].astype(np.float64), self.scale), 1,
                          alpha.dtype)

    def predict(self, image: np.ndarray) -> np.ndarray:
        """The network's output: float32 [H, W, 3] in 0..255 to [H*scale, W*scale, 3], unclipped."""
        if not self.self_ensemble:
            return self._enlarge(image)
        total = np.zeros((image.shape[0] * self.scale, image.shape[1] * self.scale, 3), np.float32)
        for turns, flipped in itertools.product(range(4), (False, True)):
            turned = np.rot90(image, turns)
            sr = self._enlarge(turned[:, ::-1] if flipped else turned)
            total += np.rot90(sr[:, ::-1] if flipped else sr, -turns)
        total /= 8
        return total

    def _enlarge(self, image):
        height, width = image.shape[:2]
        (rows, columns), overlap, grid = self._tiling(height, width)
        sides = [max(up_to(side, grid), self.window or 0) for side in (height, width)]
        windows = list(itertools.product(cut(sides[0], rows, overlap),
                                         cut(sides[1], columns, overlap)))
        if len(windows) == 1 and not self.window:
            return self._forward(image)
        # Padded as the network itself pads a whole image, so that its blocks stay in place.
        image = np.pad(image, ((0, sides[0] - height), (0, sides[1] - width), (0, 0)), "edge")
        s = self.scale
        result = np.empty((sides[0] * s, sides[1] * s, 3), np.float32)
        for y, x in self._bar(windows):
            sr = self._forward(image[y.start:y.stop, x.start:x.stop])
            result[y.first * s:y.last * s, x.first * s:x.last * s] = sr[
                (y.first - y.start) * s:(y.last - y.start) * s,
                (x.first - x.start) * s:(x.last - x.start) * s]
        return result[:height * s, :width * s]

    def _bar(self, windows):
        if not self.progress:
            return windows
        from tqdm import tqdm

        return tqdm(windows, "tiles", leave=False, disable=None, unit="tile")


class Upscaler(Enlarger):
    """Enlarges images with a Keras model.

    Args:
        model: of one scale: RGB float32 (N, H, W, 3) in [0, 255] to (N, H*scale, W*scale, 3).
        tile: 0 for automatic (whole images, and tiles where the network's largest tensor would
            exceed `AUTOMATIC_BYTES`), or N for tiles of N LR pixels.
        tile_overlap: LR pixels to read around a tile; by default the radius of the receptive
            field, at most `footprint.MAX_OVERLAP` pixels of the network's coarsest features. For a
            network that works on blocks of LR pixels, tile and overlap are rounded up to a
            multiple of the block.
        self_ensemble: return the mean over the 8 flips and rotations (arXiv 1511.02228), at 8
            times the cost.
        progress: show a bar over the tiles of a large image.
        fixed: make all windows one size, repeating the image's edge to fill them; by default only
            on an NPU, which would compile for minutes for every other size.

    Raises:
        UserError: a negative tile or overlap, or a model of several scales.

    Example:
        >>> import models
        >>> import numpy as np
        >>> from common.inference.upscaler import Upscaler
        >>> upscale = Upscaler(models.load("edsr_x2.h5"))
        >>> sr = upscale(np.zeros((24, 32, 3), np.uint8))
        >>> sr.shape, sr.dtype.name
        ((48, 64, 3), 'uint8')
    """

    def __init__(self, model: keras.Model, tile: int = 0, tile_overlap: int | None = None,
                 self_ensemble: bool = False, progress: bool = False, fixed: bool | None = None):
        from common.nn.keras_compat import function, tf

        if tile < 0 or (tile_overlap or 0) < 0:
            raise UserError("tile and tile_overlap must be 0 or more LR pixels")
        self.scale = model_scale(model)
        self.tile, self.tile_overlap = tile, tile_overlap
        self.self_ensemble, self.progress = self_ensemble, progress
        self._model = model
        self._network = function(lambda x: tf.cast(model(x, training=False), tf.float32))
        self._footprint = None
        self._fixed = fixed_shapes() if fixed is None else fixed

    def _tiling(self, height, width):
        """((height, width) of a tile, overlap, block of both) for an image, in LR pixels."""
        whole = (height, width), 0, 1
        if not (self.tile or self._fixed) and max(height, width) <= AUTOMATIC_SIDES[0]:
            return whole
        if self._footprint is None:
            self._footprint = footprint(self._model)
        grid, overlap = self._footprint.grid, self.tile_overlap
        overlap = needed_overlap(self._footprint) if overlap is None else up_to(overlap, grid)
        tile = up_to(self.tile, grid)
        if self._fixed:
            tile = tile or fixed_window(overlap, grid) - 2 * overlap
            self.window = tile + 2 * overlap
        if tile:
            return (tile, tile), overlap, grid
        window = int((AUTOMATIC_BYTES / self._footprint.bytes_per_pixel) ** 0.5)
        window = min(max(window, AUTOMATIC_SIDES[0]), AUTOMATIC_SIDES[1])
        if height * width <= window * window:
            return whole
        most = max(window - 2 * overlap, window // 4)
        # Equal tiles: a narrow last one would cost as much as a full one.
        sides = (-(-side // -(-side // most)) for side in (height, width))
        return tuple(up_to(side, grid) for side in sides), overlap, grid

    def _forward(self, window):
        """The network's output for float32 [h, w, 3], float32 [h*scale, w*scale, 3]."""
        from common.nn.keras_compat import tf

        try:
            return self._network(np.ascontiguousarray(window[np.newaxis], np.float32)).numpy()[0]
        except tf.errors.ResourceExhaustedError as error:
            raise UserError(f"out of memory at {window.shape[1]}x{window.shape[0]} pixels; use "
                            "smaller tiles (--tile N)") from error


def cut(size: int, tile: int, overlap: int) -> list[Window]:
    """Divide one side of an image into windows of one length whose kept parts adjoin.

    A window reaches `overlap` beyond its tile on both sides; at the image's borders it is shifted
    inward, so that a network's zero padding falls on true borders only.
    """
    length = min(size, tile + 2 * overlap)
    if length == size:
        return [Window(0, size, 0, size)]
    windows = []
    for first in range(0, size, tile):
        start = min(max(first - overlap, 0), size - length)
        windows.append(Window(start, start + length, first, min(first + tile, size)))
    return windows


def fixed_window(overlap: int, grid: int) -> int:
    """The default side of windows that all have one size, in LR pixels."""
    return up_to(max(AUTOMATIC_SIDES[0], 4 * overlap), grid)


def _to_levels(values, per_level, dtype):
    values = values * np.asarray(per_level, values.dtype)
    np.rint(values, out=values)
    return np.clip(values, 0, np.iinfo(dtype).max, out=values).astype(dtype)
