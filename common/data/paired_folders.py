"""HR and LR images in folders that are named one by one, wherever they are."""

from pathlib import Path

from common.cli import UserError
from common.data.pairs import pair_by_name
from common.data.sets import NO_CHOICES, Splits, check_sizes
from common.images import list_images


def open_paired_folders(gt, lq, val_gt, val_lq, scale, *, choices=NO_CHOICES):
    """Pair the images of an HR and an LR folder, to train on and to validate with.

    Args:
        gt, lq: folders of HR and LR images of the same names (or fox and foxx4) to train on.
        val_gt, val_lq: the same to validate with; without them (None) some training images are
            kept out for it, as in `open_dataset`.
        scale: how many times larger the HR images are.
        choices: as of `open_dataset`.

    Returns:
        a `Splits`.

    Raises:
        UserError: a folder that is not named or not there, or images that do not pair up.
    """
    train, val = _pair(gt, lq, "gt_folder", "lq_folder"), []
    if val_gt or val_lq:
        val = _pair(val_gt, val_lq, "val_gt_folder", "val_lq_folder")
    train, val = choices.split(train, val, gt)
    check_sizes([*train, *val], scale)
    return Splits("paired", train, val)


def _pair(gt, lq, gt_name, lq_name):
    for name, other, folder in ((gt_name, lq_name, gt), (lq_name, gt_name, lq)):
        if not folder:
            raise UserError(f"--{other} needs --{name} beside it")
    return pair_by_name(list_images(Path(gt)), list_images(Path(lq)))
