"""Colours: to RGB through a colour profile, and outwards under what is transparent."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

WITHOUT_PROFILE = "its colour profile cannot be used; the colours are converted without it"


def to_rgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, bytes | None, str]:
    """Convert a Pillow image of CMYK or Lab colours to RGB, through its profile if it has one.

    Returns:
        (RGB image, profile that describes it or None, what must be said about it or "").
    """
    from PIL import ImageCms

    target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    sources = []
    if profile and profile[16:20] == {"CMYK": b"CMYK", "LAB": b"Lab "}[image.mode]:
        sources.append((lambda: ImageCms.ImageCmsProfile(io.BytesIO(profile)), ""))
    if image.mode == "LAB":
        sources.append((lambda: ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")),
                        WITHOUT_PROFILE if profile else ""))
    for open_source, note in sources:
        try:
            rgb = ImageCms.profileToProfile(image, open_source(), target, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            continue
        return rgb, _undated(target.tobytes()), note
    return image.convert("RGB"), None, WITHOUT_PROFILE if profile else ""


def _undated(profile):
    """The same profile with a fixed date, so that a command repeated writes the same file."""
    return profile[:24] + bytes([7, 208, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0]) + profile[36:]


def fits(profile: bytes | None, channels: int) -> bool:
    """Whether a profile can describe grey (1 or 2 channels) or RGB (3 or 4), if it names a space.

    Grey with the profile of RGB is common and harmless.
    """
    space = (profile or b"")[16:20]
    return space not in (b"CMYK", b"Lab ") and not (space == b"GRAY" and channels > 2)


def extend_under_alpha(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Give every wholly transparent pixel the colour of the nearest one that can be seen.

    A network mixes neighbours, so that what hides under the transparent pixels would show at the
    edge.

    Args:
        colours: [H, W, C].
        alpha: [H, W]; 0 is transparent.

    Returns:
        colours of the same shape and type; the argument itself if nothing is hidden.
    """
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return colours
    import cv2

    _, labels = cv2.distanceTransformWithLabels(hidden.astype(np.uint8), cv2.DIST_L2, 5,
                                                labelType=cv2.DIST_LABEL_PIXEL)
    nearest = np.zeros((labels.max() + 1, colours.shape[-1]), colours.dtype)
    nearest[labels[~hidden]] = colours[~hidden]
    return nearest[labels]


def unpremultiplied(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Divide colours [H, W, C] of any range by their alpha [H, W], uint8 or uint16, rounded."""
    most = int(np.iinfo(colours.dtype).max)
    part = np.maximum(alpha, 1).astype(np.int64)[..., None]
    return np.minimum((colours.astype(np.int64) * most + part // 2) // part, most).astype(
        colours.dtype)


def to_8_bits(array: np.ndarray) -> np.ndarray:
    """Round uint16 to uint8; uint8 stays as it is."""
    if array.dtype == np.uint8:
        return array
    return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
