"""What a run trains on and is validated with: image sets, or luma patches from HDF5 files.

Both kinds have the attributes `name`, `images` (how many images or patches an epoch goes through),
`val_images` and `fingerprint` (of the data, for a resumed run), and the methods `sampler()` and
`validation(model)`, which read the pixels.
"""

from pathlib import Path
from typing import Union

from common.cli import UserError
from common.data.contents import set_hash
from common.data.luma_patches import LumaPatches, find_luma_files, read_luma_images
from common.data.pairs import fingerprint
from common.data.patches import JointSampler, PatchSampler
from common.data.prepare import Preparation
from common.data.sets import LUMA_PATCHES, open_dataset, open_folders
from common.data.split import Choices, log_once
from common.data.store import ImageStore
from common.images.files import at_most
from common.metrics import SMALLEST
from common.scales import scale_tuple


def find_material(options, cache: Path) -> "Union[ImageMaterial, LumaMaterial]":
    """Find the files of a run's data set.

    Args:
        options: `TrainOptions`.
        cache: folder for generated and decoded images; not created yet.

    Raises:
        UserError: as `open_dataset`; or there are no validation images, some are too small to
            measure, or luma patches for a model that does not work on luma.
    """
    if options.dataset == LUMA_PATCHES:
        return LumaMaterial(options)
    return ImageMaterial(options, cache)


class ImageMaterial:
    """Pairs of images at each scale of a run."""

    def __init__(self, options, cache: Path):
        self._options, self._cache = options, cache
        headers = {}  # the scales share HR images
        with at_most(options.max_megapixels):
            self._splits = {scale: _open(options, scale, headers)
                            for scale in scale_tuple(options.scale)}
        first = next(iter(self._splits.values()))
        if not first.val:
            raise UserError(f"{options.data_dir} has no validation images; name some with "
                            "--val_dir")
        if options.degradation != "none" and first.val[0].lr is None:
            log_once(f"validating on LR images degraded once, from --seed {options.seed} and "
                     "their names")
        self.name, self.images, self.val_images = first.name, len(first.train), len(first.val)
        trained = [path for split in self._splits.values() for pair in split.train
                   for path in (pair.hr, pair.lr) if path]
        self.fingerprint = f"{fingerprint(first.train)} {set_hash(trained)}"
        self._check_sizes()

    def _check_sizes(self):
        """Refuse validation images that are too small for the metrics, before the first step."""
        options, small = self._options, []
        for scale, split in self._splits.items():
            border = scale if options.val_crop_border is None else options.val_crop_border
            for pair in split.val[:options.val_images or None]:
                height, width = (side * scale for side in pair.lr_size)
                if min(height, width) < SMALLEST + 2 * border:
                    small.append(f"{pair.hr} ({width}x{height} at x{scale}, border {border})")
        if small:
            raise UserError(f"too small to validate with, as SSIM needs {SMALLEST}x{SMALLEST} "
                            f"pixels within the border: {', '.join(small)}; take them away, or "
                            "choose --val_crop_border")

    def sampler(self):
        """A `PatchSampler`, or a `JointSampler` for several scales."""
        options = self._options
        # Degraded LR patches are made as they are drawn: new ones in each epoch.
        stores = {scale: self._store(split.train, scale, options.degradation == "none")
                  for scale, split in self._splits.items()}
        samplers = {scale: PatchSampler(store, scale, options.patch_size, options.batch_size,
                                        options.seed, options.augment)
                    for scale, store in stores.items()}
        return samplers.get(options.scale) or JointSampler(samplers, options.seed)

    def validation(self, model):
        """A `Validation` of a model."""
        from common.training.validation import Validation

        options = self._options
        stores = {scale: self._store(split.val[:options.val_images or None], scale)
                  for scale, split in self._splits.items()}
        return Validation(model, stores, options.val_channel, options.val_crop_border)

    def _store(self, pairs, scale, with_lr=True):
        with at_most(self._options.max_megapixels):
            return ImageStore(pairs, scale, self._cache, int(self._options.cache_gb * 1e9), with_lr)


class LumaMaterial:
    """Luma patches, and luma images for validation."""

    name = LUMA_PATCHES

    def __init__(self, options):
        _check_luma(options)
        path, images = find_luma_files(options.data_dir, options.scale)
        if images is None:
            raise UserError(f"no validation images in {options.data_dir}: expected a file such as "
                            f"Set5_x{options.scale}.h5")
        self._options = options
        self._patches = LumaPatches(path, options.batch_size, options.seed, options.scale)
        self._val = read_luma_images(images)[:options.val_images or None]
        self.images, self.val_images = len(self._patches), len(self._val)
        self.fingerprint = f"{path.name} {self.images} {set_hash([path])}"
        border = options.scale if options.val_crop_border is None else options.val_crop_border
        small = [f"{name} ({hr.shape[1]}x{hr.shape[0]})" for name, _, hr in self._val
                 if min(hr.shape) < SMALLEST + 2 * border]
        if small:
            raise UserError(f"{images}: too small to validate with, as SSIM needs {SMALLEST}x"
                            f"{SMALLEST} pixels within a border of {border}: {', '.join(small)}; "
                            "choose --val_crop_border")

    def sampler(self):
        """The `LumaPatches`."""
        return self._patches

    def validation(self, model):
        """A `LumaValidation` of a model."""
        from common.training.validation import LumaValidation

        return LumaValidation(model, self._val, self._options.scale, self._options.val_crop_border)


def _open(options, scale, headers):
    folders = (options.gt_folder, options.lq_folder, options.val_gt_folder, options.val_lq_folder)
    chosen = {"choices": _choices(options), "headers": headers}
    if not any(folders):
        return open_dataset(options.dataset, options.data_dir, scale, options.val_dir, **chosen)
    if options.data_dir or options.val_dir or options.dataset not in ("auto", "paired"):
        raise UserError("--gt_folder and --lq_folder name all images: leave out --data_dir, "
                        "--val_dir and any --dataset but paired")
    return open_folders(*folders, scale, **chosen)


def _choices(options):
    preparation = Preparation(resize=options.resize, blur=options.blur, noise=options.noise,
                              reduction=options.reduction, jpeg=options.jpeg,
                              degradation=options.degradation,
                              seed=0 if options.degradation == "none" else options.seed)
    return Choices(options.number_of_images, options.train_test_ratio, options.seed, preparation,
                   options.skip_bad)


def _check_luma(options):
    if _choices(options) != Choices(seed=options.seed, skip_bad=options.skip_bad):
        raise UserError("the data set hdf5 holds patches that are already cut: leave out "
                        "--number_of_images, --train_test_ratio, --resize, --blur, --reduction, "
                        "--noise, --jpeg and --degradation")
    if not options.LUMA:
        raise UserError("the data set hdf5 holds luma patches, but this model works on RGB; "
                        "choose a data set of images")
    if options.data_dir is None:
        raise UserError("the data set hdf5 needs --data_dir, the folder of the .h5 files")
    if len(scale_tuple(options.scale)) > 1:
        raise UserError("the data set hdf5 has one scale for training; choose it with --scale")
