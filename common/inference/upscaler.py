"""Enlarging images with a network, whole or in tiles, clipped and rounded."""

from __future__ import annotations

import itertools
from collections import namedtuple
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from common.cli import UserError
from common.device.chip import fixed_shapes
from common.images.colour import extend_under_alpha
from common.inference.footprint import footprint, model_scale, needed_overlap, up_to
from common.inference.overlap import measured_overlap

if TYPE_CHECKING:
    from common.nn.keras_compat import keras

# Images are enlarged whole where the network's largest tensor stays below this; the process peaks
# at about two to three times as much. Windows of larger ones keep it below TILE_BYTES, or are WIDE
# overlaps wide. The sides of a window stay within AUTOMATIC_SIDES, in LR pixels.
AUTOMATIC_BYTES = 384 * 2**20
TILE_BYTES = 128 * 2**20
WIDE = 8
AUTOMATIC_SIDES = (192, 1024)
ALPHAS = ("bicubic", "network")

Window = namedtuple("Window", "start stop first last")  # [start, stop) is read, [first, last) kept


class Enlarger:
    """Enlarges images by `scale` in windows; a subclass runs the network on a window.

    The subclass sets `scale`, `self_ensemble` and `progress`, and defines `_tiling(height, width)`
    and `_forward(window)` as `Upscaler` does. `window` is the one side that all windows must have,
    None where they may differ. `alpha`, one of `ALPHAS`, says how transparency is enlarged, and
    `engine` what runs the network. `measures` says whether the overlap of tiles is measured with
    the weights, which must not change then.
    """

    window = None
    engine = "keras"
    measures = True
    alpha = ALPHAS[0]
    _measured = None

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
        bands, image = self.bands(image), np.asarray(image)
        height, width = (self.scale * side for side in image.shape[:2])
        result, top = np.empty((height, width, *image.shape[2:]), image.dtype), 0
        for band in bands:
            result[top:top + len(band)] = band
            top += len(band)
        return result

    def bands(self, image: np.ndarray) -> Iterator[np.ndarray]:
        """Enlarge as `__call__` does, and yield the result in bands of rows from top to bottom."""
        image = np.asarray(image)
        channels = 1 if image.ndim == 2 else image.shape[-1]
        if image.dtype not in (np.uint8, np.uint16) or image.ndim not in (2, 3) or channels > 4:
            raise ValueError(f"not an image: {image.dtype} of shape {image.shape}")
        return (band.reshape(*band.shape[:2], *image.shape[2:])
                for band in self._bands(image.reshape(*image.shape[:2], channels)))

    def _bands(self, planes):
        height, width, channels = planes.shape
        colours, s = 3 if channels > 2 else 1, self.scale
        parts = [(slice(colours), planes[..., :colours])]  # (where in the result, what to enlarge)
        alpha, smooth = planes[..., colours:], False
        if channels > colours:
            parts = [(slice(colours), extend_under_alpha(planes[..., :colours], alpha[..., 0]))]
            smooth = self.alpha != "network" or alpha.min() == alpha.max()
            if not smooth:
                parts.append((slice(colours, None), alpha))
        for row in self._rows_of_windows(height, width, len(parts)):
            y = row[0][0]
            band = np.empty(((y.last - y.first) * s, width * s, channels), planes.dtype)
            for (y, x), (where, part) in itertools.product(row, parts):
                band[:, x.first * s:x.last * s, where] = self._levels(part, y, x)
            if smooth:
                band[..., -1] = self._smooth_alpha(alpha[..., 0], y.first, y.last)
            yield band

    def _levels(self, image, y, x):
        """The kept part of a window in the image's own levels; checked, clipped, rounded."""
        per_level = np.iinfo(image.dtype).max / 255
        sr = self._inner(image, y, x, per_level)
        if not np.isfinite(sr).all():
            raise UserError("the network's output is not finite; use float32 precision, or other "
                            "weights")
        if image.shape[-1] == 1:
            sr = sr.mean(axis=-1, keepdims=True)
        return _to_levels(sr, per_level, image.dtype)

    def _smooth_alpha(self, alpha, first, last):
        """Rows of LR alpha [H, W] from `first` to `last`, enlarged by bicubic interpolation."""
        from common import bicubic

        above, below = min(first, bicubic.TAPS // 2), bicubic.TAPS // 2
        rows = bicubic.upscale(alpha[first - above:last + below].astype(np.float64), self.scale)
        return _to_levels(rows[above * self.scale:][:(last - first) * self.scale], 1, alpha.dtype)

    def predict(self, image: np.ndarray) -> np.ndarray:
        """The network's output: float32 [H, W, 3] in 0..255 to [H*scale, W*scale, 3], unclipped."""
        (height, width), s = image.shape[:2], self.scale
        result = np.empty((height * s, width * s, 3), np.float32)
        for row in self._rows_of_windows(height, width, 1):
            for y, x in row:
                result[y.first * s:y.last * s, x.first * s:x.last * s] = self._inner(image, y, x)
        return result

    def _rows_of_windows(self, height, width, passes):
        """Yield lists of (row window, column window), a list for each row of windows.

        A window may reach beyond the image at the bottom and right.
        """
        tile, overlap, grid = self._tiling(height, width)
        # Padded as the network itself pads a whole image, so that its blocks stay in place.
        down, across = (
            [w._replace(last=min(w.last, side)) for w in cut(
                max(up_to(side, grid), self.window or 0), length, overlap) if w.first < side]
            for side, length in zip((height, width), tile))
        with self._bar(len(down) * len(across) * passes) as bar:
            for y in down:
                yield [(y, x) for x in across]
                bar.update(len(across) * passes)

    def _inner(self, image, y, x, per_level=1):
        """The network's output for the kept part of a window, float32 in 0..255.

        `image`: [H, W, 1] or [H, W, 3] of 0 to 255 times `per_level`; its edge goes on outside.
        """
        window = np.float32(image[y.start:y.stop, x.start:x.stop]) / np.float32(per_level)
        beyond = y.stop - y.start - window.shape[0], x.stop - x.start - window.shape[1]
        if any(beyond):
            window = np.pad(window, ((0, beyond[0]), (0, beyond[1]), (0, 0)), "edge")
        if window.shape[-1] == 1:
            window = np.repeat(window, 3, axis=-1)
        sr, s = self._averaged(window) if self.self_ensemble else self._forward(window), self.scale
        return sr[(y.first - y.start) * s:(y.last - y.start) * s,
                  (x.first - x.start) * s:(x.last - x.start) * s]

    def _overlap(self, found):
        """LR pixels to read around a tile of a network of this footprint; measured once."""
        if not self.measures:
            return needed_overlap(found)
        if self._measured is None:
            self._measured = measured_overlap(self._forward, found)
        return self._measured

    def _averaged(self, window):
        """The mean of the network's outputs for the 8 flips and rotations of a window."""
        total = 0
        for turns, flipped in itertools.product(range(4), (False, True)):
            turned = np.rot90(window, turns)
            sr = self._forward(turned[:, ::-1] if flipped else turned)
            total += np.rot90(sr[:, ::-1] if flipped else sr, -turns)
        return total / 8

    def _bar(self, windows):
        from tqdm import tqdm

        off = not self.progress or windows == 1 or None
        return tqdm(total=windows, desc="tiles", leave=False, disable=off, unit="tile")


class TiledEnlarger(Enlarger):
    """Cuts images into windows that fit the footprint of a network; a subclass runs the network.

    The subclass defines `_footprint()` and `_forward(window)`. For the arguments see `Upscaler`.
    """

    def __init__(self, scale: int, tile: int = 0, tile_overlap: int | None = None,
                 self_ensemble: bool = False, progress: bool = False, fixed: bool = False):
        if tile < 0 or (tile_overlap or 0) < 0:
            raise UserError("tile and tile_overlap must be 0 or more LR pixels")
        self.scale, self.tile, self.tile_overlap = scale, tile, tile_overlap
        self.self_ensemble, self.progress, self._fixed = self_ensemble, progress, fixed
        self.measures = not fixed  # an NPU would compile for the sizes of the measurement

    def _tiling(self, height, width):
        """((height, width) of a tile, overlap, block of both) for an image, in LR pixels."""
        small = not (self.tile or self._fixed) and max(height, width) <= AUTOMATIC_SIDES[0]
        # All flips and rotations see the same blocks, so that tiles give what the whole image does.
        if small and not self.self_ensemble:
            return (height, width), 0, 1
        found = self._footprint()
        grid, overlap = found.grid, self.tile_overlap
        whole = (up_to(height, grid), up_to(width, grid)), 0, grid
        largest = _side(AUTOMATIC_BYTES, found)
        if small or not (self.tile or self._fixed) and height * width <= largest * largest:
            return whole
        overlap = self._overlap(found) if overlap is None else up_to(overlap, grid)
        tile = up_to(self.tile, grid)
        if self._fixed:
            tile = tile or fixed_window(overlap, grid) - 2 * overlap
            self.window = tile + 2 * overlap
        if tile:
            return (tile, tile), overlap, grid
        window = min(max(_side(TILE_BYTES, found), WIDE * overlap), largest)
        most = max(window - 2 * overlap, window // 4)
        # Equal tiles: a narrow last one would cost as much as a full one.
        sides = (-(-side // -(-side // most)) for side in (height, width))
        return tuple(up_to(side, grid) for side in sides), overlap, grid


class Upscaler(TiledEnlarger):
    """Enlarges images with a Keras model.

    Args:
        model: of one scale: RGB float32 (N, H, W, 3) in [0, 255] to (N, H*scale, W*scale, 3).
        tile: 0 for automatic (whole images, and tiles where the network's largest tensor would
            exceed `AUTOMATIC_BYTES`), or N for tiles of N LR pixels.
        tile_overlap: LR pixels to read around a tile; by default as many as `measured_overlap`
            finds. For a network that works on blocks of LR pixels, tile and overlap are rounded up
            to a multiple of the block.
        self_ensemble: return the mean over the 8 flips and rotations (arXiv 1511.02228), at 8
            times the cost. A network that works on blocks sees an image that is no multiple of
            them padded at its bottom and right, in all eight.
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

        super().__init__(model_scale(model), tile, tile_overlap, self_ensemble, progress,
                         fixed_shapes() if fixed is None else fixed)
        self._model = model
        self._network = function(lambda x: tf.cast(model(x, training=False), tf.float32))
        self._found = None

    def _footprint(self):
        if self._found is None:
            self._found = footprint(self._model)
        return self._found

    def _forward(self, window):
        """The network's output for float32 [h, w, 3], float32 [h*scale, w*scale, 3]."""
        from common.nn.keras_compat import tf

        try:
            return self._network(np.ascontiguousarray(window[np.newaxis], np.float32)).numpy()[0]
        except tf.errors.ResourceExhaustedError as error:
            raise out_of_memory(window) from error


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


def out_of_memory(window: np.ndarray) -> UserError:
    """Build the error for a window [h, w, 3] that is too large to be enlarged."""
    return UserError(f"out of memory at {window.shape[1]}x{window.shape[0]} pixels; use smaller "
                     "tiles (--tile N)")


def _side(most_bytes, found):
    """The side of a window whose largest tensor has so many bytes, in LR pixels."""
    return min(max(int((most_bytes / found.bytes_per_pixel) ** 0.5), AUTOMATIC_SIDES[0]),
               AUTOMATIC_SIDES[1])


def fixed_window(overlap: int, grid: int) -> int:
    """The default side of windows that all have one size, in LR pixels."""
    return up_to(max(AUTOMATIC_SIDES[0], 4 * overlap), grid)


def _to_levels(values, per_level, dtype):
    values = values * np.asarray(per_level, values.dtype)
    np.rint(values, out=values)
    return np.clip(values, 0, np.iinfo(dtype).max, out=values).astype(dtype)
