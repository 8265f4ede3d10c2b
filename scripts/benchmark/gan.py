"""Time ESRGAN's GAN step beside the sum of its parts and beside PyTorch."""

import statistics
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

import models
from scripts.benchmark.engines import require
from scripts.benchmark.measuring import (
    PRECISIONS,
    check_losses,
    gather,
    open_cpu,
    take_turns,
    timed_rows,
)
from scripts.benchmark.networks import torch_chain, torch_network
from scripts.benchmark.training import random_batch

# The rest of the step is the paper's.
SETTING = {"scale": 4, "num_blocks": 4, "num_filters": 64, "num_growth": 32, "patch_size": 16,
           "batch_size": 4}
# Small, since Keras and PyTorch add Adam's epsilon in different places, which soon shows in the
# losses of a GAN.
LEARNING_RATE = 1e-6
RATES = np.array([LEARNING_RATE], np.float32)
VGG = "random values: the time does not depend on them"


def gan_step(name, arguments):
    """Time one step of ESRGAN's GAN stage as its `build_step` makes it.

    The row `parts` is the sum of the indispensable parts of a step, each compiled and timed alone
    in the same turns; `ratio_to_parts` is the whole step's time over that sum.

    Args:
        name: of the measurement.
        arguments: of the command; `threads` and `runs` are used.

    Returns:
        a row per precision and engine.

    Raises:
        UserError: the engines' losses differ.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        open_cpu("float32")
        options = _options(folder)
        plain, features = _step(options), _features(options)
        weights = _weights(plain)
        batch = random_batch(options.batch_size, options.patch_size, options.scale)
        print(f"note: {name}: VGG19 has {VGG}", flush=True)
        for precision in PRECISIONS:
            engines, reasons = gather({
                "sr-zoo": partial(_zoo_step, options, weights, batch, precision),
                "torch": partial(torch_gan_step, plain, features, options, batch, precision,
                                 arguments.threads)})
            parts = {}
            if "sr-zoo" in engines:
                parts = zoo_parts(options, weights, batch)
            else:
                reasons["parts"] = reasons["sr-zoo"]
            check_losses(f"{name} {precision}", engines, precision)
            rows += _rows(name, precision, take_turns({**engines, **parts}, arguments.runs), parts,
                          reasons)
    return rows


def _rows(name, precision, seconds, parts, reasons):
    """As `timed_rows`, with the parts as one engine."""
    engines = {engine: values for engine, values in seconds.items() if engine not in parts}
    if parts:
        engines["parts"] = [sum(turn) for turn in zip(*(seconds[part] for part in parts))]
    rows = timed_rows(name, precision, engines, reasons)
    for row in rows:
        row["vgg_weights"] = VGG
        if row["engine"] == "parts" and parts:
            row["parts"] = {part: statistics.median(seconds[part]) for part in parts}
    return rows


# ---- the zoo ------------------------------------------------------------------------------------


def _options(folder):
    """The step's options, with a file of random VGG19 weights in the folder."""
    from common.nn.keras_compat import h5_bytes, set_seed
    from common.training import vgg

    options = models.model("esrgan").recipe.options_class(
        stage="gan", vgg_weights=str(Path(folder) / vgg.FILE), **SETTING)
    set_seed(0)
    Path(options.vgg_weights).write_bytes(h5_bytes(vgg.build(options.vgg_layers)))
    return options


def _step(options, weights=None):
    from common.nn.keras_compat import set_seed

    set_seed(0)
    step = models.model("esrgan").recipe.build_step(options)
    if weights is not None:
        step.trained.set_weights(weights[0])
        step.discriminator.set_weights(weights[1])
    return step


def _weights(step):
    return step.trained.get_weights(), step.discriminator.get_weights()


def _features(options):
    from common.training.vgg import VggFeatures

    return VggFeatures(options.vgg_weights, options.vgg_layers, options.vgg_before_relu,
                       options.vgg_feature_scale)


def _zoo_step(options, weights, batch, precision):
    """A function that takes a step and returns the losses of generator and discriminator."""
    from common.nn.keras_compat import tf

    open_cpu(precision)
    step, batch = _step(options, weights), tuple(map(tf.constant, batch))

    def run():
        values = step(batch, RATES)
        return float(values["loss"]), float(values["discriminator"])

    return run


def zoo_parts(options, weights, batch):
    """The parts of a step, on networks of their own and in the precision that is open.

    Returns:
        dict of name -> function without arguments: `generator` forward, backward from a given
        gradient of its output and update; `discriminator` on HR and SR, the same from its loss;
        `adversarial`, the discriminator on HR and SR once more and backward to the SR patches;
        `perceptual`, VGG19 on HR and SR and backward to the SR patches.
    """
    from common.nn.keras_compat import function, tf
    from common.training.gan_losses import GAN_LOSSES
    from common.training.losses import PIXEL_LOSSES
    from common.training.steps import Learner, adam

    step, vgg = _step(options, weights), _features(options)
    g, d = (Learner(model, adam(options.beta1, options.beta2))
            for model in (step.trained, step.discriminator))
    gan, distance = GAN_LOSSES[options.gan_loss], PIXEL_LOSSES[options.perceptual_loss]
    lr, hr = (tf.constant(part, tf.float32) for part in batch)
    sr = step.trained(lr)
    slope = tf.random.stateless_normal(hr.shape, [0, 0], stddev=1e-6)

    def generator(lr, slope):
        with tf.GradientTape() as tape:
            image = g.model(lr, training=True)
        variables = g.model.trainable_variables
        g.apply(tape.gradient(image, variables, output_gradients=slope), variables)

    def discriminator(sr, hr):
        with tf.GradientTape() as tape:
            real, fake = (d.model(images, training=True) for images in (hr, sr))
            loss = gan.discriminator(real, fake, 1.0, 0.0)
        variables = d.model.trainable_variables
        d.apply(tape.gradient(loss, variables), variables)

    def adversarial(sr, hr):
        real = d.model(hr, training=True)
        with tf.GradientTape() as tape:
            tape.watch(sr)
            loss = gan.generator(real, d.model(sr, training=True))
        return tape.gradient(loss, sr)

    def perceptual(sr, hr):
        truth = vgg(hr)[0]
        with tf.GradientTape() as tape:
            tape.watch(sr)
            loss = distance(vgg(sr)[0], truth)
        return tape.gradient(loss, sr)

    def bound(part, *inputs):
        compiled = function(part)
        return lambda: compiled(*inputs)

    return {"generator": bound(generator, lr, slope),
            "discriminator": bound(discriminator, sr, hr),
            "adversarial": bound(adversarial, sr, hr), "perceptual": bound(perceptual, sr, hr)}


# ---- PyTorch ------------------------------------------------------------------------------------


def torch_gan_step(step, features, options, batch, precision, threads):
    """The same step in PyTorch, in the order in which it is usually written there.

    First the generator learns, against a discriminator that stands still, then the discriminator
    learns from the patches that the generator has just made.

    Args:
        step: the zoo's `AdversarialStep` with the weights to start from.
        features: `VggFeatures` of one layer.
        options: of the step.
        batch: (lr, hr) uint8 patches, NHWC.
        precision: float32, or bfloat16 by autocast (float32 weights).
        threads: how many it may use.

    Returns:
        function without arguments to the losses of generator and discriminator before the step.
    """
    require("torch")
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss

    torch.set_num_threads(threads)
    generator = torch_network(step.trained).train()
    discriminator = torch_chain(step.discriminator).train()
    vgg = torch_chain(features.model).eval().requires_grad_(False)
    optimizers = [torch.optim.Adam(network.parameters(), LEARNING_RATE,
                                   (options.beta1, options.beta2), eps=1e-8)
                  for network in (generator, discriminator)]
    lr, hr = (torch.from_numpy(part).permute(0, 3, 1, 2) for part in batch)

    def autocast():
        return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")

    def cross_entropy(logits, others, label):
        above = logits.float() - others.float().mean()
        return binary_cross_entropy_with_logits(above, torch.full_like(above, label))

    def relativistic(real, fake, real_label):
        return (cross_entropy(real, fake, real_label)
                + cross_entropy(fake, real, 1 - real_label)) / 2

    def run():
        truth = hr.float()
        discriminator.requires_grad_(False)
        optimizers[0].zero_grad(set_to_none=True)
        with autocast():
            sr = generator(lr.float())
            seen, fake = vgg(sr), discriminator(sr)
            with torch.no_grad():
                wanted, real = vgg(truth), discriminator(truth)
        g_loss = (options.pixel_weight * l1_loss(sr / 255, truth / 255)
                  + options.perceptual_weight * l1_loss(seen, wanted)
                  + options.adversarial_weight * relativistic(real, fake, 0.0))
        g_loss.backward()
        optimizers[0].step()

        discriminator.requires_grad_(True)
        optimizers[1].zero_grad(set_to_none=True)
        with autocast():
            real, fake = discriminator(truth), discriminator(sr.detach())
        d_loss = relativistic(real, fake, 1.0)
        d_loss.backward()
        optimizers[1].step()
        return g_loss.item(), d_loss.item()

    return run


MEASUREMENTS = {"gan_step": gan_step}
