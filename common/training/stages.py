"""Options of the models that are trained in two stages: by a pixel loss, then as a GAN."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal, Optional

from jsonargparse.typing import NonNegativeFloat, PositiveFloat, PositiveInt

from common.cli import UserError
from common.flags import option
from common.scales import scale_name
from common.training.options import Clip, Loss, Schedule, Steps, TrainOptions
from common.training.run_folder import default_folder


@dataclass
class AdversarialOptions(TrainOptions):
    """The options of a stage that are None take the model's value for that stage.

    A model's class says these in `STAGES`, and in `UNIT` how many grey levels one unit of its
    images is, in which its losses are weighted.
    """

    STAGES = {"psnr": {}, "gan": {}}
    UNIT = 255.0

    stage: Literal["psnr", "gan", "both"] = option(
        "both", "psnr: the pixel loss alone; gan: against a discriminator, from --load; both: one "
                "after the other, the first in output_dir/psnr")
    psnr_steps: Optional[PositiveInt] = option(None, "both: optimizer steps of the first stage; "
                                                     "default: the paper's")
    psnr_learning_rate: Optional[PositiveFloat] = option(
        None, "both: learning rate of the first stage; default: the paper's")
    train_steps: Optional[PositiveInt] = option(None, "optimizer steps of the stage, of both: of "
                                                      "the GAN; default: the paper's")
    epochs: Optional[PositiveInt] = option(None, "in place of --train_steps: passes over the "
                                                 "training images")
    learning_rate: Optional[PositiveFloat] = option(None, "highest learning rate of the stage; "
                                                          "default: the paper's")
    lr_schedule: Optional[Schedule] = option(None, "course of the learning rate; default: the "
                                                   "paper's")
    halve_at: Optional[Steps] = option(None, "halve: after these steps; default: the paper's")
    beta1: NonNegativeFloat = option(0.9, "Adam's decay of the gradients' mean")
    beta2: NonNegativeFloat = option(0.999, "Adam's decay of the gradients' square")
    loss: Loss = option("l1", "pixel loss of both stages")
    # the generator's losses in the GAN stage
    pixel_weight: NonNegativeFloat = option(0.0, "factor of the pixel loss in the GAN stage")
    perceptual_weight: NonNegativeFloat = option(1.0, "factor of the distance in VGG19 features; "
                                                      "0: without VGG19")
    adversarial_weight: NonNegativeFloat = option(1e-3, "factor of the adversarial loss")
    perceptual_loss: Literal["l1", "mse"] = option("mse", "distance of two feature maps")
    vgg_weights: Optional[str] = option(
        None, "VGG19 weights of Keras, without top; default: "
              "h5/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5, else Keras's download")
    vgg_layers: tuple[str, ...] = option(("conv5_4",), "which features, e.g. [conv2_2,conv5_4]")
    vgg_layer_weights: tuple[PositiveFloat, ...] = option((1.0,), "a factor for each of these")
    vgg_before_relu: bool = option(False, "features before the activation")
    vgg_feature_scale: PositiveFloat = option(1 / 12.75, "factor of all features")
    # the discriminator
    gan_loss: Literal["vanilla", "lsgan", "wgan_gp", "ragan"] = option("vanilla",
                                                                       "the adversarial loss")
    gradient_penalty: NonNegativeFloat = option(10.0, "wgan_gp: factor of the gradient penalty")
    label_noise: NonNegativeFloat = option(0.0, "labels are 1 - U(0, n) and U(0, n)")
    discriminator_learning_rate: Optional[PositiveFloat] = option(
        None, "default: the generator's")
    discriminator_lr_schedule: Optional[Schedule] = option(None, "default: the generator's")
    discriminator_halve_at: Optional[Steps] = option(None, "default: the generator's")
    discriminator_clip: Clip = option("none", "gradient clipping of the discriminator")
    discriminator_clip_threshold: PositiveFloat = option(1.0, "bound of that clipping")
    ema_decay: NonNegativeFloat = option(0.0, "moving average of the generator's weights, which is "
                                              "then validated and exported; 0: none, else e.g. "
                                              "0.999")


GAN_ONLY = ("pixel_weight", "perceptual_weight", "adversarial_weight", "perceptual_loss",
            "vgg_weights", "vgg_layers", "vgg_layer_weights", "vgg_before_relu",
            "vgg_feature_scale", "gan_loss", "gradient_penalty", "label_noise", "discriminator",
            "discriminator_learning_rate", "discriminator_lr_schedule", "discriminator_halve_at",
            "discriminator_clip", "discriminator_clip_threshold")


def plan_stages(name):
    """The function of a model's options to those of its runs, for `training_command`."""
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
            raise UserError("--resume PATH goes on with one stage: say --stage psnr or --stage gan")
        first = replace(options, output_dir=str(folder / "psnr"), train_steps=options.psnr_steps,
                        epochs=None, learning_rate=options.psnr_learning_rate, lr_schedule=None,
                        halve_at=None, periods=(), restart_weights=())
        best = folder / "psnr" / f"{name}_{scale_name(options.scale)}.h5"
        return [in_stage(first, "psnr"),
                replace(gan, output_dir=str(folder), load=str(best), stage="gan")]
    return plan


def in_stage(options, stage):
    """The options with the paper's values for the stage where none are given.

    Those that the first stage has no use for are as if they were not given, so that it stays the
    same run when they change.
    """
    values = {key: value for key, value in options.STAGES[stage].items()
              if getattr(options, key) is None}
    if stage == "psnr":
        values.update({field.name: field.default for field in fields(options)
                       if field.name in GAN_ONLY})
    if options.epochs is not None or options.train_steps is not None:
        values = {key: value for key, value in values.items()
                  if key not in ("epochs", "train_steps")}
    return replace(options, stage=stage, psnr_steps=None, psnr_learning_rate=None, **values)


def discriminator_schedule(options):
    """The options that the discriminator's learning rate follows."""
    changes = {key: getattr(options, f"discriminator_{key}")
               for key in ("learning_rate", "lr_schedule", "halve_at")
               if getattr(options, f"discriminator_{key}") is not None}
    return replace(options, **changes) if changes else None


def check(options):
    """Raise a `UserError` for options that cannot be, or for missing VGG19 weights.

    Before the first stage, so that nobody waits for hours to be told.
    """
    if len(options.vgg_layers) != len(options.vgg_layer_weights):
        raise UserError(f"--vgg_layers names {len(options.vgg_layers)} layers and "
                        f"--vgg_layer_weights {len(options.vgg_layer_weights)} factors")
    for key in ("beta1", "beta2", "ema_decay"):
        if getattr(options, key) >= 1:
            raise UserError(f"--{key} {getattr(options, key)}: below 1")
    if options.label_noise > 1:
        raise UserError(f"--label_noise {options.label_noise}: at most 1")
    if options.stage != "psnr" and options.perceptual_weight and not options.evaluate_only:
        from common.nn.vgg import LAYERS, find_weights

        unknown = [name for name in options.vgg_layers if name not in LAYERS]
        if unknown:
            raise UserError(f"no VGG19 layer {', '.join(unknown)}; it has {', '.join(LAYERS)}")
        find_weights(options.vgg_weights)
