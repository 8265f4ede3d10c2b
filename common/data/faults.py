"""The faults of a photograph, one function each: blur, resizing, noise and JPEG compression.

Images are uint8 in [0, 255], HxW or HxWxC; each fault rounds to 8 bits, as if its result had been
saved. Random numbers are drawn from what `seeded` returns.
"""

import hashlib
import io
from typing import Union

import numpy as np
from PIL import Image


def seeded(key: Union[bytes, np.ndarray]) -> np.random.RandomState:
    """A source of random numbers that depends on the bytes of the key alone."""
    seed = np.frombuffer(hashlib.sha256(key).digest(), "<u4")
    # RandomState gives the same stream in all NumPy versions; Generator does not.
    return np.random.RandomState(seed)


def blur(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolve each channel of an HxWxC image with a square kernel of odd side, edges mirrored."""
    from scipy import fft  # slow to import, and seldom needed

    (height, width), around = image.shape[:2], kernel.shape[0] - 1
    # In float32 the result would depend on the machine's FFT in one of some thousand pixels.
    size = [fft.next_fast_len(side + around, real=True) for side in (height, width)]
    spectrum, result = fft.rfft2(kernel, size), np.empty_like(image)
    for c in range(image.shape[-1]):
        plane = np.pad(image[..., c], around // 2, mode="reflect").astype(np.float64)
        plane = fft.irfft2(fft.rfft2(plane, size) * spectrum, size)
        # It wraps around: what lies before the kernel's reach is not that of the image.
        result[..., c] = rounded(plane[around:around + height, around:around + width])
    return result


def gaussian_kernel(side: int, sigmas: tuple, angle: float = 0.0, beta: float = 1.0,
                    plateau: bool = False) -> np.ndarray:
    """A kernel that falls off with the distance d from its centre, measured in sigmas; sum 1.

    Args:
        side: odd number of pixels.
        sigmas: of its two axes, pixels.
        angle: of the first axis to the columns, radians.
        beta: exponent that makes it sharper (below 1) or flatter (above 1) than a Gaussian.
        plateau: 1 / (1 + d**(2 * beta)) in place of exp(-d**(2 * beta) / 2).
    """
    y, x = np.mgrid[:side, :side] - side // 2
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    power = ((along / sigmas[0]) ** 2 + (across / sigmas[1]) ** 2) ** beta
    kernel = 1 / (1 + power) if plateau else np.exp(-power / 2)
    return kernel / kernel.sum()


def sinc_kernel(side: int, cutoff: float) -> np.ndarray:
    """An ideal circular low-pass filter, which rings at edges, cut to a square; sum 1.

    Args:
        side: odd number of pixels.
        cutoff: highest frequency that passes, radians per pixel.
    """
    from scipy.special import j1

    y, x = np.mgrid[:side, :side] - side // 2
    radius = np.hypot(x, y)
    radius[side // 2, side // 2] = 1  # replaced by the limit below
    kernel = cutoff * j1(cutoff * radius) / (2 * np.pi * radius)
    kernel[side // 2, side // 2] = cutoff**2 / (4 * np.pi)
    return kernel / kernel.sum()


def resize(image: np.ndarray, size: tuple, method: int) -> np.ndarray:
    """Resize to (height, width) by one of Pillow's filters, which antialias."""
    return np.array(Image.fromarray(np.ascontiguousarray(image)).resize(size[::-1], method))


def gaussian_noise(image: np.ndarray, sigma: float, random: np.random.RandomState,
                   grey: bool = False) -> np.ndarray:
    """Add Gaussian noise of `sigma` grey levels; `grey`: the same in all channels."""
    noise = random.standard_normal(image.shape[:2] + (1,) if grey else image.shape)
    return rounded(image + sigma * noise)


def poisson_noise(image: np.ndarray, strength: float, random: np.random.RandomState,
                  grey: bool = False) -> np.ndarray:
    """Add the noise of counted light, of `strength * sqrt(value)` grey levels.

    Args:
        image: HxWx3.
        strength: factor of the noise that there is if each grey level is one photon.
        random: source of the draws.
        grey: add the noise of the luma to all channels.
    """
    light = np.array(Image.fromarray(image).convert("L"))[..., None] if grey else image
    return rounded(image + strength * (random.poisson(light) - light))


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Compress with Pillow's chroma subsampling at a quality of 1 to 100, and decode."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


def rounded(image: np.ndarray) -> np.ndarray:
    """Round and clip to uint8."""
    image = np.rint(image)
    return np.clip(image, 0, 255, out=image).astype(np.uint8)
