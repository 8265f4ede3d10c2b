"""From the samples of a TIFF page to grey or RGB, as its photometric interpretation says."""

from __future__ import annotations

import numpy as np
from PIL import Image

from common.images import colour
from common.images.opening import pixels
from common.images.tiff_layout import BYTEWISE, Layout


def in_colour(layout: Layout, samples: np.ndarray) -> tuple:
    """Turn samples as stored into grey or RGB.

    Args:
        layout: of the page.
        samples: uint8 or uint16, HxWxS.

    Returns:
        (uint8 or uint16 HxWxC of full range: grey or RGB, then alpha if there is one; profile of
        these colours or None; list of what was left out or converted).
    """
    notes, profile = [], layout.profile
    colours, others = samples[..., :layout.colours], samples[..., layout.colours:]
    if layout.photometric == 3:
        colours = (layout.palette >> 8).astype(np.uint8)[colours[..., 0]]
    else:
        colours = full_range(colours, layout.bits)
    if layout.photometric == 0:
        colours = np.iinfo(colours.dtype).max - colours
    alpha = None
    if layout.alpha is not None:
        alpha = full_range(others[..., layout.alpha], layout.bits)
        if layout.associated:
            colours = colour.unpremultiplied(colours, alpha)
    dropped = layout.samples - layout.colours - (alpha is not None)
    if dropped:
        notes.append(f"{dropped} extra channel{'s' * (dropped > 1)} of unspecified meaning "
                     f"{'are' if dropped > 1 else 'is'} left out")
    if layout.photometric == 6 and layout.compression in BYTEWISE:
        colours = _rgb_from_ycbcr(colours, layout)
    if layout.photometric in (5, 8, 9):
        colours, profile, more = _through_profile(colours, layout)
        notes += more
        if alpha is not None and alpha.dtype != colours.dtype:
            alpha = colour.to_8_bits(alpha)
    if alpha is not None and layout.photometric == 3 and alpha.dtype != np.uint8:
        alpha = colour.to_8_bits(alpha)
    return (colours if alpha is None else np.dstack([colours, alpha])), profile, notes


def full_range(samples: np.ndarray, bits: int) -> np.ndarray:
    """Stretch samples of 1 to 16 bits to all of 8 (up to 8 bits) or 16 bits."""
    wanted = 8 if bits <= 8 else 16
    if bits == wanted:
        return samples
    most = 2 ** bits - 1
    table = (np.arange(2 ** bits) * (2 ** wanted - 1) + most // 2) // most
    return table.astype(np.uint8 if wanted == 8 else np.uint16)[samples]


def _rgb_from_ycbcr(samples, layout):
    black, white = np.array(layout.reference).reshape(3, 2).T
    red, green, blue = layout.coefficients
    y, cb, cr = np.moveaxis((samples - black) * (np.array([255, 127, 127]) / (white - black)),
                            -1, 0)
    r, b = cr * (2 - 2 * red) + y, cb * (2 - 2 * blue) + y
    g = (y - blue * b - red * r) / green
    return np.clip(np.rint(np.stack([r, g, b], axis=-1)), 0, 255).astype(np.uint8)


def _through_profile(colours, layout):
    """(uint8 RGB, its profile, notes) from CMYK, CIELab (a, b signed) or ICCLab (offset)."""
    notes = []
    if layout.bits > 8:
        notes.append(f"colours of {layout.bits} bits are converted to RGB with 8 bits")
    if layout.photometric == 5:
        image = Image.frombytes("CMYK", colours.shape[1::-1], colour.to_8_bits(colours).tobytes())
    else:
        image = Image.frombytes("LAB", colours.shape[1::-1], _lab_bytes(colours, layout))
    rgb, profile, note = colour.to_rgb(image, layout.profile)
    return pixels(rgb), profile, [*notes, *[note] * bool(note)]


def _lab_bytes(colours, layout):
    """8-bit Lab as TIFF and Pillow store it: L from 0 to 255 for 100, a and b signed."""
    if layout.bits == 8:
        return (colours ^ np.uint8([0, 128, 128]) if layout.photometric == 9 else colours).tobytes()
    if layout.photometric == 8:  # L up to 65535, a and b signed 256ths
        values = colours.astype(np.uint16).view(np.int16).astype(np.float64) / 256
        values[..., 0] = colours[..., 0] / 257.0
    else:  # L up to 65280, a and b 256ths above -128
        values = colours / 256.0 - [0, 128, 128]
    lightness = np.clip(np.rint(values[..., :1]), 0, 255).astype(np.uint8)
    rest = np.clip(np.rint(values[..., 1:]), -128, 127).astype(np.int8).view(np.uint8)
    return np.concatenate([lightness, rest], axis=-1).tobytes()
