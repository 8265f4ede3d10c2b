"""LR images as bad photographs: random faults after Real-ESRGAN (arXiv 2107.10833, figure 2).

Blur, resizing and noise, once or twice with JPEG between them, then the reduction to the LR size
and JPEG in either order. The ranges are the paper's, but where a comment says otherwise.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from common.bicubic import crop_to_multiple
from common.data.faults import (
    blur,
    gaussian_kernel,
    gaussian_noise,
    jpeg,
    poisson_noise,
    resize,
    seeded,
    sinc_kernel,
)


@dataclass(frozen=True)
class Strength:
    """How much one round of blur, resizing and noise may do: probabilities and (least, most).

    Args:
        blur: probability of a blur.
        sigma: of its kernel, pixels.
        larger, smaller: probabilities that the image is enlarged or reduced.
        sides: least and most of the sides after that: times the LR image's, times what they were.
        gaussian: sigma of Gaussian noise, grey levels.
        poisson: strength of Poisson noise, see `faults.poisson_noise`.
    """

    blur: float
    sigma: tuple
    larger: float
    smaller: float
    sides: tuple
    gaussian: tuple
    poisson: tuple


# The least sides are 0.6 and 0.5 of the LR image's. The paper's, 0.15 of the HR image's and 0.3 of
# the LR image's, are the same or less at x4 and leave little of a picture at x2, nothing together.
FIRST = Strength(1.0, (0.2, 3.0), 0.2, 0.7, (0.6, 1.5), (1, 30), (0.05, 3.0))
SECOND = Strength(0.8, (0.2, 1.5), 0.3, 0.4, (0.5, 1.2), (1, 25), (0.05, 2.5))
# The paper always has a second round. Many photographs were scaled and compressed only once.
TWICE = 0.8
QUALITY = (30, 95)  # of JPEG
GAUSSIAN, GREY, SINC, LAST_SINC = 0.5, 0.4, 0.1, 0.8  # probabilities
METHODS = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)
# (probability, isotropic, plateau, range of beta) of the kernels that are no sinc filter.
KERNELS = ((0.45, True, False, (1, 1)), (0.25, False, False, (1, 1)),
           (0.12, True, False, (0.5, 4)), (0.03, False, False, (0.5, 4)),
           (0.12, True, True, (1, 2)), (0.03, False, True, (1, 2)))


def degrade(hr: np.ndarray, scale: int, *key) -> np.ndarray:
    """Make an LR image with the faults of a bad photograph.

    Args:
        hr: uint8 HxWx3, at least `scale` pixels each way; first cropped at the bottom and right to
            a multiple of `scale`.
        scale: how many times smaller the LR image is.
        key: what all draws depend on, such as a seed and the image's name.

    Returns:
        uint8 (H//scale)x(W//scale)x3.
    """
    random = seeded("\n".join(map(str, key)).encode("utf-8", "surrogateescape"))
    image = crop_to_multiple(hr, scale)
    size = tuple(side // scale for side in image.shape[:2])
    image = _one_round(image, size, scale, FIRST, random)
    if _happens(TWICE, random):
        image = _one_round(_compressed(image, random), size, 1, SECOND, random)
    if _happens(0.5, random):
        return _compressed(_reduced(image, size, random), random)
    return _reduced(_compressed(image, random), size, random)


def _one_round(image, size, scale, strength, random):
    """Blur, resize to a random multiple of `scale` times the LR image's `size`, add noise."""
    if _happens(strength.blur, random):
        image = blur(image, _kernel(strength.sigma, random))
    factor = scale * _factor(strength, scale, random)
    image = resize(image, tuple(max(1, round(side * factor)) for side in size), _method(random))
    grey = _happens(GREY, random)
    if _happens(GAUSSIAN, random):
        return gaussian_noise(image, random.uniform(*strength.gaussian), random, grey)
    return poisson_noise(image, random.uniform(*strength.poisson), random, grey)


def _reduced(image, size, random):
    """Resize to the LR size; a sinc filter then often rings, as sharpened photographs do."""
    image = resize(image, size, _method(random))
    if not _happens(LAST_SINC, random):
        return image
    return blur(image, sinc_kernel(_side(random), random.uniform(np.pi / 3, np.pi)))


def _compressed(image, random):
    return jpeg(image, random.randint(QUALITY[0], QUALITY[1] + 1))


def _kernel(sigma, random):
    side = _side(random)
    if _happens(SINC, random):
        return sinc_kernel(side, random.uniform(np.pi / (3 if side < 13 else 5), np.pi))
    kind = random.choice(len(KERNELS), p=[probability for probability, *_ in KERNELS])
    _, isotropic, plateau, (lowest, highest) = KERNELS[kind]
    first, second, angle = random.uniform(*sigma), random.uniform(*sigma), random.uniform(0, np.pi)
    beta = random.uniform(lowest, 1) if _happens(0.5, random) else random.uniform(1, highest)
    return gaussian_kernel(side, (first, first if isotropic else second), angle, beta, plateau)


def _side(random):
    return 2 * random.randint(3, 11) + 1  # 7 to 21


def _factor(strength, scale, random):
    kind, (least, most) = random.uniform(), strength.sides
    if kind < strength.larger:
        return random.uniform(1, most)
    return random.uniform(least / scale, 1) if kind < strength.larger + strength.smaller else 1.0


def _method(random):
    return METHODS[random.randint(len(METHODS))]


def _happens(probability, random):
    return random.uniform() < probability
