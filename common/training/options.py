"""The options that the training of every model has; a model's own dataclass extends it."""

from dataclasses import dataclass
from typing import Literal, Optional

from jsonargparse.typing import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from common.options import option

Schedule = Literal["constant", "exponential", "staircase", "halve", "cosine"]
Loss = Literal["l1", "mse", "charbonnier"]
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
    scale: PositiveInt = option(2, "how many times larger the output is")
    batch_size: PositiveInt = option(16, "patches per optimizer step, over all devices")
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
        "auto", "auto: mixed_float16 on a GPU, else float32")
    resume: str = option("auto", "auto: go on with the run in output_dir if there is one; no: "
                                 "start over; or the path of a checkpoint")
    load: Optional[str] = option(None, "start from the weights in this .h5; every layer that fits "
                                       "is taken")
    evaluate_only: bool = option(False, "measure the weights of --load, or the run's best, and "
                                        "stop")
    # optimisation
    loss: Loss = option("l1", "pixel loss")
    learning_rate: PositiveFloat = option(1e-4, "highest learning rate")
    lr_schedule: Schedule = option("constant", "course of the learning rate")
    decay_step: PositiveInt = option(500, "exponential (smooth) and staircase: steps per factor "
                                          "of --decay_rate")
    decay_epochs: NonNegativeInt = option(0, "in place of --decay_step: epochs per factor")
    decay_rate: PositiveFloat = option(0.9, "exponential and staircase: the factor")
    halve_at: Steps = option((), "halve: after these steps, e.g. [200000]")
    restarts: NonNegativeInt = option(0, "cosine: warm restarts, at equal distances")
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
    save_every: NonNegativeInt = option(0, "steps between checkpoints; 0: with each validation")
    save_epochs: NonNegativeInt = option(0, "in place of --save_every: epochs between checkpoints")
    keep_checkpoints: PositiveInt = option(3, "how many checkpoints are kept beside the best")
    log_every: PositiveInt = option(100, "steps between log lines")


# What may change between two starts of the same run without changing what is learnt.
FREE_TO_CHANGE = frozenset({
    "data_dir", "val_dir", "cache_gb", "output_dir", "chip", "resume", "evaluate_only", "val_every",
    "val_images", "val_channel", "save_every", "save_epochs", "keep_checkpoints", "log_every",
})

# The length of a run may change too where the learning rate does not depend on it.
LENGTH = frozenset({"train_steps", "epochs"})
