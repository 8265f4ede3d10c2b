"""Options of models that train in two stages: with a pixel loss, then as a GAN."""

from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Optional, Tuple

from jsonargparse.typing import NonNegativeFloat, PositiveFloat, PositiveInt

from common.cli import UserError
from common.flags import about, option
from common.python37 import Literal
from common.scales import scale_name
from common.training.options import Clip, Decay, Loss, Schedule, Steps, TrainOptions
from common.training.run_folder import default_folder

gan_option = partial(option, stage="gan")


@dataclass
class GanOptions:
    """Losses of the GAN stage and its discriminator."""

    GROUP = "GAN stage"

    pixel_weight: NonNegativeFloat = gan_option(0.0, "weight of the pixel loss in the GAN stage")
    perceptual_weight: NonNegativeFloat = gan_option(1.0, "weight of the distance of VGG19 "
                                                          "features; 0: without VGG19")
    adversarial_weight: NonNegativeFloat = gan_option(1e-3, "weight of the adversarial loss")
    perceptual_loss: Literal["l1", "mse"] = gan_option("mse", "distance of two feature maps")
    vgg_weights: Optional[str] = gan_option(
        None, "VGG19 weights of Keras, without top; default: "
              "h5/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5, else Keras's download",
        free=True)
    vgg_layers: Tuple[str, ...] = gan_option(("conv5_4",), "which features, e.g. [conv2_2,conv5_4]")
    vgg_layer_weights: Tuple[PositiveFloat, ...] = gan_option((1.0,), "a weight for each of these")
    vgg_before_relu: bool = gan_option(False, "take the features before the activation")
    vgg_feature_scale: PositiveFloat = gan_option(1 / 12.75, "factor of all features")
    gan_loss: Literal["vanilla", "lsgan", "wgan_gp", "ragan"] = gan_option("vanilla",
                                                                           "adversarial loss")
    gradient_penalty: NonNegativeFloat = gan_option(10.0, "wgan_gp: weight of the gradient penalty")
    label_noise: NonNegativeFloat = gan_option(0.0, "labels are 1 - U(0, n) and U(0, n)")
    discriminator_learning_rate: Optional[PositiveFloat] = gan_option(
        None, "default: the generator's")
    discriminator_lr_schedule: Optional[Schedule] = gan_option(None, "default: the generator's")
    discriminator_halve_at: Optional[Steps] = gan_option(None, "default: the generator's")
    discriminator_clip: Clip = gan_option("none", "gradient clipping of the discriminator")
    discriminator_clip_threshold: PositiveFloat = gan_option(1.0, "bound of that clipping")


@dataclass
class StageOptions:
    """Which of the two stages are trained, and how the first one is."""

    GROUP = "stages"

    stage: Literal["psnr", "gan", "both"] = option(
        "both", "psnr: the pixel loss alone; gan: against a discriminator, from --load; both: one "
                "after the other, the first in output_dir/psnr")
    psnr_steps: Optional[PositiveInt] = option(None, "both: optimizer steps of the first stage; "
                                                     "default: the paper's")
    psnr_learning_rate: Optional[PositiveFloat] = option(
        None, "both: learning rate of the first stage; default: the paper's")
    beta1: Decay = option(0.9, "Adam's decay of the gradients' mean")
    beta2: Decay = option(0.999, "Adam's decay of the gradients' square")


@dataclass
class AdversarialOptions(TrainOptions, GanOptions, StageOptions):
    """The options of a stage that are None take the model's value for that stage.

    A model's class says these in `STAGES`, and in `UNIT` how many grey levels one unit of its
    images is, in which its losses are weighted.
    """

    STAGES = {"psnr": {}, "gan": {}}
    UNIT = 255.0

    train_steps: Optional[PositiveInt] = option(None, "optimizer steps of the stage, with both of "
                                                      "the GAN; default: the paper's")
    epochs: Optional[PositiveInt] = option(None, "in place of --train_steps: passes over the "
                                                 "training images")
    learning_rate: Optional[PositiveFloat] = option(None, "highest learning rate of the stage; "
                                                          "default: the paper's")
    lr_schedule: Optional[Schedule] = option(None, "how the learning rate changes; default: as "
                                                   "in the paper")
    halve_at: Optional[Steps] = option(None, "halve: after these steps; default: the paper's")
    loss: Loss = option("l1", "pixel loss of both stages")


def plan_stages(name):
    """A function from a model's options to the options of each of its runs, for its `Recipe`."""
    def plan(options):
        check(options)
        if options.evaluate_only:
            return [in_stage(options, "gan" if options.stage == "both" else options.stage)]
        folder = Path(options.output_dir or default_folder(name, options.scale))
        if options.stage == "psnr":
            return [in_stage(replace(options, output_dir=options.output_dir
                                     or str(folder / "psnr")), "psnr")]
        gan = in_stage(options, "gan")
        if options.stage == "gan":
            return [gan]
        if options.resume not in ("auto", "no"):
            raise UserError("--resume PATH resumes one stage: add --stage psnr or --stage gan")
        first = replace(options, output_dir=str(folder / "psnr"), train_steps=options.psnr_steps,
                        epochs=None, learning_rate=options.psnr_learning_rate, lr_schedule=None,
                        halve_at=None, periods=(), restart_weights=())
        best = folder / "psnr" / f"{name}_{scale_name(options.scale)}.h5"
        return [in_stage(first, "psnr"),
                replace(gan, output_dir=str(folder), load=str(best), stage="gan")]
    return plan


def in_stage(options, stage):
    """The options of one stage, with the paper's values where none are given.

    Options that the first stage does not use get their defaults, so that it stays the same run
    when they change.
    """
    values = {key: value for key, value in options.STAGES[stage].items()
              if getattr(options, key) is None}
    if stage == "psnr":
        values.update({field.name: field.default for field in fields(options)
                       if about(type(options), field.name, "stage") == "gan"})
    if options.epochs is not None or options.train_steps is not None:
        values = {key: value for key, value in values.items()
                  if key not in ("epochs", "train_steps")}
    return replace(options, stage=stage, psnr_steps=None, psnr_learning_rate=None, **values)


def discriminator_schedule(options):
    """The options of the discriminator's learning rate; None if it follows the generator's."""
    changes = {key: getattr(options, f"discriminator_{key}")
               for key in ("learning_rate", "lr_schedule", "halve_at")
               if getattr(options, f"discriminator_{key}") is not None}
    return replace(options, **changes) if changes else None


def check(options):
    """Raise a `UserError` for options that contradict each other or missing VGG19 weights.

    Called before the first stage, not hours later.
    """
    if len(options.vgg_layers) != len(options.vgg_layer_weights):
        raise UserError(f"--vgg_layers names {len(options.vgg_layers)} layers and "
                        f"--vgg_layer_weights {len(options.vgg_layer_weights)} factors")
    if options.label_noise > 1:
        raise UserError(f"--label_noise must be at most 1, got {options.label_noise}")
    if options.stage != "psnr" and options.perceptual_weight and not options.evaluate_only:
        from common.training.vgg import LAYERS, find_weights

        unknown = [name for name in options.vgg_layers if name not in LAYERS]
        if unknown:
            raise UserError(f"no VGG19 layer {', '.join(unknown)}; it has {', '.join(LAYERS)}")
        find_weights(options.vgg_weights)
