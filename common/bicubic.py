"""Bicubic scaling by whole factors, equal to MATLAB's `imresize` to the last pixel.

The kernel is Keys' (1981) with a = -0.5, stretched by the scale when it shrinks (antialiasing).
Rows come first, then columns, and integer images are rounded and clipped between the two, as MATLAB
does it: the benchmark LR images were made so. All weights are whole numbers over a common
denominator, which keeps the sums of integer images exact.
"""

import numpy as np

TAPS = 5  # of each phase in enlarging: the input pixels i-2 .. i+2 around pixel i
BLOCK_BYTES = 1 << 19  # working memory of one block of rows: it stays in the processor's cache


def downscale(image, scale):
    """Shrink an image by a whole factor.

    Args:
        image: HxW or HxWxC; uint8 or uint16, or floats in any range. The bottom and right are
            cropped to a multiple of `scale` first.
        scale: whole number of 1 or more.
    Returns:
        (H//scale)x(W//scale)[xC]; integers rounded and in the same type, floats as float64 and
        not rounded.
    Raises:
        ValueError: the image is smaller than `scale`, or of another type or rank.
    """
    first = -2 * scale
    distances = [abs(2 * tap + 1 - scale) for tap in range(first, 3 * scale + 1)]
    weights = np.array([[_weight(distance, scale) for distance in distances]])
    used = np.flatnonzero(weights[0])
    weights, first = weights[:, used[0]:used[-1] + 1], first + int(used[0])
    image = crop_to_multiple(image, scale)
    return _resize(image, weights, first, scale, 16 * scale**4)


def upscale(image, scale):
    """Enlarge an image by a whole factor.

    Args:
        image: HxW or HxWxC; uint8 or uint16, or floats in any range.
        scale: whole number of 1 or more.
    Returns:
        (H*scale)x(W*scale)[xC]; integers rounded and in the same type, floats as float64 and not
        rounded.
    Raises:
        ValueError: the image is empty, or of another type or rank.
    """
    return _resize(np.asarray(image), _upscale_weights(scale), -(TAPS // 2), 1, 16 * scale**3)


def upscale_kernel(scale):
    """Weights of the enlargement along one axis, float64 of shape (scale, 5).

    Output pixel `scale * i + phase` is the sum of `kernel[phase, t] * input[i - 2 + t]`, with the
    edge pixels repeated outside the image. In two dimensions the weights are the outer products.
    """
    return _upscale_weights(scale) / (16 * scale**3)


def crop_to_multiple(image, scale):
    """Crop an HxW[xC] image at the bottom and right to a multiple of `scale` (a view)."""
    image = np.asarray(image)
    height, width = image.shape[:2]
    return image[:height - height % scale, :width - width % scale]


def _upscale_weights(scale):
    half = TAPS // 2
    return np.array([[_weight(abs((2 * tap + 1) * scale - (2 * phase + 1)), scale)
                      for tap in range(-half, half + 1)] for phase in range(scale)])


def _weight(m, scale):
    """16 * scale**3 times the cubic kernel at the distance m / (2 * scale), a whole number."""
    if m <= 2 * scale:
        return 3 * m**3 - 10 * m**2 * scale + 16 * scale**3
    if m < 4 * scale:
        return -m**3 + 10 * m**2 * scale - 32 * m * scale**2 + 32 * scale**3
    return 0


def _resize(image, weights, first, stride, denominator):
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise ValueError(f"an image of shape {image.shape} cannot be scaled so")
    if image.dtype in (np.uint8, np.uint16):
        # The largest sum is about 1.3 * denominator * the largest value.
        small = 2 * denominator * int(np.iinfo(image.dtype).max) < 2**31
        work = np.int32 if small else np.int64
    elif np.issubdtype(image.dtype, np.floating):
        work, weights, denominator = np.float64, weights / denominator, None
    else:
        raise ValueError(f"an image of type {image.dtype} cannot be scaled; use uint8 or float")
    for _ in "rows", "columns":
        image = _resize_rows(image, weights, first, stride, denominator, work)
        image = np.swapaxes(image, 0, 1)
    return np.ascontiguousarray(image)


def _resize_rows(image, weights, first, stride, denominator, work):
    """Scale along axis 0, in blocks of rows so that no large temporary arises."""
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
