"""What becomes of an image file: the HR image that counts, and the LR image that is made of it."""

import hashlib
import io
from dataclasses import dataclass, fields, replace

import numpy as np
from PIL import Image

from common.bicubic import crop_to_multiple, downscale
from common.cli import UserError

LIMITS = {"blur": 100, "noise": 255, "jpeg": 100}
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "nearest": Image.Resampling.NEAREST,
            "area": Image.Resampling.BOX}


@dataclass(frozen=True)
class Preparation:
    """Crop, then resize give the HR image; blur, reduction, noise, then JPEG give its LR image.

    Every step rounds to 8 bits, as if its result were saved. An example is an animation film's
    recipe, frames of 1280x768 to 320x192 by the nearest pixels after a Gaussian blur:
    `Preparation(blur=1.5, reduction="nearest")` at x4.

    Args:
        crop: side of the square in the middle that counts, as far as the image reaches, pixels;
            0: all.
        resize: side of the square that the image is resized to whatever its proportions, by
            Pillow's bicubic filter, pixels; 0: as it is.
        blur: sigma of a Gaussian before the reduction, HR pixels.
        reduction: bicubic (equal to MATLAB's), or Pillow's bilinear (antialiased), nearest, or
            area (the mean of scale x scale pixels).
        noise: sigma of Gaussian noise on each channel, grey levels in [0, 255]. It is drawn from
            the image itself: the same in every run and on every machine.
        jpeg: quality of a JPEG compression with Pillow's chroma subsampling, 1-100; 0: none.

    Raises:
        UserError: a number out of its range.
    """

    crop: int = 0
    resize: int = 0
    blur: float = 0.0
    reduction: str = "bicubic"
    noise: float = 0.0
    jpeg: int = 0

    def __post_init__(self):
        for name, most in LIMITS.items():
            if not 0 <= getattr(self, name) <= most:
                raise UserError(f"--{name} {getattr(self, name)}: choose from 0 (none) to {most}")

    @property
    def key(self):
        """What differs from leaving everything as it is, as text; it tells kept files apart."""
        return "|".join(f"{name}={getattr(self, name)}" for name in self._named())

    @property
    def degradation(self):
        """Names of the settings by which LR images differ from a bicubic reduction."""
        return [name for name in self._named() if name not in ("crop", "resize")]

    def _named(self):
        return [field.name for field in fields(self) if getattr(self, field.name) != field.default]

    def hr_only(self):
        """The same without what is done for the LR image."""
        return Preparation(crop=self.crop, resize=self.resize)

    def lr_only(self):
        """The same for an HR image that is ready."""
        return replace(self, crop=0, resize=0)

    def hr(self, image):
        """The HR image that comes of a file's, uint8 HxW or HxWx3 (a view where it is only cut)."""
        if self.crop:
            top, left = (max(0, side - self.crop) // 2 for side in image.shape[:2])
            image = image[top:top + self.crop, left:left + self.crop]
        if self.resize:
            image = _resized(image, (self.resize, self.resize), Image.Resampling.BICUBIC)
        return image

    def lr(self, hr, scale):
        """The LR image of an HR image that is ready, both uint8 HxW or HxWx3.

        The bottom and right are cropped to a multiple of `scale` first.
        """
        image = crop_to_multiple(hr, scale)
        if self.blur:
            image = _blurred(image, self.blur)
        if self.reduction == "bicubic":
            image = downscale(image, scale)
        else:
            height, width = image.shape[:2]
            image = _resized(image, (height // scale, width // scale), _FILTERS[self.reduction])
        if self.noise:
            image = _noisy(image, self.noise)
        return _compressed(image, self.jpeg) if self.jpeg else image


def _resized(image, size, method):
    return np.array(Image.fromarray(np.ascontiguousarray(image)).resize(size[::-1], method))


def _blurred(image, sigma):
    from scipy.ndimage import gaussian_filter  # not needed, and slow to import, without a blur

    sigmas = (sigma, sigma) + (0,) * (image.ndim - 2)
    return _rounded(gaussian_filter(image.astype(np.float64), sigmas, mode="nearest"))


def _noisy(image, sigma):
    seed = np.frombuffer(hashlib.sha256(np.ascontiguousarray(image)).digest(), "<u4")
    # The stream of RandomState is fixed for all NumPy versions; that of Generator is not.
    return _rounded(image + sigma * np.random.RandomState(seed).standard_normal(image.shape))


def _compressed(image, quality):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


def _rounded(image):
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
