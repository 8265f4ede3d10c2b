"""The options that the training of every model has; a model's own dataclass extends them.

`free=True` marks an option that may change between two starts of one run without changing what is
learnt.
"""

from dataclasses import dataclass, fields, make_dataclass
from typing import Any, Optional, Sequence, Tuple

from jsonargparse.typing import (
    NonNegativeFloat,
    NonNegativeInt,
    OpenUnitInterval,
    PositiveFloat,
    PositiveInt,
    restricted_number_type,
)

from common.cli import UserError
from common.device.chip_options import OPTIONS
from common.flags import option
from common.images.files import MAX_MEGAPIXELS
from common.python37 import Literal
from common.scales import scale_tuple

Schedule = Literal["constant", "exponential", "staircase", "halve", "cosine"]
Loss = Literal["l1", "mse", "charbonnier"]
Reduction = Literal["bicubic", "bilinear", "nearest", "area"]
Channel = Literal["rgb", "y", "gray"]
Clip = Literal["none", "global_norm", "norm", "value", "adjustable"]
Decay = restricted_number_type("Decay", float, [(">=", 0), ("<", 1)])
Steps = Sequence[PositiveInt]  # jsonargparse for Python 3.7 refuses an empty tuple
Several = Tuple[PositiveInt, ...]


@dataclass
class DataOptions:
    """Images and patches."""

    GROUP = "data"

    dataset: str = option("auto", "name of the data set; auto: demo without --data_dir, else "
                                  "recognised by the folder's layout")
    data_dir: Optional[str] = option(None, "folder of the data set", free=True)
    val_dir: Optional[str] = option(None, "folder of validation images, for data sets that have "
                                          "none of their own", free=True)
    gt_folder: Optional[str] = option(None, "data set paired, in place of --data_dir: folder of "
                                            "HR training images", free=True)
    lq_folder: Optional[str] = option(None, "folder of their LR images", free=True)
    val_gt_folder: Optional[str] = option(None, "folder of HR validation images; default: some of "
                                                "the training images", free=True)
    val_lq_folder: Optional[str] = option(None, "folder of their LR images", free=True)
    number_of_images: NonNegativeInt = option(0, "use only the first N images by name, not "
                                                 "counting a set's own validation images; 0: all")
    train_test_ratio: Optional[OpenUnitInterval] = option(
        None, "share of the images to train on; the others, drawn from --seed, validate in place "
              "of the set's own. Default: the set's own, else all but the last tenth (1 to 10 "
              "images), for coco 0.8")
    skip_bad: bool = option(False, "train without the images that cannot be read, each named in a "
                                   "line, instead of refusing the set; all are decoded first")
    max_megapixels: NonNegativeFloat = option(
        float(MAX_MEGAPIXELS), "refuse images of more million pixels; 0: none", free=True)
    resize: NonNegativeInt = option(0, "resize each image once to a square of this side, pixels; "
                                       "0: as they are, for coco 384. Not for sets with LR images "
                                       "of their own")
    blur: NonNegativeFloat = option(0.0, "sigma of the Gaussian blur of generated LR images before "
                                         "reduction, HR pixels")
    reduction: Reduction = option("bicubic", "how generated LR images are reduced: bicubic as "
                                             "MATLAB's, or Pillow's bilinear, nearest or area")
    noise: NonNegativeFloat = option(0.0, "noise sigma (0 to 255) added to generated LR images "
                                          "after reduction")
    jpeg: NonNegativeInt = option(0, "JPEG quality (1 to 100) that generated LR images are "
                                     "compressed with last; 0: none")
    degradation: Literal["none", "photo"] = option(
        "none", "photo: generated LR images look like bad photographs, in place of the four above: "
                "blur, resizing, noise and JPEG of random strength, after Real-ESRGAN; new ones "
                "for each patch, the same for each validation image")
    scale: PositiveInt = option(2, "how many times larger the output is")
    batch_size: PositiveInt = option(16, "patches per optimizer step, shared equally by all "
                                         "devices of all processes")
    patch_size: PositiveInt = option(48, "side of a low-resolution patch, pixels")
    augment: bool = option(True, "flip and rotate the patches at random")
    cache_gb: PositiveFloat = option(8.0, "keep decoded images in memory up to this size, larger "
                                          "sets in a memory-mapped file, GB", free=True)


@dataclass
class RunOptions:
    """Where and how a run runs."""

    GROUP = "run"

    output_dir: Optional[str] = option(None, "folder of everything the run writes; default "
                                             "output/<model>_x<scale>", free=True)
    train_steps: Optional[PositiveInt] = option(None, "optimizer steps in all")
    epochs: Optional[PositiveInt] = option(None, "in place of --train_steps: passes over the "
                                                 "training images")
    patches_per_image: PositiveInt = option(1, "patches that an epoch takes from each image")
    seed: NonNegativeInt = option(0, "seed of the initial weights and the patches")
    chip: Literal["auto", "npu", "gpu", "cpu"] = option("auto", "device", free=True)
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"] = option(
        "auto", "auto: mixed_float16 on a GPU, float32 on a CPU; on an NPU it stands for a "
                "precision_mode, auto for allow_mix_precision")
    resume: str = option("auto", "auto: continue the run in output_dir if there is one; no: start "
                                 "over; or the path of a checkpoint", free=True)
    load: Optional[str] = option(None, "start from the weights in this .h5; every layer that fits "
                                       "is loaded")
    max_minutes: Optional[PositiveFloat] = option(
        None, "stop after so many minutes as after a SIGTERM: with a checkpoint and status 143; "
              "the same command goes on", free=True)
    npu_loop_size: PositiveInt = option(
        1, "steps that the device takes in one call, on an NPU without the host (iteration "
           "offload), with the same weights; log lines, validation, checkpoints and the end after "
           "a signal then come at multiples of it", free=True)
    on_nan: Literal["stop", "skip", "rollback"] = option(
        "stop", "where a loss or weight is not finite: stop; skip: leave out that step, which is "
                "looked for after each; rollback: go on with the weights of the newest checkpoint",
        free=True)
    evaluate_only: bool = option(False, "measure the weights of --load, or the run's best, and "
                                        "stop", free=True)


@dataclass
class OptimisationOptions:
    """Loss, learning rate and clipping."""

    GROUP = "optimisation"

    loss: Loss = option("l1", "pixel loss")
    learning_rate: PositiveFloat = option(1e-4, "highest learning rate")
    scale_learning_rate: NonNegativeInt = option(
        0, "the batch size that --learning_rate is meant for: each rate is multiplied by "
           "batch_size over this (linear scaling rule); 0: rates stay as they are")
    lr_schedule: Schedule = option("constant", "how the learning rate changes")
    decay_step: PositiveInt = option(500, "exponential (smooth) and staircase: steps per factor "
                                          "of --decay_rate")
    decay_epochs: NonNegativeInt = option(0, "in place of --decay_step: epochs per factor")
    decay_rate: PositiveFloat = option(0.9, "exponential and staircase: the factor")
    halve_at: Steps = option((), "halve: after these steps, e.g. [200000]")
    restarts: NonNegativeInt = option(0, "cosine: number of warm restarts, equally spaced")
    periods: Steps = option((), "cosine, in place of --restarts: steps of each period; their sum "
                                "is the steps of the run, e.g. [250000,250000]")
    restart_weights: Sequence[PositiveFloat] = option((), "cosine: factor of the highest rate in "
                                                            "each of the --periods")
    min_learning_rate: NonNegativeFloat = option(0.0, "lowest learning rate")
    warmup_steps: NonNegativeInt = option(0, "steps of linear warm-up")
    clip: Clip = option("none", "gradient clipping: by the norm of all gradients together, of "
                                "each, by the value of each element, or adjustable: by value, to "
                                "the threshold divided by the learning rate")
    clip_threshold: PositiveFloat = option(1.0, "bound of the clipping")
    ema_decay: Decay = option(0.0, "decay of a moving average of the weights, which is then "
                                   "validated and exported; 0: none, else e.g. 0.999")


@dataclass
class ValidationOptions:
    """Validation, checkpoints and log lines."""

    GROUP = "validation"

    val_every: NonNegativeInt = option(0, "steps between validations; 0: every epoch", free=True)
    val_images: NonNegativeInt = option(0, "validate on the first N images; 0: on all", free=True)
    val_channel: Channel = option("rgb", "channel that PSNR and SSIM are measured on", free=True)
    val_crop_border: Optional[NonNegativeInt] = option(
        None, "pixels left out on each side of a validation image; default: the scale", free=True)
    sample_every: NonNegativeInt = option(0, "steps between sample pictures; 0: with each "
                                             "validation", free=True)
    save_every: NonNegativeInt = option(0, "steps between checkpoints; 0: with each validation",
                                        free=True)
    save_epochs: NonNegativeInt = option(0, "in place of --save_every: epochs between checkpoints",
                                         free=True)
    keep_checkpoints: PositiveInt = option(3, "how many checkpoints are kept beside the best",
                                           free=True)
    log_every: PositiveInt = option(100, "steps between log lines", free=True)


def _type(values: Any) -> Any:
    """The type of an NPU option whose values `OPTIONS` describes."""
    if values == (True, False):
        return bool
    return Optional[Literal[values] if isinstance(values, tuple) else str]


NpuOptions = make_dataclass("NpuOptions", [
    (name, _type(each.values), option(each.default, each.help, free=each.free))
    for name, each in OPTIONS.items()], namespace={"GROUP": "Ascend NPU"})


# Dataclasses take the fields of their last base first.
@dataclass
class TrainOptions(NpuOptions, ValidationOptions, OptimisationOptions, RunOptions, DataOptions):
    """Data, run, optimisation, validation and NPU; a model's class adds its own."""

    LUMA = False  # whether the model refines luma and so can train on luma patches


# The length of a run may change too where the learning rate does not depend on it.
LENGTH = frozenset({"train_steps", "epochs"})


def steps_per_call(options: TrainOptions) -> int:
    """How many steps one call of the compiled step takes at most.

    Raises:
        UserError: several, in a run that has to look at each step.
    """
    size = options.npu_loop_size
    if size > 1 and options.on_nan == "skip":
        raise UserError(f"--on_nan skip looks at each step, which --npu_loop_size {size} does not "
                        "allow; leave one of them out")
    if size > 1 and len(scale_tuple(options.scale)) > 1:
        raise UserError(f"--npu_loop_size {size} needs one --scale: a run of several draws another "
                        "for each step; leave it out")
    return size


def chip_options(options: TrainOptions) -> dict:
    """The `chip_options.OPTIONS` among the options that are set, as `open_device` takes them."""
    values = {field.name: getattr(options, field.name) for field in fields(NpuOptions)}
    return {name: value for name, value in values.items() if value not in (None, False)}
