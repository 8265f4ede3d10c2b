"""The options that the training of every model has; a model's own dataclass extends it."""

from dataclasses import dataclass
from typing import Literal, Optional

from jsonargparse.typing import (
    NonNegativeFloat,
    NonNegativeInt,
    OpenUnitInterval,
    PositiveFloat,
    PositiveInt,
)

from common.device import npu
from common.flags import option

Schedule = Literal["constant", "exponential", "staircase", "halve", "cosine"]
Loss = Literal["l1", "mse", "charbonnier"]
Reduction = Literal["bicubic", "bilinear", "nearest", "area"]
Channel = Literal["rgb", "y", "gray"]
Clip = Literal["none", "global_norm", "norm", "value", "adjustable"]
Steps = tuple[PositiveInt, ...]


@dataclass
class TrainOptions:
    """Data, run, optimisation and validation."""

    LUMA = False  # whether the model refines luma and so can train on luma patches

    # data
    dataset: str = option("auto", "name of the data set; auto: demo without --data_dir, else told "
                                  "from the folder's layout")
    data_dir: Optional[str] = option(None, "folder of the data set")
    val_dir: Optional[str] = option(None, "folder of validation images, for data sets that have "
                                          "none of their own")
    gt_folder: Optional[str] = option(None, "data set paired, in place of --data_dir: folder of "
                                            "HR training images")
    lq_folder: Optional[str] = option(None, "folder of their LR images")
    val_gt_folder: Optional[str] = option(None, "folder of HR images to validate with; default: "
                                                "some of the training images")
    val_lq_folder: Optional[str] = option(None, "folder of their LR images")
    number_of_images: NonNegativeInt = option(0, "use only the first so many images by name, not "
                                                 "counting a set's own validation images; 0: all")
    train_test_ratio: Optional[OpenUnitInterval] = option(
        None, "share of the images that is trained on; the others, drawn from --seed, validate in "
              "place of the set's own. Default: the set's own, else all but the last tenth (1 to "
              "10 images), of coco 0.8")
    resize: NonNegativeInt = option(0, "side of the square that the set's images are resized to "
                                       "once, pixels; 0: as they are, of coco 384. Not for sets "
                                       "with LR images of their own")
    blur: NonNegativeFloat = option(0.0, "LR images that are made here, first: sigma of a Gaussian "
                                         "blur, HR pixels")
    reduction: Reduction = option("bicubic", "LR images that are made here, second: bicubic as of "
                                             "MATLAB, or Pillow's bilinear, nearest or area")
    noise: NonNegativeFloat = option(0.0, "LR images that are made here, third: sigma of Gaussian "
                                          "noise, grey levels of 255")
    jpeg: NonNegativeInt = option(0, "LR images that are made here, last: quality of a JPEG "
                                     "compression, 1 to 100; 0: none")
    scale: PositiveInt = option(2, "how many times larger the output is")
    batch_size: PositiveInt = option(16, "patches per optimizer step, over all devices of all "
                                         "processes, which share them equally")
    patch_size: PositiveInt = option(48, "side of a low-resolution patch, pixels")
    augment: bool = option(True, "flip and turn the patches at random")
    cache_gb: PositiveFloat = option(8.0, "decoded images up to this size are kept in memory, "
                                          "larger sets in a memory-mapped file, GB")
    # run
    output_dir: Optional[str] = option(None, "folder of everything the run writes; default "
                                             "output/<model>_x<scale>")
    train_steps: Optional[PositiveInt] = option(None, "optimizer steps in all")
    epochs: Optional[PositiveInt] = option(None, "in place of --train_steps: passes over the "
                                                 "training images")
    patches_per_image: PositiveInt = option(1, "patches that an epoch takes from each image")
    seed: NonNegativeInt = option(0, "of initial weights and patches")
    chip: Literal["auto", "npu", "gpu", "cpu"] = option("auto", "device")
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"] = option(
        "auto", "auto: mixed_float16 on a GPU, float32 on a CPU; on an NPU it stands for a "
                "precision_mode, auto for allow_mix_precision")
    precision_mode: Optional[Literal[npu.PRECISION_MODES]] = option(
        None, "NPU, in place of --precision: how the adapter casts")
    precision_mode_v2: Optional[Literal[npu.PRECISION_MODES_V2]] = option(
        None, "NPU, in place of --precision_mode: the same in newer words")
    modify_mixlist: Optional[str] = option(None, "NPU: JSON file of operators that mixed precision "
                                                 "is to cast or not to cast")
    op_precision_mode: Optional[str] = option(None, "NPU: file of operators and their "
                                                    "implementation, fast or precise")
    fusion_switch_file: Optional[str] = option(None, "NPU: file of fusion rules switched on or off")
    npu_dump_path: Optional[str] = option(None, "NPU: dump what the operators give out into this "
                                                "folder; much of it, so for few steps")
    npu_profiling_path: Optional[str] = option(None, "NPU: write a profile into this folder")
    aoe_mode: Optional[Literal[npu.AOE_MODES]] = option(
        None, "NPU: tune 1 subgraphs, 2 operators, 4 gradient splitting, which takes hours")
    deterministic: bool = option(False, "NPU: operators that give the same result each time, more "
                                        "slowly")
    op_compiler_cache_mode: Optional[Literal[npu.CACHE_MODES]] = option(
        None, "NPU: keep compiled operators; force: compile all of them anew; default: enable")
    op_compiler_cache_dir: Optional[str] = option(None, "NPU: folder of compiled operators")
    resume: str = option("auto", "auto: go on with the run in output_dir if there is one; no: "
                                 "start over; or the path of a checkpoint")
    load: Optional[str] = option(None, "start from the weights in this .h5; every layer that fits "
                                       "is taken")
    evaluate_only: bool = option(False, "measure the weights of --load, or the run's best, and "
                                        "stop")
    # optimisation
    loss: Loss = option("l1", "pixel loss")
    learning_rate: PositiveFloat = option(1e-4, "highest learning rate")
    scale_learning_rate: NonNegativeInt = option(
        0, "the batch size that --learning_rate is meant for: each rate is multiplied by "
           "batch_size over this (linear scaling rule); 0: rates are as they are")
    lr_schedule: Schedule = option("constant", "course of the learning rate")
    decay_step: PositiveInt = option(500, "exponential (smooth) and staircase: steps per factor "
                                          "of --decay_rate")
    decay_epochs: NonNegativeInt = option(0, "in place of --decay_step: epochs per factor")
    decay_rate: PositiveFloat = option(0.9, "exponential and staircase: the factor")
    halve_at: Steps = option((), "halve: after these steps, e.g. [200000]")
    restarts: NonNegativeInt = option(0, "cosine: warm restarts, at equal distances")
    periods: Steps = option((), "cosine, in place of --restarts: steps of each period, which add "
                                "up to the steps of the run, e.g. [250000,250000]")
    restart_weights: tuple[PositiveFloat, ...] = option((), "cosine: factor of the highest rate in "
                                                            "each of the --periods")
    min_learning_rate: NonNegativeFloat = option(0.0, "lowest learning rate")
    warmup_steps: NonNegativeInt = option(0, "steps of linear warm-up")
    clip: Clip = option("none", "gradient clipping: by the norm of all together, of each, by the "
                                "value of each element, or adjustable: by value, to the threshold "
                                "over the learning rate")
    clip_threshold: PositiveFloat = option(1.0, "bound of the clipping")
    # validation and reports
    val_every: NonNegativeInt = option(0, "steps between validations; 0: every epoch")
    val_images: NonNegativeInt = option(0, "validate on the first so many images; 0: on all")
    val_channel: Channel = option("rgb", "channel of the validation's PSNR and SSIM")
    val_crop_border: Optional[NonNegativeInt] = option(None, "pixels left out on each side of a "
                                                             "validation image; default: the scale")
    sample_every: NonNegativeInt = option(0, "steps between sample pictures; 0: with each "
                                             "validation")
    save_every: NonNegativeInt = option(0, "steps between checkpoints; 0: with each validation")
    save_epochs: NonNegativeInt = option(0, "in place of --save_every: epochs between checkpoints")
    keep_checkpoints: PositiveInt = option(3, "how many checkpoints are kept beside the best")
    log_every: PositiveInt = option(100, "steps between log lines")


# What may change between two starts of the same run without changing what is learnt.
FREE_TO_CHANGE = frozenset({
    "data_dir", "val_dir", "gt_folder", "lq_folder", "val_gt_folder", "val_lq_folder", "cache_gb",
    "output_dir", "model_save_dir", "chip", "resume", "evaluate_only", "val_every", "val_images",
    "val_channel", "val_crop_border", "sample_every", "save_every", "save_epochs",
    "keep_checkpoints", "log_every", "fusion_switch_file", "npu_dump_path", "npu_profiling_path",
    "aoe_mode", "deterministic", "op_compiler_cache_mode", "op_compiler_cache_dir", "vgg_weights",
})

# The length of a run may change too where the learning rate does not depend on it.
LENGTH = frozenset({"train_steps", "epochs"})


def npu_options(options):
    """The `npu.OPTIONS` among the options that are set, as `open_device` takes them."""
    values = {name: getattr(options, name) for name in npu.OPTIONS}
    return {name: value for name, value in values.items() if value not in (None, False)}
