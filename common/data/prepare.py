"""From an image file to the HR image that is used, and from an HR image to a generated LR image."""

from dataclasses import dataclass, fields

import numpy as np
from PIL import Image

from common.bicubic import crop_to_multiple, downscale
from common.cli import UserError
from common.data.degradation import degrade
from common.data.faults import gaussian_noise, jpeg, resize, rounded, seeded

LIMITS = {"blur": 100, "noise": 255, "jpeg": 100}
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "nearest": Image.Resampling.NEAREST,
            "area": Image.Resampling.BOX}


@dataclass(frozen=True)
class Preparation:
    """Crop and resize give the HR image; blur, reduction, noise and JPEG, in this order, the LR.

    Each step rounds to 8 bits, as if its result had been saved. For example,
    `Preparation(blur=1.5, reduction="nearest")` at x4 turns frames of 1280x768 into 320x192 by
    nearest-neighbour sampling after a Gaussian blur, as in a recipe for animation films.

    Args:
        crop: side of the central square that is used, or less where the image ends, in pixels;
            0: the whole image.
        resize: side of the square to which the image is resized regardless of its proportions, with
            Pillow's bicubic filter, in pixels; 0: no resizing.
        blur: sigma of a Gaussian blur before the reduction, in HR pixels.
        reduction: bicubic (as in MATLAB), or Pillow's bilinear (antialiased), nearest, or area (the
            mean of scale x scale pixels).
        noise: sigma of Gaussian noise on each channel, 0 to 255. It is seeded by the image, so
            that it is the same in every run and on every machine.
        jpeg: quality of a JPEG compression with Pillow's chroma subsampling, 1 to 100; 0: none.
        degradation: photo: the LR image is made by `degradation.degrade` in place of all this, from
            `seed` and the image's name; none: as the others say.
        seed: used by `degradation`.

    Raises:
        UserError: a number is out of range, or `degradation` comes with another way.
    """

    crop: int = 0
    resize: int = 0
    blur: float = 0.0
    reduction: str = "bicubic"
    noise: float = 0.0
    jpeg: int = 0
    degradation: str = "none"
    seed: int = 0

    def __post_init__(self):
        for name, most in LIMITS.items():
            if not 0 <= getattr(self, name) <= most:
                raise UserError(f"--{name} {getattr(self, name)}: choose from 0 (none) to {most}")
        if self.degradation != "none" and len(self.worsened_by) > 1:
            raise UserError(f"--degradation {self.degradation} draws blur, reduction, noise and "
                            f"JPEG by itself; leave out --{self.worsened_by[0]}")

    @property
    def key(self) -> str:
        """The settings that are not the default, as text that tells cached files apart."""
        return "|".join(f"{name}={getattr(self, name)}" for name in self._named())

    @property
    def worsened_by(self) -> list:
        """Names of the settings that make LR images differ from a bicubic reduction."""
        return [name for name in self._named() if name not in ("crop", "resize", "seed")]

    def _named(self):
        return [field.name for field in fields(self) if getattr(self, field.name) != field.default]

    def hr_size(self, size) -> tuple:
        """(height, width) of the HR image from a file of `size`, which `resize` does not need."""
        if self.resize:
            return self.resize, self.resize
        return tuple(min(side, self.crop) for side in size) if self.crop else size

    def hr(self, image: np.ndarray) -> np.ndarray:
        """The HR image from a file's image, uint8 HxW or HxWx3; a view if it is only cropped."""
        if self.crop:
            top, left = (max(0, side - self.crop) // 2 for side in image.shape[:2])
            image = image[top:top + self.crop, left:left + self.crop]
        if self.resize:
            image = resize(image, (self.resize, self.resize), Image.Resampling.BICUBIC)
        return image

    def lr(self, hr: np.ndarray, scale: int, name: str = "") -> np.ndarray:
        """The LR image generated from the prepared HR image `name`, both uint8 HxW or HxWx3.

        The HR image is first cropped at the bottom and right to a multiple of `scale`.
        """
        if self.degradation == "photo":
            return degrade(hr, scale, self.seed, name)
        image = crop_to_multiple(hr, scale)
        if self.blur:
            image = _blurred(image, self.blur)
        if self.reduction == "bicubic":
            image = downscale(image, scale)
        else:
            height, width = image.shape[:2]
            image = resize(image, (height // scale, width // scale), _FILTERS[self.reduction])
        if self.noise:
            image = gaussian_noise(image, self.noise, seeded(np.ascontiguousarray(image)))
        return jpeg(image, self.jpeg) if self.jpeg else image


def _blurred(image, sigma):
    from scipy.ndimage import gaussian_filter  # slow to import, and seldom needed

    sigmas = (sigma, sigma) + (0,) * (image.ndim - 2)
    return rounded(gaussian_filter(image.astype(np.float64), sigmas, mode="nearest"))
