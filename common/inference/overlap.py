"""How far around a tile a network really looks: measured with its weights, not its graph."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from common.inference.footprint import Footprint, needed_overlap, up_to

TOLERANCE = 0.2  # grey levels by which a tile may differ from the whole image, before rounding
_SMALL = 8  # a radius that is not worth measuring
_FIRST = 24  # LR pixels up to which differences are looked for first; few networks look further
_ACROSS = 32  # LR pixels of the strips on the other side


def measured_overlap(forward: Callable[[np.ndarray], np.ndarray], found: Footprint) -> int:
    """LR pixels to read around a tile, so that it differs by `TOLERANCE` from the whole image.

    Strips of noise and edges are enlarged whole and without their ends. Where the difference is
    small enough at some distance from the cuts, and stays so, the pixels beyond do not matter.

    Args:
        forward: the network, float32 [h, w, 3] in 0..255 to `scale` times the size.
        found: its footprint.

    Returns:
        a multiple of the footprint's grid, at most `needed_overlap`: ESRGAN would need 80 for
        noise, with which its windows would cost three times as much.
    """
    grid, most = found.grid, needed_overlap(found)
    if most <= _SMALL * grid:
        return most
    for reach in (min(up_to(_FIRST, grid), most), most):
        needed = max(_needed(forward, found, reach, turned) for turned in (False, True))
        if needed < reach:
            return up_to(needed, grid)
    return most


def _needed(forward, found, reach, turned):
    """The distance from the cuts beyond which differences are small; `reach` if there is none."""
    length, across = 4 * reach, up_to(_ACROSS, found.grid)
    draw = np.random.RandomState(0)
    strip = draw.randint(0, 256, (across // 4 + 1, length // 4 + 1, 3)).repeat(4, 0).repeat(4, 1)
    strip = strip[:across, :length].astype(np.float32)
    noisy = slice(across // 2)
    strip[noisy] = draw.randint(0, 256, strip[noisy].shape)

    def enlarged(part):
        sr = forward(part.swapaxes(0, 1) if turned else part)
        return sr.swapaxes(0, 1) if turned else sr

    inner = slice(reach * found.scale, -reach * found.scale)
    difference = np.abs(enlarged(strip)[:, inner] - enlarged(strip[:, reach:-reach]))
    columns = difference.max(axis=(0, 2)).reshape(-1, found.scale).max(axis=1)
    worst = np.maximum(columns, columns[::-1])[:reach]
    if not np.isfinite(worst).all():
        return reach
    return int(np.flatnonzero(worst > TOLERANCE).max(initial=-1)) + 1
