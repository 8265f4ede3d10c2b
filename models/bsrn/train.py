"""Train BSRN: `python -m models.bsrn.train --help`.

The defaults are the paper's recipe (arXiv 1811.12546); presets are in `configs/`.
"""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as a file: python models/bsrn/train.py
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from common.modelzoo.environment import enter

    enter()

from dataclasses import dataclass
from typing import Optional, Union

from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt

from common.cli import run_command
from common.flags import option
from common.training.lines import Lines
from common.training.options import Clip, Schedule, Several, TrainOptions
from common.training.recipe import Recipe
from models.command import training_command


@dataclass
class BsrnOptions(TrainOptions):
    """The paper's BSRN: x2, x3 and x4 in one network, a million steps with one scale per step."""

    scale: Union[PositiveInt, Several] = option((2, 3, 4), "how many times larger: one of 2, 3, 4, "
                                                         "or several as [2,3,4]")
    num_features: PositiveInt = option(64, "feature channels, c in the paper")
    num_states: PositiveInt = option(64, "state channels, s in the paper")
    num_recursions: PositiveInt = option(16, "recursions, R in the paper")
    output_every: PositiveInt = option(1, "recursions between two outputs, r in the paper")
    batch_size: PositiveInt = option(8)
    train_steps: Optional[PositiveInt] = option(1_000_000)
    lr_schedule: Schedule = option("staircase")
    decay_step: PositiveInt = option(200_000)
    decay_rate: PositiveFloat = option(0.5)
    clip: Clip = option("norm")
    clip_threshold: PositiveFloat = option(5.0)
    val_every: NonNegativeInt = option(10_000)


class BsrnLines(Lines):
    """The log lines of ModelZoo's BSRN."""

    def step(self, done, total, losses, rate, times, scale):
        return (f"step {done}, scale x{scale}, loss {losses['loss']:.6f}  "
                f"sec/batch {times.get('seconds_per_step', 0):.3f} "
                f"fps {times.get('images_per_sec', 0):.3f}")

    def final(self, scale, psnr, ssim):
        return f"Final PSNR: x{scale} {psnr:.3f}", f"Final SSIM: x{scale} {ssim:.4f}"


def build_step(options):
    """BSRN with Adam(.9, .999, 1e-8); the loss is a weighted mean over all outputs."""
    import models
    from common.scales import scale_tuple
    from common.training.ema import averaged
    from common.training.losses import PIXEL_LOSSES
    from common.training.steps import PixelStep, adam
    from models.bsrn.network import intermediate_outputs

    model = models.create("bsrn", options.scale, num_features=options.num_features,
                          num_states=options.num_states, num_recursions=options.num_recursions,
                          output_every=options.output_every)
    pixel_loss = PIXEL_LOSSES[options.loss]

    def loss(images, hr):
        # The i-th output has weight 2^(i-1), as in the mean that the network returns.
        images = images if isinstance(images, (list, tuple)) else [images]
        weights = [2.0**i for i in range(len(images))]
        return sum(weight / sum(weights) * pixel_loss(image, hr)
                   for weight, image in zip(weights, images))

    heads = {scale: intermediate_outputs(model, scale) for scale in scale_tuple(options.scale)}
    return PixelStep(model, adam(), loss, options.clip, options.clip_threshold, heads,
                     ema=averaged(model, models.another, options.ema_decay))


RECIPE = Recipe("bsrn", BsrnOptions, build_step, lines=BsrnLines)


def main(argv):
    """Read the flags and train."""
    return training_command(RECIPE, argv)


if __name__ == "__main__":
    run_command(main)
