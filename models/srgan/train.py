"""Train SRResNet and SRGAN: `python -m models.srgan.train --help`.

The defaults are the paper's recipe (arXiv 1609.04802); presets are in `configs/`.
"""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as a file: python models/srgan/train.py
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from common.modelzoo.environment import enter

    enter()

from dataclasses import dataclass
from typing import Optional

from jsonargparse.typing import NonNegativeInt, PositiveInt

from common.cli import run_command
from common.flags import option
from common.python37 import Literal
from common.training.lines import Lines
from common.training.options import Loss
from common.training.recipe import Recipe
from common.training.stages import AdversarialOptions, plan_stages
from models.command import training_command
from models.srgan import modelzoo


@dataclass
class SrganOptions(AdversarialOptions):
    """The paper's SRResNet, a million MSE steps, then SRGAN with VGG19 features."""

    UNIT = 127.5
    STAGES = {
        "psnr": {"train_steps": 1_000_000, "learning_rate": 1e-4, "lr_schedule": "constant",
                 "halve_at": ()},
        "gan": {"train_steps": 200_000, "learning_rate": 1e-4, "lr_schedule": "staircase",
                "halve_at": ()},
    }

    scale: PositiveInt = option(4)
    variant: Literal["srresnet", "keras", "msrresnet"] = option(
        "srresnet", "srresnet: the paper's generator; keras: ModelZoo's, which repeats pixels; "
                    "msrresnet: BasicSR's, without batch normalisation")
    num_blocks: PositiveInt = option(16, "residual blocks")
    num_filters: PositiveInt = option(64, "feature channels, also in the discriminator's first "
                                          "layer")
    patch_size: PositiveInt = option(24)
    loss: Loss = option("mse")
    decay_step: PositiveInt = option(100_000)
    decay_rate: float = option(0.1)
    val_every: NonNegativeInt = option(5000)
    model_save_dir: Optional[str] = option(
        None, "folder for gen_model%d.h5 and dis_model%d.h5, numbered by epoch and written with "
              "each checkpoint", free=True)


class SrganLines(Lines):
    """The log lines of ModelZoo's SRGAN.

    `discriminator_loss` there is the mean of the losses on real and fake images; our "vanilla" step
    returns their sum.
    """

    per_epoch = True

    def __init__(self, options):
        super().__init__(options)
        self.discriminator_factor = 0.5 if options.gan_loss == "vanilla" else 1.0

    def begin_epoch(self, epoch):
        return f"{'-' * 15} Epoch {epoch} {'-' * 15}"

    def step(self, done, total, losses, rate, times, scale):
        if "discriminator" not in losses:
            return super().step(done, total, losses, rate, times, scale)
        parts = [losses[key] for key in ("loss", "pixel", "perceptual", "adversarial")
                 if key in losses]
        discriminator = self.discriminator_factor * losses["discriminator"]
        return (f"discriminator_loss : {discriminator:f}\n"
                f"gan_loss : [{', '.join(f'{part:.8g}' for part in parts)}]")


def build_step(options):
    """Build the training step of `options.stage`."""
    import models
    from common.training import gan
    from models.srgan import discriminator

    return gan.build_step(
        options,
        lambda: models.create("srgan", options.scale, variant=options.variant,
                              num_blocks=options.num_blocks, num_filters=options.num_filters),
        lambda size: discriminator.build(size, options.num_filters))


def save_models(step, options, epoch):
    """Write generator and discriminator under ModelZoo's names; return the paths."""
    if options.model_save_dir is None or not step.keep_last:
        return []
    from common.files import make_folder, write_bytes
    from common.nn.keras_compat import h5_bytes
    from common.weights import save

    folder = make_folder(options.model_save_dir)
    paths = [folder / f"{name}_model{epoch}.h5" for name in ("gen", "dis")]
    save(step.model, paths[0])
    write_bytes(paths[1], h5_bytes(step.discriminator))
    return paths


RECIPE = Recipe("srgan", SrganOptions, build_step, SrganLines, plan_stages("srgan"),
                save_models, modelzoo.translate)


def main(argv):
    """Read the flags (also those of ModelZoo's description) and train."""
    return training_command(RECIPE, argv)


if __name__ == "__main__":
    run_command(main)
