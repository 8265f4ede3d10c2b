"""Bicubic scaling by integer factors, equal to MATLAB's `imresize` in every pixel.

The kernel is Keys' (1981) with a = -0.5, widened by the scale when shrinking (antialiasing). As in
MATLAB, which made the benchmark LR images, rows are resized before columns, and integer images are
rounded and clipped in between. All weights are integers over a common denominator, so the sums of
integer images are exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

_RESIZED_ROWS = 64  # that are resized at a time
TAPS = 5  # taps per phase when enlarging: the input pixels i-2 .. i+2 around pixel i
BLOCK_BYTES = 1 << 19  # working memory for one block of rows, small enough for the CPU's cache


def downscale(image: np.ndarray, scale: int) -> np.ndarray:
    """Shrink an image by an integer factor.

    Args:
        image: HxW or HxWxC; uint8, uint16, or floats in any range. It is first cropped at the
            bottom and right to a multiple of `scale`.
        scale: integer, 1 or more.

    Returns:
        (H//scale)x(W//scale)[xC]; integers rounded and of the same type, floats as float64, not
        rounded.

    Raises:
        ValueError: the image is smaller than `scale`, or has another type or rank.
    """
    first = -2 * scale
    distances = [abs(2 * tap + 1 - scale) for tap in range(first, 3 * scale + 1)]
    weights = np.array([[_weight(distance, scale) for distance in distances]])
    used = np.flatnonzero(weights[0])
    weights, first = weights[:, used[0]:used[-1] + 1], first + int(used[0])
    image = crop_to_multiple(image, scale)
    return _resize(image, weights, first, scale, 16 * scale**4)


def upscale(image: np.ndarray, scale: int) -> np.ndarray:
    """Enlarge an image by an integer factor.

    Args:
        image: HxW or HxWxC; uint8, uint16, or floats in any range.
        scale: integer, 1 or more.

    Returns:
        (H*scale)x(W*scale)[xC]; integers rounded and of the same type, floats as float64, not
        rounded.

    Raises:
        ValueError: the image is empty, or has another type or rank.
    """
    return _resize(np.asarray(image), _upscale_weights(scale), -(TAPS // 2), 1, 16 * scale**3)


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image to any (height, width), smaller or larger, as `resized` does."""
    image = np.asarray(image)
    return np.concatenate(list(resized([image], image.shape, image.dtype, size)))


def resized(bands: Iterable[np.ndarray], shape: tuple, dtype: np.dtype,
            size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Resize an image that comes in bands of rows, and yield the result in bands.

    For integer factors the result is that of `upscale` or `downscale`.

    Args:
        bands: its rows from top to bottom, uint8 or uint16.
        shape, dtype: of the whole image, HxW or HxWxC.
        size: (height, width) of the result.
    """
    down, across = (_resize_weights(old, new) for old, new in zip(shape[:2], size))
    needed = np.maximum.accumulate(down[0].max(axis=1))  # rows before a result row can be made
    held, first, done = np.empty((0, *shape[1:]), dtype), 0, 0
    for band in bands:
        held = np.concatenate([held, band])
        ready = int(np.searchsorted(needed, first + len(held)))
        for start in range(done, ready, _RESIZED_ROWS):
            rows = slice(start, min(start + _RESIZED_ROWS, ready))
            part = _weighted(held, down[0][rows] - first, down[1][rows], 0)
            yield _weighted(part, *across, 1)
        done = ready
        if done < len(needed):
            unused = int(down[0][done:].min()) - first
            held, first = held[unused:].copy(), first + unused


def _resize_weights(old, new):
    """(positions, weights), both [new, taps]: of the old pixels that make each new one."""
    ratio = old / new
    stretch = max(ratio, 1)
    centres = (np.arange(new) + 0.5) * ratio - 0.5
    taps = math.ceil(4 * stretch) + 2
    places = np.floor(centres - 2 * stretch).astype(int)[:, None] + np.arange(taps)
    d = np.abs(centres[:, None] - places) / stretch
    weights = np.where(d <= 1, 1.5 * d**3 - 2.5 * d**2 + 1,
                       np.where(d < 2, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2, 0))
    return np.clip(places, 0, old - 1), weights / weights.sum(axis=1, keepdims=True)


def _weighted(image, places, weights, axis):
    """Weighted sums of rows (axis 0) or columns, rounded and clipped."""
    total = 0
    for place, weight in zip(places.T, weights.T):
        if weight.any():
            shape = [-1 if i == axis else 1 for i in range(image.ndim)]
            total = total + image.take(place, axis) * weight.reshape(shape)
    # Halves go up, as in the sums of integers, whatever the error of the floats.
    return np.clip(np.floor(total + (0.5 + 1e-6)), 0, np.iinfo(image.dtype).max).astype(image.dtype)


def upscale_kernel(scale: int) -> np.ndarray:
    """Return the weights for enlarging along one axis, float64 of shape (scale, 5).

    Output pixel `scale * i + phase` is the sum of `kernel[phase, t] * input[i - 2 + t]`, with edge
    pixels repeated outside the image. In two dimensions the weights are outer products.
    """
    return _upscale_weights(scale) / (16 * scale**3)


def crop_to_multiple(image: np.ndarray, scale: int) -> np.ndarray:
    """Crop an HxW[xC] image at the bottom and right to a multiple of `scale` (a view)."""
    image = np.asarray(image)
    height, width = image.shape[:2]
    return image[:height - height % scale, :width - width % scale]


def _upscale_weights(scale):
    half = TAPS // 2
    return np.array([[_weight(abs((2 * tap + 1) * scale - (2 * phase + 1)), scale)
                      for tap in range(-half, half + 1)] for phase in range(scale)])


def _weight(m, scale):
    """The cubic kernel at distance m / (2 * scale), times 16 * scale**3: an integer."""
    if m <= 2 * scale:
        return 3 * m**3 - 10 * m**2 * scale + 16 * scale**3
    if m < 4 * scale:
        return -m**3 + 10 * m**2 * scale - 32 * m * scale**2 + 32 * scale**3
    return 0


def _resize(image, weights, first, stride, denominator):
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise ValueError(f"cannot scale an image of shape {image.shape}")
    if image.dtype in (np.uint8, np.uint16):
        # Sums reach about 1.3 * denominator * the largest pixel value.
        small = 2 * denominator * int(np.iinfo(image.dtype).max) < 2**31
        work = np.int32 if small else np.int64
    elif np.issubdtype(image.dtype, np.floating):
        work, weights, denominator = np.float64, weights / denominator, None
    else:
        raise ValueError(f"cannot scale an image of type {image.dtype}; use uint8 or float")
    for _ in "rows", "columns":
        image = _resize_rows(image, weights, first, stride, denominator, work)
        image = np.swapaxes(image, 0, 1)
    return np.ascontiguousarray(image)


def _resize_rows(image, weights, first, stride, denominator, work):
    """Scale along axis 0, in blocks of rows to keep temporaries small."""
    height, tail = image.shape[0], image.shape[1:]
    phases, taps = weights.shape
    flat = np.ascontiguousarray(image).reshape(height, -1)
    count = height // stride
    out_type = image.dtype if denominator else np.float64
    result = np.empty((count, phases, flat.shape[1]), out_type)
    block = max(1, BLOCK_BYTES // (flat.shape[1] * np.dtype(work).itemsize * (stride + 2)))
    for start in range(0, count, block):
        stop = min(count, start + block)
        wanted = np.arange(start * stride + first, (stop - 1) * stride + first + taps)
        rows = flat[np.clip(wanted, 0, height - 1)].astype(work)
        span = (stop - start - 1) * stride + 1
        total = np.empty((stop - start, flat.shape[1]), work)
        product = np.empty_like(total)
        for phase in range(phases):
            total[...] = 0 if denominator is None else denominator // 2
            for tap, weight in enumerate(weights[phase]):
                if weight:
                    np.multiply(rows[tap:tap + span:stride], work(weight), out=product)
                    total += product
            if denominator is not None:
                np.floor_divide(total, work(denominator), out=total)
                np.clip(total, 0, np.iinfo(out_type).max, out=total)
            result[start:stop, phase] = total
    return result.reshape((count * phases,) + tail)
