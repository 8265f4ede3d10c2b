"""HDF5 files of luma patches, as published beside many SRCNN programs; for luma models only.

`91-image_x2.h5` has two arrays `lr` and `hr` (patches, height, width) to train on, `Set5_x2.h5` two
groups of whole images `lr/0`, `lr/1`, ... and `hr/0`, ... . It is the studio-range luma of BT.601,
and `lr` is already enlarged to the size of `hr`. There are files in [0, 1] and, like the ones first
published, in [0, 255]; their values tell them apart.
"""

import re
from pathlib import Path

import numpy as np

from common.cli import UserError
from common.data.patches import epoch_order, share_of


class LumaPatches:
    """Batches of a file's patches; `batch(step)` is a pure function of seed and step.

    The patches come in a new random order each epoch, so that all are seen equally often. They
    are read into memory.

    Args:
        path: the file.
        batch_size: patches per batch.
        seed: integer.
        scale: what `scale_of` answers; by default the number that the file's name ends in.

    Raises:
        UserError: no such file, not HDF5, or without square patches `lr` and `hr` of one shape.
    """

    dtype, channels = "float32", 1

    def __init__(self, path, batch_size, seed, scale=None):
        with _opened(path) as file:
            lr, hr = (_dataset(file, key, path) for key in ("lr", "hr"))
            if lr.shape != hr.shape or lr.ndim != 3 or lr.shape[1] != lr.shape[2] or not lr.size:
                raise UserError(f"{path}: lr {lr.shape} and hr {hr.shape} must be square patches "
                                "of one shape (patches, side, side); lr is already enlarged")
            self._lr, self._hr = (np.asarray(array[()], np.float32) for array in (lr, hr))
        factor = np.float32(255 / _highest([self._hr], path))
        for patches in (self._lr, self._hr):
            patches *= factor
        self.patch_size = self.hr_side = self._lr.shape[1]
        self.batch_size = batch_size
        self.scale = scale or scale_in_name(path)
        self._seed, self._orders = seed, {}

    def __len__(self):
        return len(self._lr)

    def scale_of(self, step):
        """The scale of a step's patches, None where it is not known."""
        return self.scale

    def batch(self, step, part=0, parts=1):
        """The patches of a step, as `PatchSampler.batch`.

        Returns:
            (lr, hr): float32 (N, p, p, 1) in [0, 255], both of one size.
        """
        positions = int(step) * self.batch_size + np.array(share_of(self.batch_size, part, parts))
        epochs, places = np.divmod(positions, len(self))
        chosen = np.empty(len(positions), np.int64)
        for epoch in np.unique(epochs):
            chosen[epochs == epoch] = self._order(int(epoch))[places[epochs == epoch]]
        return self._lr[chosen][..., None], self._hr[chosen][..., None]

    def _order(self, epoch):
        orders = self._orders
        if epoch not in orders:
            orders = {epoch: epoch_order(self._seed, epoch, len(self))}
            self._orders = orders  # in one step: two threads may draw at once
        return orders[epoch]


def read_luma_images(path):
    """The whole images of a file, to validate with.

    Returns:
        list of (name, lr, hr): float64 (H, W) in [0, 1], both of one size.

    Raises:
        UserError: no such file, not HDF5, or without groups `lr` and `hr` of the same images.
    """
    with _opened(path) as file:
        lr, hr = (_images(file, key, path) for key in ("lr", "hr"))
        if not lr or lr.keys() != hr.keys():
            raise UserError(f"{path}: lr and hr must hold the same images, and at least one")
        for name in lr:
            if lr[name].shape != hr[name].shape or lr[name].ndim != 2:
                raise UserError(f"{path}: lr/{name} {lr[name].shape} and hr/{name} "
                                f"{hr[name].shape} must be of one shape (height, width); lr is "
                                "already enlarged")
        highest = _highest(hr.values(), path)
        names = sorted(lr, key=lambda name: (len(name), name))
        return [(name, lr[name] / highest, hr[name] / highest) for name in names]


def find_luma_files(data_dir, scale):
    """The files (to train on, to validate with or None) for a scale in a folder.

    Raises:
        UserError: no such folder, or no file to train on.
    """
    folder = Path(data_dir)
    if not folder.is_dir():
        raise UserError(f"no such folder: {folder}; give the folder of the .h5 files")
    found = {"patches": None, "images": None}
    for path in sorted(folder.glob(f"*_x{scale}.h5")):
        with _opened(path) as file:
            kind = "images" if hasattr(file.get("lr"), "keys") else "patches"
        found[kind] = found[kind] or path
    if not found["patches"]:
        raise UserError(f"no luma patches for x{scale} in {folder}: expected a file such as "
                        f"91-image_x{scale}.h5")
    return found["patches"], found["images"]


def scale_in_name(path):
    """2 for 91-image_x2.h5, None for a name without."""
    match = re.search(r"_x(\d+)$", Path(path).stem)
    return int(match.group(1)) if match else None


def open_as_images(folder, scale):
    """The table's entry: there are no image files in it."""
    raise UserError("the data set hdf5 holds luma patches, no images: only the training of a luma "
                    "model (srcnn, vdsr) can use it")


def _opened(path):
    import h5py

    if not Path(path).is_file():
        raise UserError(f"no such file: {path}")
    try:
        return h5py.File(str(path), "r")
    except OSError as error:
        raise UserError(f"{path} is not an HDF5 file, or is cut off") from error


def _dataset(file, key, path):
    if not hasattr(file.get(key), "shape"):
        kind = "is a group: these are images to validate with" if key in file else "is missing"
        raise UserError(f"{path}: the array {key!r} of patches {kind}; it holds "
                        f"{', '.join(file) or 'nothing'}")
    return file[key]


def _images(file, key, path):
    group = file.get(key)
    if not hasattr(group, "keys"):
        kind = "is an array: these are patches to train on" if key in file else "is missing"
        raise UserError(f"{path}: the group {key!r} of images {kind}; it holds "
                        f"{', '.join(file) or 'nothing'}")
    return {name: np.asarray(group[name][()], np.float64) for name in group
            if hasattr(group[name], "shape")}


def _highest(arrays, path):
    """1 or 255: what white is in a file."""
    highest = max(float(array.max()) for array in arrays)
    lowest = min(float(array.min()) for array in arrays)
    if not (lowest >= -0.5 and highest <= 255.5):
        raise UserError(f"{path}: values from {lowest:.3g} to {highest:.3g} are no luma in [0, 1] "
                        "or [0, 255]")
    return 1.0 if highest <= 1.5 else 255.0
