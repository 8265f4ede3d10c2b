"""One scale or several: a joint model has a tuple of scales where others have a number."""


def scale_tuple(scale):
    """(2,) for 2, and (2, 3, 4) for [2, 3, 4]."""
    return tuple(scale) if isinstance(scale, (tuple, list)) else (scale,)


def scale_name(scale):
    """x2 for 2 and x234 for (2, 3, 4): how files and models are called."""
    return "x" + "".join(str(s) for s in scale_tuple(scale))
