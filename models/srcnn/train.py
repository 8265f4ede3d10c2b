"""Train SRCNN: `python -m models.srcnn.train --help`.

The defaults are the paper's recipe (arXiv 1501.00092); presets are in `configs/`.
"""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as a file: python models/srcnn/train.py
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from common.modelzoo.environment import enter

    enter()

from dataclasses import dataclass
from typing import Optional

from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt

from common.cli import run_command
from common.flags import option
from common.python37 import Literal
from common.training.options import Channel, Loss, Several, TrainOptions
from common.training.recipe import Recipe
from models.command import training_command


@dataclass
class SrcnnOptions(TrainOptions):
    """The paper's SRCNN: SGD on 33-pixel patches, with a tenth of the rate for the last layer."""

    LUMA = True

    scale: PositiveInt = option(3)
    kernels: Several = option((9, 5, 5), "sizes of the three kernels: [9,1,5], [9,3,5] or [9,5,5]")
    num_filters: Several = option((64, 32), "feature channels after the first and second layer")
    batch_size: PositiveInt = option(128)
    patch_size: PositiveInt = option(11, "side of a low-resolution patch, pixels (the paper's 33 "
                                         "pixels are after enlargement)")
    train_steps: Optional[PositiveInt] = option(8_000_000, "optimizer steps in all (the paper "
                                                           "counts 8e8 back-propagations)")
    loss: Loss = option("mse", "loss on luma in [0, 1]")
    optimizer: Literal["sgd", "adam"] = option("sgd", "sgd with momentum 0.9, or adam")
    learning_rate: PositiveFloat = option(1e-4)
    last_layer_factor: PositiveFloat = option(0.1, "factor of the learning rate in the last layer")
    val_every: NonNegativeInt = option(10_000)
    val_channel: Channel = option("y")


def build_step(options):
    """The luma network with SGD or Adam and a lower learning rate for its last layer."""
    import models
    from common.nn.luma import CORE
    from common.training.ema import averaged
    from common.training.luma import luma_heads, luma_loss
    from common.training.steps import PixelStep, adam, sgd

    model = models.create("srcnn", options.scale, kernels=options.kernels,
                          num_filters=options.num_filters)
    return PixelStep(model, sgd() if options.optimizer == "sgd" else adam(),
                     luma_loss(options.loss), options.clip, options.clip_threshold,
                     luma_heads(model, options),
                     slow_layers=[model.get_layer(CORE).get_layer("conv3")],
                     slow_factor=options.last_layer_factor,
                     ema=averaged(model, models.another, options.ema_decay))


RECIPE = Recipe("srcnn", SrcnnOptions, build_step)


def main(argv):
    """Read the flags and train."""
    return training_command(RECIPE, argv)


if __name__ == "__main__":
    run_command(main)
