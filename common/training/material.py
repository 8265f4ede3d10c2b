"""What a run learns from and is measured with: image sets, or the luma patches of HDF5 files."""

import hashlib
from collections import namedtuple

from common.cli import UserError
from common.data.cache import make_missing_lr
from common.data.luma_patches import LumaPatches, find_luma_files, read_luma_images
from common.data.paired_folders import open_paired_folders
from common.data.patches import JointSampler, PatchSampler, fingerprint
from common.data.sets import Choices, Preparation, open_dataset
from common.data.store import ImageStore
from common.scales import scale_tuple

LUMA_PATCHES = "hdf5"

# `images` counts what an epoch goes through; `sampler()` and `validation(model)` read the files.
Material = namedtuple("Material", "name images val_images fingerprint sampler validation")


def find_material(options, cache):
    """Find the files of the options' data set; pixels are read later.

    Args:
        options: `TrainOptions`.
        cache: folder for images that have to be made and for decoded images.

    Returns:
        a `Material`.

    Raises:
        UserError: as `open_dataset`, or nothing to validate with, or luma patches for a model that
            wants colour.
    """
    if options.dataset == LUMA_PATCHES:
        return _luma_patches(options)
    choices = _choices(options)
    splits = {scale: _open(options, scale, choices) for scale in scale_tuple(options.scale)}
    first = next(iter(splits.values()))
    if not first.val:
        raise UserError(f"{options.data_dir} has no validation images; name some with --val_dir")

    def store(pairs, scale):
        return ImageStore(make_missing_lr(pairs, scale, cache), cache,
                          budget_bytes=int(options.cache_gb * 1e9), scale=scale)

    def sampler():
        samplers = {scale: PatchSampler(store(split.train, scale), scale, options.patch_size,
                                        options.batch_size, options.seed, options.augment)
                    for scale, split in splits.items()}
        return samplers[options.scale] if options.scale in samplers else JointSampler(
            samplers, options.seed)

    def validation(model):
        from common.training.validation import Validation

        stores = {scale: store(split.val[:options.val_images or None], scale)
                  for scale, split in splits.items()}
        return Validation(model, stores, options.val_channel, options.val_crop_border)

    return Material(first.name, len(first.train), len(first.val), fingerprint(first.train),
                    sampler, validation)


def _open(options, scale, choices):
    folders = (options.gt_folder, options.lq_folder, options.val_gt_folder, options.val_lq_folder)
    if not any(folders):
        return open_dataset(options.dataset, options.data_dir, scale, options.val_dir,
                            choices=choices)
    if options.data_dir or options.val_dir or options.dataset not in ("auto", "paired"):
        raise UserError("--gt_folder and --lq_folder name all images themselves: leave out "
                        "--data_dir, --val_dir and any --dataset but paired")
    return open_paired_folders(*folders, scale, choices=choices)


def _choices(options):
    preparation = Preparation(resize=options.resize, blur=options.blur, noise=options.noise,
                              reduction=options.reduction, jpeg=options.jpeg)
    return Choices(options.number_of_images, options.train_test_ratio, options.seed, preparation)


def _luma_patches(options):
    if _choices(options) != Choices(seed=options.seed):
        raise UserError("the data set hdf5 holds patches that are cut already: leave out "
                        "--number_of_images, --train_test_ratio, --resize, --blur, --reduction, "
                        "--noise and --jpeg")
    if not options.LUMA:
        raise UserError("the data set hdf5 holds luma patches, which only srcnn and vdsr train on")
    if options.data_dir is None:
        raise UserError("the data set hdf5 needs --data_dir, the folder of the .h5 files")
    if len(scale_tuple(options.scale)) > 1:
        raise UserError("the data set hdf5 trains one scale at a time; choose it with --scale")
    patches, images = find_luma_files(options.data_dir, options.scale)
    if images is None:
        raise UserError(f"no images to validate with in {options.data_dir}: expected a file such "
                        f"as Set5_x{options.scale}.h5")
    sampler = LumaPatches(patches, options.batch_size, options.seed, options.scale)
    val = read_luma_images(images)[:options.val_images or None]

    def validation(model):
        from common.training.validation import LumaValidation

        return LumaValidation(model, val, options.scale, options.val_crop_border)

    text = f"{patches.name} {patches.stat().st_size} {len(sampler)}"
    return Material(LUMA_PATCHES, len(sampler), len(val),
                    hashlib.sha256(text.encode()).hexdigest()[:16], lambda: sampler, validation)
