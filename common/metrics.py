"""PSNR and SSIM the way super-resolution results are published, in NumPy alone."""

import numpy as np

CHANNELS = ("y", "rgb", "gray")

_Y_WEIGHTS = np.array([65.481, 128.553, 24.966]) / 255  # BT.601, studio range 16..235
_GRAY_WEIGHTS = np.array([19595, 38470, 7471]) / 65536  # BT.601, full range, as Pillow has it
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


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
    sr, hr = _prepare(sr, hr, crop_border, channel, smallest=1)
    error = np.mean((sr - hr) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255 ** 2 / error))


def ssim(sr, hr, crop_border=0, channel="rgb"):
    """Structural similarity (Wang et al., 2004, doi 10.1109/TIP.2003.819861).

    Gaussian window 11x11 of sigma 1.5, K1 0.01, K2 0.03, range 255, mean over the positions where
    the window lies inside the image. With "rgb" it is the mean of the three channels' values.

    Args, returns and errors as `psnr`; the crop must leave 11x11 pixels.
    """
    sr, hr = _prepare(sr, hr, crop_border, channel, smallest=_WINDOW)
    if sr.ndim == 3:
        return float(np.mean([_ssim(sr[..., c], hr[..., c]) for c in range(sr.shape[-1])]))
    return float(_ssim(sr, hr))


def _prepare(sr, hr, crop_border, channel, smallest):
    sr, hr = to_channel(sr, channel), to_channel(hr, channel)
    if sr.shape != hr.shape:
        raise ValueError(f"images of different shapes: {sr.shape} and {hr.shape}")
    height, width = (side - 2 * crop_border for side in sr.shape[:2])
    if crop_border < 0 or min(height, width) < smallest:
        raise ValueError(f"{sr.shape[1]}x{sr.shape[0]} pixels with a border of {crop_border} "
                         f"cropped leave {width}x{height}, need {smallest}x{smallest}")
    inside = (slice(crop_border, crop_border + height), slice(crop_border, crop_border + width))
    return sr[inside], hr[inside]


def _ssim(a, b):
    mean_a, mean_b = _blur(a), _blur(b)
    variance_a = _blur(a * a) - mean_a ** 2
    variance_b = _blur(b * b) - mean_b ** 2
    covariance = _blur(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a ** 2 + mean_b ** 2 + _C1)
    structure = (2 * covariance + _C2) / (variance_a + variance_b + _C2)
    return np.mean(luminance * structure)


def _blur(image):
    """Gaussian mean of [H, W] over every window that fits: [H - 10, W - 10]."""
    offsets = np.arange(_WINDOW) - _WINDOW // 2
    taps = np.exp(-offsets ** 2 / (2 * _SIGMA ** 2))
    taps /= taps.sum()
    height, width = (side - _WINDOW + 1 for side in image.shape)
    rows = sum(tap * image[i:i + height] for i, tap in enumerate(taps))
    return sum(tap * rows[:, i:i + width] for i, tap in enumerate(taps))
