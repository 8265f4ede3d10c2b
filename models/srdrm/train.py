"""Train SRDRM and SRDRM-GAN: `python -m models.srdrm.train --help`.

The defaults are the paper's recipe (arXiv 1909.09437); presets are in `configs/`.
"""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as a file: python models/srdrm/train.py
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from common.modelzoo.environment import enter

    enter()

from dataclasses import dataclass, replace
from typing import Optional

from jsonargparse.typing import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from common.cli import run_command
from common.flags import option
from common.python37 import Literal
from common.training.options import Channel
from common.training.recipe import Recipe
from common.training.stages import AdversarialOptions, plan_stages
from models.command import training_command


@dataclass
class SrdrmOptions(AdversarialOptions):
    """The paper's SRDRM and SRDRM-GAN: 20 epochs each, two images per step."""

    UNIT = 127.5
    STAGES = {
        "psnr": {"epochs": 20, "learning_rate": 2e-4, "lr_schedule": "constant", "halve_at": ()},
        "gan": {"epochs": 20, "learning_rate": 2e-4, "lr_schedule": "constant", "halve_at": ()},
    }

    scale: PositiveInt = option(2)
    num_blocks: PositiveInt = option(8, "residual blocks in each x2 module")
    num_filters: PositiveInt = option(64, "feature channels, also in the discriminator's first "
                                          "layer")
    tail_kernel: PositiveInt = option(5, "size of the last kernel")
    batch_size: PositiveInt = option(2)
    patch_size: Optional[PositiveInt] = option(None, "side of a low-resolution patch, pixels; "
                                                     "default: 480 / scale, the height of the "
                                                     "images of USR-248")
    beta1: NonNegativeFloat = option(0.5)
    loss: Literal["srdrm", "l1", "mse", "charbonnier"] = option(
        "srdrm", "pixel loss of both stages; srdrm: 0.8 mse + 0.2 colour distance")
    pixel_weight: NonNegativeFloat = option(1e-3)
    vgg_feature_scale: PositiveFloat = option(1 / 127.5)  # the authors' VGG19 gets [-1, 1]
    val_channel: Channel = option("gray")
    val_every: NonNegativeInt = option(0)


def plan(options):
    """Plan the stages, with the default patch size."""
    if options.patch_size is None:
        options = replace(options, patch_size=480 // options.scale)
    return plan_stages("srdrm")(options)


def build_step(options):
    """Build the training step of `options.stage`."""
    import models
    from common.training import gan
    from models.srdrm import discriminator
    from models.srdrm.losses import srdrm_loss

    return gan.build_step(
        options,
        lambda: models.create("srdrm", options.scale, num_blocks=options.num_blocks,
                              num_filters=options.num_filters, tail_kernel=options.tail_kernel),
        lambda size: discriminator.build(size, options.num_filters),
        srdrm_loss if options.loss == "srdrm" else None)


RECIPE = Recipe("srdrm", SrdrmOptions, build_step, plan=plan)


def main(argv):
    """Read the flags and train."""
    return training_command(RECIPE, argv)


if __name__ == "__main__":
    run_command(main)
