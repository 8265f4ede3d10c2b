"""Which LR images of several a data set uses, for the log."""

import logging
import re

from common.data.layouts import LOW_RESOLUTION, sub_folders
from common.data.split import log_once
from common.images.files import find_images


def say_which_lr(pairs: list, scale: int) -> None:
    """Log which LR images are used where there are others in or beside a folder of HR images.

    Args:
        pairs: list of `Pair`.
        scale: how many times larger the HR images are.
    """
    for hr in dict.fromkeys(pair.hr.parent for pair in pairs):
        used = list(dict.fromkeys(pair.lr and pair.lr.parent for pair in pairs
                                  if pair.hr.parent == hr))
        others = [path for path in _lr_folders(hr, scale) if path not in used]
        if others:
            of = " and ".join(f"from {path}" if path else "generated from HR" for path in used)
            log_once(f"{hr}: LR images x{scale} {of}; not used: {', '.join(map(str, others))}",
                     logging.WARNING)


def _lr_folders(hr, scale):
    """The folders in or beside a folder of HR images which by their names hold its LR images."""
    base, found = _base(hr.name), []
    for place, bases in ((hr, ("",)), (hr.parent, ("", base))):
        try:
            inside = sub_folders(place)
        except OSError:  # what may not be listed was not meant
            continue
        for name, path in inside.items():
            scales = re.findall(r"x(\d+)|(\d+)x", name)
            if path == hr or not LOW_RESOLUTION.search(name) or _base(name) not in bases or (
                    scales and str(scale) not in scales[-1]):
                continue
            path = sub_folders(path).get(f"x{scale}", path)
            images = find_images(path)
            of_scale = re.search(r"x(\d+)[a-z]?\d*$", images[0].stem) if images else None
            if images and (not of_scale or int(of_scale.group(1)) == scale):
                found.append(path)
    return found


def _base(name):
    """The part of a folder's name before HR, LR or a scale: div2k_train of DIV2K_train_HR."""
    return re.split(r"(?:^|[-_])(?:hr|gt|gtmod\d+|lr|lq)(?:[-_x\d]|$)|[-_]?x\d+$|[-_]\d+x$",
                    name.lower())[0]
