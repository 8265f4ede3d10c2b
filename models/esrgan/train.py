"""Train RRDBNet and ESRGAN: `python -m models.esrgan.train --help`.

The defaults are the paper's recipe (arXiv 1809.00219); presets are in `configs/`.
"""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as a file: python models/esrgan/train.py
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from common.modelzoo.environment import enter

    enter()

from dataclasses import dataclass

from jsonargparse.typing import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from common.cli import run_command
from common.flags import option
from common.python37 import Literal
from common.training.recipe import Recipe
from common.training.stages import AdversarialOptions, plan_stages
from models.command import training_command
from models.esrgan import modelzoo


@dataclass
class EsrganOptions(AdversarialOptions):
    """The paper's ESRGAN: a million L1 steps, then 400,000 steps of a relativistic GAN."""

    STAGES = {
        "psnr": {"train_steps": 1_000_000, "learning_rate": 2e-4, "lr_schedule": "halve",
                 "halve_at": (200_000, 400_000, 600_000, 800_000)},
        "gan": {"train_steps": 400_000, "learning_rate": 1e-4, "lr_schedule": "halve",
                "halve_at": (50_000, 100_000, 200_000, 300_000)},
    }

    scale: PositiveInt = option(4)
    num_blocks: PositiveInt = option(23, "residual-in-residual dense blocks")
    num_filters: PositiveInt = option(64, "feature channels between blocks and in the "
                                          "discriminator's first layer")
    num_growth: PositiveInt = option(32, "channels that each layer of a dense block adds")
    patch_size: PositiveInt = option(32)
    beta2: NonNegativeFloat = option(0.99)
    pixel_weight: NonNegativeFloat = option(1e-2)
    adversarial_weight: NonNegativeFloat = option(5e-3)
    perceptual_loss: Literal["l1", "mse"] = option("l1")
    vgg_before_relu: bool = option(True)
    # The paper's VGG19 input is divided by 0.226 * 255 (mean of the three deviations).
    vgg_feature_scale: PositiveFloat = option(1 / 57.6)
    gan_loss: Literal["vanilla", "lsgan", "wgan_gp", "ragan"] = option("ragan")
    discriminator: Literal["vgg", "unet"] = option(
        "vgg", "vgg: the paper's, one logit per patch; unet: Real-ESRGAN's, one per pixel",
        stage="gan")
    val_every: NonNegativeInt = option(5000)


def build_step(options):
    """Build the training step of `options.stage`."""
    import models
    from common.training import gan
    from models.esrgan.discriminators import DISCRIMINATORS

    return gan.build_step(
        options,
        lambda: models.create("esrgan", options.scale, num_blocks=options.num_blocks,
                              num_filters=options.num_filters, num_growth=options.num_growth),
        lambda size: DISCRIMINATORS[options.discriminator](size, options.num_filters))


RECIPE = Recipe("esrgan", EsrganOptions, build_step, plan=plan_stages("esrgan"),
                translate=modelzoo.translate)


def main(argv):
    """Read the flags (also PaddleGAN's flags and YAML) and train."""
    return training_command(RECIPE, argv)


if __name__ == "__main__":
    run_command(main)
