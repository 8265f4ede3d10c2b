"""Train EDSR: `python -m models.edsr.train --help`.

The defaults are the paper's recipe (arXiv 1707.02921); presets are in `configs/`.
"""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as a file: python models/edsr/train.py
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from common.modelzoo.environment import enter

    enter()

from dataclasses import dataclass
from typing import Optional

from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt

from common.cli import run_command
from common.flags import option
from common.training.lines import Lines
from common.training.options import Schedule, Steps, TrainOptions
from common.training.recipe import Recipe
from models.command import training_command
from models.edsr import modelzoo


@dataclass
class EdsrOptions(TrainOptions):
    """The paper's EDSR: 300,000 steps of L1, batch 16, LR patch 48."""

    num_blocks: PositiveInt = option(32, "residual blocks")
    num_filters: PositiveInt = option(256, "feature channels")
    res_scale: PositiveFloat = option(0.1, "factor of each residual branch")
    train_steps: Optional[PositiveInt] = option(300_000, "optimizer steps in all; the 100 "
                                                "train_steps in ModelZoo's description are "
                                                "epochs: --epochs 100 or --preset modelzoo")
    lr_schedule: Schedule = option("halve")
    halve_at: Steps = option((200_000,))
    val_every: NonNegativeInt = option(1000)


class EdsrLines(Lines):
    """The log lines of ModelZoo's EDSR."""

    finished = "Training finished."


def build_step(options):
    """EDSR with Adam(.9, .999, 1e-8) and `options.loss`."""
    import models
    from common.training.ema import averaged
    from common.training.losses import PIXEL_LOSSES
    from common.training.steps import PixelStep, adam

    model = models.create("edsr", options.scale, num_blocks=options.num_blocks,
                          num_filters=options.num_filters, res_scale=options.res_scale)
    return PixelStep(model, adam(), PIXEL_LOSSES[options.loss], options.clip,
                     options.clip_threshold,
                     ema=averaged(model, models.another, options.ema_decay))


RECIPE = Recipe("edsr", EdsrOptions, build_step, EdsrLines, translate=modelzoo.translate)


def main(argv):
    """Read the flags (also those of ModelZoo's description) and train."""
    return training_command(RECIPE, argv)


if __name__ == "__main__":
    run_command(main)
