"""One scale or several: a joint model has a tuple of scales, the others have a number."""

from __future__ import annotations


def scale_tuple(scale: int | tuple | list) -> tuple:
    """Return (2,) for 2, and (2, 3, 4) for [2, 3, 4]."""
    return tuple(scale) if isinstance(scale, (tuple, list)) else (scale,)


def scale_name(scale: int | tuple | list) -> str:
    """Return "x2" for 2 and "x234" for (2, 3, 4), as used in the names of files and models."""
    return "x" + "".join(str(s) for s in scale_tuple(scale))
