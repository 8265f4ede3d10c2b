"""PSNR, SSIM and UIQM the way super-resolution results are published."""

import math

import numpy as np

CHANNELS = ("y", "rgb", "gray")

_Y_WEIGHTS = np.array([65.481, 128.553, 24.966]) / 255  # BT.601, studio range 16..235
_GRAY_WEIGHTS = np.array([19595, 38470, 7471]) / 65536  # BT.601, full range, as Pillow has it
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_STRIP = 32  # rows at a time: what is made of them stays in the processor's cache
_BLOCK = 10  # of UIQM
_EDGE_WEIGHTS = (0.299, 0.587, 0.144)  # sic: BT.601 has 0.114


def to_channel(image, channel):
    """The values of an image that are compared.

    Args:
        image: [H, W] (grey) or [H, W, 3] (RGB), values in 0..255, uint8 or float.
        channel: "y", the luma of BT.601 YCbCr in 16..235, not rounded; "rgb", the image as it is;
            or "gray", the 8-bit grey of Pillow's mode L, rounded to whole levels.

    Returns:
        float64 [H, W, 3] for "rgb" of an RGB image, else [H, W]. A grey image keeps its value for
        every channel: pushed through RGB -> Y its range would shrink and its PSNR rise by 0.1 dB.
    """
    if channel not in CHANNELS:
        raise ValueError(f"no channel {channel!r}: one of {', '.join(CHANNELS)}")
    image = np.asarray(image, np.float64)
    if image.ndim != 2 and (image.ndim != 3 or image.shape[-1] != 3):
        raise ValueError(f"an image of shape {image.shape}, need [H, W] or [H, W, 3]")
    if image.ndim == 2 or channel == "rgb":
        return image
    if channel == "y":
        return 16 + image @ _Y_WEIGHTS
    return np.floor(image @ _GRAY_WEIGHTS + 0.5)


def psnr(sr, hr, crop_border=0, channel="rgb"):
    """Peak signal-to-noise ratio in dB, peak 255.

    Args:
        sr, hr: two images of one shape, [H, W] or [H, W, 3], values in 0..255, uint8 or float.
        crop_border: pixels left out on each side.
        channel: see `to_channel`; with "rgb" one squared error over all three channels.

    Returns:
        a float, infinite for identical images.

    Raises:
        ValueError: the shapes differ, or the crop leaves nothing.
    """
    total = size = 0
    for a, b in _strips(sr, hr, crop_border, channel):
        total += float(np.sum((a - b) ** 2))
        size += a.size
    error = total / size
    return float("inf") if error == 0 else float(10 * np.log10(255 ** 2 / error))


def ssim(sr, hr, crop_border=0, channel="rgb"):
    """Structural similarity (Wang et al., 2004, doi 10.1109/TIP.2003.819861).

    Gaussian window 11x11 of sigma 1.5, K1 0.01, K2 0.03, range 255, mean over the positions where
    the window lies inside the image. With "rgb" it is the mean of the three channels' values.

    Args, returns and errors as `psnr`; the crop must leave 11x11 pixels.
    """
    total = size = 0
    for pair in _strips(sr, hr, crop_border, channel, _WINDOW):
        for a, b in zip(*map(_planes, pair)):
            values = _ssim(a, b)
            total += float(values.sum())
            size += values.size
    return total / size


def uiqm(image, crop_border=0):
    """Underwater image quality (Panetta et al., 2016, doi 10.1109/JOE.2015.2469915): no reference.

    0.0282 `uicm` + 0.2953 `uism` + 3.5753 `uiconm`, each as in the program of SRDRM's authors
    (arXiv 1909.09437), where the published values come from: blocks of 10x10 pixels without the
    rest at the bottom and right, a weight of 0.144 for blue edges, and a contrast without the PLIP
    operators of the paper.

    Args:
        image: [H, W, 3] RGB or [H, W] grey, values in 0..255, uint8 or float.
        crop_border: pixels left out on each side; 10x10 must be left.

    Returns:
        a float, the higher the better; 0.5 to 3.5 for photographs taken under water.

    Raises:
        ValueError: another shape, or the crop leaves too little.
    """
    image = cropped_rgb(image, crop_border, smallest=_BLOCK)
    return 0.0282 * uicm(image) + 0.2953 * uism(image) + 3.5753 * uiconm(image)


def uicm(image):
    """Colourfulness: how red-green and yellow-blue scatter, less how far they are off grey.

    Both centres are means without the lowest and the highest tenth of the pixels, the variances
    are of all pixels around them. `image`: RGB [H, W, 3] in 0..255.
    """
    red, green, blue = np.moveaxis(np.asarray(image, np.float64), -1, 0)
    centres, variances = [], []
    for opponent in (red - green, (red + green) / 2 - blue):
        ordered = np.sort(opponent, axis=None)
        low, high = math.ceil(0.1 * ordered.size), math.floor(0.1 * ordered.size)
        centres.append(ordered[low:ordered.size - high].mean())
        variances.append(np.mean((ordered - centres[-1]) ** 2))
    return float(-0.0268 * np.hypot(*centres) + 0.1586 * np.sqrt(sum(variances)))


def uism(image):
    """Sharpness: contrast within blocks (EME) of each channel times its Sobel edges.

    The strongest edge of a channel counts 255; blocks that touch zero count nothing. `image`: RGB
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


def uiconm(image):
    """Contrast: the entropy-like -m log(m) of each block's Michelson contrast m (logAMEE).

    Extremes are over all channels; blocks of one value count nothing. `image`: RGB [H, W, 3] in
    0..255, at least 10x10.
    """
    low, high = _block_extremes(np.asarray(image, np.float64))
    some = high > low
    contrast = (high - low)[some] / (high + low)[some]
    return float(-np.sum(contrast * np.log(contrast)) / low.size)


def cropped_rgb(image, crop_border, smallest):
    """The inside of an image as float64 RGB [H, W, 3], for metrics that have no channel.

    Raises:
        ValueError: no image, or less than `smallest` pixels are left on a side.
    """
    image = to_channel(image, "rgb")
    if image.ndim == 2:
        image = np.repeat(image[..., np.newaxis], 3, axis=-1)
    return image[_inside(image.shape, crop_border, smallest)]


def _strips(sr, hr, crop_border, channel, window=1):
    """What is compared of two images, some rows at a time, such that each window lies in one.

    Strips overlap by `window` - 1 rows.
    """
    sr, hr = np.atleast_1d(sr), np.atleast_1d(hr)
    shapes = [image.shape[:1] + to_channel(image[:1], channel).shape[1:] for image in (sr, hr)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"images of different shapes: {shapes[0]} and {shapes[1]}")
    rows, columns = _inside(shapes[0], crop_border, window)
    for first in range(rows.start, rows.stop - window + 1, _STRIP):
        strip = slice(first, min(first + _STRIP + window - 1, rows.stop)), columns
        yield to_channel(sr[strip], channel), to_channel(hr[strip], channel)


def _planes(image):
    """The channels of [H, W] or [H, W, C], [C, H, W], each in one piece as OpenCV wants it."""
    return np.ascontiguousarray(np.moveaxis(np.atleast_3d(image), -1, 0))


def _inside(shape, crop_border, smallest):
    """The slices of rows and columns that a border leaves."""
    height, width = (side - 2 * crop_border for side in shape[:2])
    if crop_border < 0 or min(height, width) < smallest:
        raise ValueError(f"{shape[1]}x{shape[0]} pixels with a border of {crop_border} "
                         f"cropped leave {width}x{height}, need {smallest}x{smallest}")
    return slice(crop_border, crop_border + height), slice(crop_border, crop_border + width)


def _slope(channel):
    """The Sobel derivative of [H, W] down the rows, the image mirrored with its edge pixels."""
    padded = np.pad(channel, 1, mode="symmetric")
    smooth = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    return smooth[2:] - smooth[:-2]


def _block_extremes(image):
    """Least and greatest value of every block of [H, W] or [H, W, C], over all channels."""
    rows, columns = (side // _BLOCK for side in image.shape[:2])
    blocks = image[:rows * _BLOCK, :columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK, -1)
    return blocks.min(axis=(1, 3, 4)), blocks.max(axis=(1, 3, 4))


def _ssim(a, b):
    """SSIM at every window of two planes: [H - 10, W - 10]."""
    # The variances occur as their sum alone, so that the squares share a mean.
    mean_a, mean_b, mean_squares, mean_product = map(_blur, (a, b, a * a + b * b, a * b))
    product, squares = mean_a * mean_b, mean_a ** 2 + mean_b ** 2
    luminance = (2 * product + _C1) / (squares + _C1)
    return luminance * (2 * (mean_product - product) + _C2) / (mean_squares - squares + _C2)


def _blur(plane):
    """Gaussian mean of [H, W] over every window that fits: [H - 10, W - 10]."""
    import cv2

    half = _WINDOW // 2
    taps = np.exp(-np.arange(-half, half + 1) ** 2 / (2 * _SIGMA ** 2))
    taps /= taps.sum()
    return cv2.sepFilter2D(plane, cv2.CV_64F, taps, taps)[half:-half, half:-half]
