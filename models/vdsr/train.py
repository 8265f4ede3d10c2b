"""Train VDSR: `python -m models.vdsr.train --help`.

The defaults are the paper's recipe (arXiv 1511.04587); presets are in `configs/`.
"""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as a file: python models/vdsr/train.py
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from common.modelzoo.environment import enter

    enter()

from dataclasses import dataclass
from typing import Optional, Union

from jsonargparse.typing import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from common.cli import run_command
from common.flags import option
from common.python37 import Literal
from common.training.options import Channel, Clip, Loss, Schedule, Several, TrainOptions
from common.training.recipe import Recipe
from models.command import training_command


@dataclass
class VdsrOptions(TrainOptions):
    """The paper's VDSR: one network for x2, x3 and x4; 80 epochs of SGD with a high rate."""

    LUMA = True

    scale: Union[PositiveInt, Several] = option((2, 3, 4), "how many times larger: one of 2, 3, 4, "
                                                         "or several as [2,3,4]")
    num_layers: PositiveInt = option(20, "convolutions")
    num_filters: PositiveInt = option(64, "feature channels")
    batch_size: PositiveInt = option(64)
    patch_size: PositiveInt = option(20, "side of a low-resolution patch, pixels (the paper's 41 "
                                         "pixels are after enlargement)")
    patches_per_image: PositiveInt = option(640)
    epochs: Optional[PositiveInt] = option(80)
    loss: Loss = option("mse", "loss on luma in [0, 1]")
    optimizer: Literal["sgd", "adam"] = option("sgd", "sgd with momentum 0.9, or adam")
    weight_decay: NonNegativeFloat = option(1e-4, "weight decay of the kernels, added to their "
                                                  "gradients")
    learning_rate: PositiveFloat = option(0.1)
    lr_schedule: Schedule = option("staircase")
    decay_epochs: NonNegativeInt = option(20)
    decay_rate: PositiveFloat = option(0.1)
    clip: Clip = option("adjustable")
    clip_threshold: PositiveFloat = option(1e-3)
    val_channel: Channel = option("y")


def build_step(options):
    """The luma network with SGD or Adam."""
    import models
    from common.training.ema import averaged
    from common.training.luma import luma_heads, luma_loss
    from common.training.steps import PixelStep, adam, sgd

    model = models.create("vdsr", options.scale, num_layers=options.num_layers,
                          num_filters=options.num_filters)
    return PixelStep(model, sgd() if options.optimizer == "sgd" else adam(),
                     luma_loss(options.loss), options.clip, options.clip_threshold,
                     luma_heads(model, options), options.weight_decay,
                     ema=averaged(model, models.another, options.ema_decay))


RECIPE = Recipe("vdsr", VdsrOptions, build_step)


def main(argv):
    """Read the flags and train."""
    return training_command(RECIPE, argv)


if __name__ == "__main__":
    run_command(main)
