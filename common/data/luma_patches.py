"""HDF5 files of luma patches, as published with programs that train networks on luma.

A file such as `91-image_x2.h5` has two arrays `lr` and `hr` (patches, height, width) for training;
one such as `Set5_x2.h5` has whole images for validation in two groups, `lr/0`, `lr/1`, ... and
`hr/0`, ... . The values are the studio-range luma of BT.601, in [0, 1] or, in the first published
files, in [0, 255]; the values show which. `lr` is already enlarged to the size of `hr`.
"""


import numpy as np

from common.cli import UserError
from common.data.patches import Order, share_of
from common.files import existing_folder
from common.hdf5 import read_hdf5


class LumaPatches:
    """Batches of a file's patches; `batch(step)` is a pure function of seed and step.

    The patches are read into memory; each epoch takes them in a new random order.

    Args:
        path: the file.
        batch_size: patches per batch.
        seed: integer.
        scale: of the enlargement that was done.

    Raises:
        UserError: the file does not exist, is not HDF5 or has no square patches `lr` and `hr` of
            one shape.
    """

    dtype, channels, threads = "float32", 1, None

    def __init__(self, path, batch_size: int, seed: int, scale: int):
        self._lr, self._hr = read_hdf5(path, _patches, path)
        factor = np.float32(255 / _white([self._hr], path))
        for patches in (self._lr, self._hr):
            patches *= factor
        self.patch_size = self.hr_side = self._lr.shape[1]
        self.batch_size, self.scale, self.scales = batch_size, scale, {scale: self}
        self._order = Order(seed, len(self))

    def __len__(self):
        return len(self._lr)

    def scale_of(self, step: int) -> int:
        """The scale of a step's patches."""
        return self.scale

    def batch(self, step: int, part: int = 0, parts: int = 1) -> tuple:
        """The patches of a step, as `PatchSampler.batch`.

        Returns:
            (lr, hr): float32 (N, p, p, 1) in [0, 255], both of one size.
        """
        chosen = [self._order.at(int(step) * self.batch_size + n)
                  for n in share_of(self.batch_size, part, parts)]
        return self._lr[chosen][..., None], self._hr[chosen][..., None]


def read_luma_images(path) -> list:
    """The whole images in a file, for validation.

    Returns:
        list of (name, lr, hr): float64 (H, W) in [0, 1], both of one size.

    Raises:
        UserError: the file does not exist, is not HDF5 or has no groups `lr` and `hr` of the same
            images.
    """
    lr, hr = read_hdf5(path, _image_groups, path)
    if not lr or lr.keys() != hr.keys():
        raise UserError(f"{path}: lr and hr must hold the same images, at least one")
    for name in lr:
        if lr[name].shape != hr[name].shape or lr[name].ndim != 2:
            raise UserError(f"{path}: lr/{name} {lr[name].shape} and hr/{name} "
                            f"{hr[name].shape} must be of one shape (height, width); lr is "
                            "already enlarged")
    white = _white(hr.values(), path)
    names = sorted(lr, key=lambda name: (len(name), name))
    return [(name, lr[name] / white, hr[name] / white) for name in names]


def find_luma_files(data_dir, scale: int) -> tuple:
    """The files of a folder for one scale: (training patches, validation images or None).

    Raises:
        UserError: the folder does not exist, or has no training patches.
    """
    folder = existing_folder(data_dir)
    found = {"patches": None, "images": None}
    for path in sorted(folder.glob(f"*_x{scale}.h5")):
        kind = read_hdf5(path, _kind)
        found[kind] = found[kind] or path
    if not found["patches"]:
        raise UserError(f"no luma patches for x{scale} in {folder}: expected a file such as "
                        f"91-image_x{scale}.h5")
    return found["patches"], found["images"]


def _kind(file):
    return "images" if hasattr(file.get("lr"), "keys") else "patches"


def _patches(file, path):
    lr, hr = (_member(file, key, path, "shape") for key in ("lr", "hr"))
    if lr.shape != hr.shape or lr.ndim != 3 or lr.shape[1] != lr.shape[2] or not lr.size:
        raise UserError(f"{path}: lr {lr.shape} and hr {hr.shape} must be square patches "
                        "of one shape (patches, side, side); lr is already enlarged")
    return [_numbers(array, path, np.float32) for array in (lr, hr)]


def _image_groups(file, path):
    return [_images(_member(file, key, path, "keys"), path) for key in ("lr", "hr")]


def _numbers(array, path, dtype):
    if array.dtype.kind not in "fiu":
        raise UserError(f"{path}: {array.name} holds values of type {array.dtype}, not luma")
    return np.asarray(array[()], dtype)


def _member(file, key, path, attribute):
    """What a file holds as `key`: with attribute "shape" an array, with "keys" a group."""
    if hasattr(file.get(key), attribute):
        return file[key]
    wanted, other = "array 'X' of patches", "a group: these are validation images"
    if attribute == "keys":
        wanted, other = "group 'X' of images", "an array: these are training patches"
    raise UserError(f"{path}: the {wanted.replace('X', key)} is "
                    f"{other if key in file else 'missing'}; the file holds "
                    f"{', '.join(file) or 'nothing'}")


def _images(group, path):
    return {name: _numbers(group[name], path, np.float64) for name in group
            if hasattr(group[name], "shape")}


def _white(arrays, path):
    """The value of white in a file, 1 or 255."""
    highest = max(float(array.max()) for array in arrays)
    lowest = min(float(array.min()) for array in arrays)
    if not (lowest >= -0.5 and highest <= 255.5):
        raise UserError(f"{path}: values from {lowest:.3g} to {highest:.3g} are not luma in [0, 1] "
                        "or [0, 255]")
    return 1.0 if highest <= 1.5 else 255.0
