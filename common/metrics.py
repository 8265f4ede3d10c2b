"""PSNR, SSIM and UIQM as in published super-resolution results."""

import math

import numpy as np

CHANNELS = ("y", "rgb", "gray")

_Y_WEIGHTS = np.array([65.481, 128.553, 24.966]) / 255  # BT.601, studio range 16..235
_GRAY_WEIGHTS = np.array([19595, 38470, 7471]) / 65536  # BT.601, full range, Pillow's numbers
SMALLEST = 11  # side of an image whose SSIM can be measured, pixels
IDENTICAL = 100.0  # dB that an infinite PSNR counts in a mean, as in many published programs
_WINDOW, _SIGMA = SMALLEST, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_STRIP = 32  # rows at a time, so that intermediate arrays stay in the CPU's cache
_BLOCK = 10  # side of UIQM's blocks, pixels
_EDGE_WEIGHTS = (0.299, 0.587, 0.144)  # sic: BT.601 has 0.114


def to_channel(image: np.ndarray, channel: str) -> np.ndarray:
    """Return the channel of an image on which it is compared.

    Args:
        image: [H, W] (grey) or [H, W, 3] (RGB), values in 0..255, uint8 or float.
        channel: "y", the luma of BT.601 YCbCr in 16..235, not rounded; "rgb", the image unchanged;
            or "gray", the 8-bit grey of Pillow's mode L, rounded to integers.

    Returns:
        float64 [H, W, 3] for "rgb" of an RGB image, else [H, W]. A grey image keeps its values for
        every channel: converted as RGB to Y its range would shrink and its PSNR rise by 0.1 dB.

    Raises:
        ValueError: an unknown channel, or an image of another shape.
    """
    if channel not in CHANNELS:
        raise ValueError(f"unknown channel {channel!r}; choose one of {', '.join(CHANNELS)}")
    image = np.asarray(image, np.float64)
    if image.ndim != 2 and (image.ndim != 3 or image.shape[-1] != 3):
        raise ValueError(f"image of shape {image.shape}; expected [H, W] or [H, W, 3]")
    if image.ndim == 2 or channel == "rgb":
        return image
    if channel == "y":
        return 16 + image @ _Y_WEIGHTS
    return np.floor(image @ _GRAY_WEIGHTS + 0.5)


def psnr(sr: np.ndarray, hr: np.ndarray, crop_border: int = 0, channel: str = "rgb") -> float:
    """Peak signal-to-noise ratio in dB, peak 255; infinite for identical images.

    Args:
        sr, hr: two images of the same shape, [H, W] or [H, W, 3], values in 0..255, uint8 or float.
        crop_border: pixels ignored on each side.
        channel: see `to_channel`; "rgb" takes one mean squared error over all three channels.

    Raises:
        ValueError: the shapes differ, or the border leaves no pixels.

    Example:
        >>> import numpy as np
        >>> from common.metrics import psnr
        >>> hr = np.full((8, 8, 3), 100, np.uint8)
        >>> round(psnr(hr + 5, hr), 2)
        34.15
    """
    total = size = 0
    for a, b in _strips(sr, hr, crop_border, channel):
        total += float(np.sum((a - b) ** 2))
        size += a.size
    error = total / size
    return float("inf") if error == 0 else float(10 * np.log10(255 ** 2 / error))


def ssim(sr: np.ndarray, hr: np.ndarray, crop_border: int = 0, channel: str = "rgb") -> float:
    """Structural similarity (Wang et al., 2004, doi 10.1109/TIP.2003.819861).

    11x11 Gaussian window with sigma 1.5, K1 0.01, K2 0.03, range 255, averaged over the positions
    where the window lies inside the image; for "rgb" also over the three channels.

    Arguments and errors as in `psnr`; at least 11x11 pixels must remain inside the border.
    """
    total = size = 0
    for pair in _strips(sr, hr, crop_border, channel, _WINDOW):
        for a, b in zip(*map(_planes, pair)):
            values = _ssim(a, b)
            total += float(values.sum())
            size += values.size
    return total / size


def uiqm(image: np.ndarray, crop_border: int = 0) -> float:
    """Underwater image quality (Panetta et al., 2016, doi 10.1109/JOE.2015.2469915): no reference.

    0.0282 `uicm` + 0.2953 `uism` + 3.5753 `uiconm`, each as in the program of SRDRM's authors
    (arXiv 1909.09437) that produced the published values: blocks of 10x10 pixels, ignoring the
    remainder at the bottom and right, a weight of 0.144 for blue edges, and contrast without the
    paper's PLIP operators.

    Args:
        image: [H, W, 3] RGB or [H, W] grey, values in 0..255, uint8 or float.
        crop_border: pixels ignored on each side; at least 10x10 must remain.

    Returns:
        higher is better; 0.5 to 3.5 for underwater photographs.

    Raises:
        ValueError: another shape, or the border leaves too few pixels.
    """
    image = cropped_rgb(image, crop_border, smallest=_BLOCK)
    return 0.0282 * uicm(image) + 0.2953 * uism(image) + 3.5753 * uiconm(image)


def uicm(image: np.ndarray) -> float:
    """Colourfulness: spread of red-green and yellow-blue, minus their distance from grey.

    Each centre is a mean without the lowest and highest tenth of the pixels; each variance is that
    of all pixels around it. `image`: RGB [H, W, 3] in 0..255.
    """
    red, green, blue = np.moveaxis(np.asarray(image, np.float64), -1, 0)
    centres, variances = [], []
    for opponent in (red - green, (red + green) / 2 - blue):
        ordered = np.sort(opponent, axis=None)
        low, high = math.ceil(0.1 * ordered.size), math.floor(0.1 * ordered.size)
        centres.append(ordered[low:ordered.size - high].mean())
        variances.append(np.mean((ordered - centres[-1]) ** 2))
    return float(-0.0268 * np.hypot(*centres) + 0.1586 * np.sqrt(sum(variances)))


def uism(image: np.ndarray) -> float:
    """Sharpness: block contrast (EME) of each channel multiplied by its Sobel edges.

    The strongest edge of a channel is scaled to 255; blocks with a zero add nothing. `image`: RGB
    [H, W, 3] in 0..255, at least 10x10.
    """
    image = np.asarray(image, np.float64)
    total = 0.0
    for channel, weight in zip(np.moveaxis(image, -1, 0), _EDGE_WEIGHTS):
        edges = np.hypot(_slope(channel), _slope(channel.T).T)
        low, high = _block_extremes(channel * edges * (255 / max(edges.max(), 1e-9)))
        some = low > 0
        total += weight * 2 * np.log(high[some] / low[some]).sum() / low.size
    return float(total)


def uiconm(image: np.ndarray) -> float:
    """Contrast: the entropy-like -m log(m) of each block's Michelson contrast m (logAMEE).

    Minimum and maximum are over all channels; blocks of a single value add nothing. `image`: RGB
    [H, W, 3] in 0..255, at least 10x10.
    """
    low, high = _block_extremes(np.asarray(image, np.float64))
    some = high > low
    contrast = (high - low)[some] / (high + low)[some]
    return float(-np.sum(contrast * np.log(contrast)) / low.size)


def check_same_shape(a: tuple, b: tuple) -> None:
    """Raise a `ValueError` if the shapes of two images differ."""
    if a != b:
        raise ValueError(f"images of different shapes: {a} and {b}")


def cropped_rgb(image: np.ndarray, crop_border: int, smallest: int) -> np.ndarray:
    """Return the inside of an image as float64 RGB [H, W, 3], for metrics without a channel.

    Raises:
        ValueError: not an image, or fewer than `smallest` pixels remain on a side.
    """
    image = to_channel(image, "rgb")
    if image.ndim == 2:
        image = np.repeat(image[..., np.newaxis], 3, axis=-1)
    return image[_inside(image.shape, crop_border, smallest)]


def _strips(sr, hr, crop_border, channel, window=1):
    """Yield strips of rows of both images, overlapping by `window` - 1 so that no window is cut."""
    sr, hr = np.atleast_1d(sr), np.atleast_1d(hr)
    shapes = [image.shape[:1] + to_channel(image[:1], channel).shape[1:] for image in (sr, hr)]
    check_same_shape(*shapes)
    rows, columns = _inside(shapes[0], crop_border, window)
    for first in range(rows.start, rows.stop - window + 1, _STRIP):
        strip = slice(first, min(first + _STRIP + window - 1, rows.stop)), columns
        yield to_channel(sr[strip], channel), to_channel(hr[strip], channel)


def _planes(image):
    """[H, W] or [H, W, C] as contiguous planes [C, H, W], as OpenCV needs them."""
    return np.ascontiguousarray(np.moveaxis(np.atleast_3d(image), -1, 0))


def _inside(shape, crop_border, smallest):
    """Slices of the rows and columns inside the border."""
    height, width = (side - 2 * crop_border for side in shape[:2])
    if crop_border < 0 or min(height, width) < smallest:
        raise ValueError(f"{shape[1]}x{shape[0]} pixels minus a border of {crop_border} leave "
                         f"{width}x{height}; at least {smallest}x{smallest} are needed")
    return slice(crop_border, crop_border + height), slice(crop_border, crop_border + width)


def _slope(channel):
    """Sobel derivative of [H, W] along the rows' axis, with symmetric padding."""
    padded = np.pad(channel, 1, mode="symmetric")
    smooth = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    return smooth[2:] - smooth[:-2]


def _block_extremes(image):
    """Minimum and maximum of every block of [H, W] or [H, W, C], over all channels."""
    rows, columns = (side // _BLOCK for side in image.shape[:2])
    blocks = image[:rows * _BLOCK, :columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK, -1)
    return blocks.min(axis=(1, 3, 4)), blocks.max(axis=(1, 3, 4))


def _ssim(a, b):
    """SSIM at every window of two planes: [H - 10, W - 10]."""
    # Only the sum of the variances is needed, so one mean serves both squares.
    mean_a, mean_b, mean_squares, mean_product = map(_blur, (a, b, a * a + b * b, a * b))
    product, squares = mean_a * mean_b, mean_a ** 2 + mean_b ** 2
    luminance = (2 * product + _C1) / (squares + _C1)
    return luminance * (2 * (mean_product - product) + _C2) / (mean_squares - squares + _C2)


def _blur(plane):
    """Gaussian mean of [H, W] at every window inside it: [H - 10, W - 10]."""
    import cv2

    half = _WINDOW // 2
    taps = np.exp(-np.arange(-half, half + 1) ** 2 / (2 * _SIGMA ** 2))
    taps /= taps.sum()
    return cv2.sepFilter2D(plane, cv2.CV_64F, taps, taps)[half:-half, half:-half]
