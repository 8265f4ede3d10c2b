"""What generator and discriminator play for: functions of the discriminator's float32 logits."""

from collections import namedtuple

from common.device.chip import in_float32
from common.nn.keras_compat import tf

# `generator(real, fake)` and `discriminator(real, fake, real_label, fake_label)` give scalars;
# `sees_real`: whether the generator's loss depends on the logits of real images.
GanLoss = namedtuple("GanLoss", "generator discriminator sees_real")


def _cross_entropy(logits, label):
    label = tf.zeros_like(logits) + label
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=label, logits=logits))


def _square(logits, label):
    return tf.reduce_mean(tf.square(logits - label))


def _mean(logits):
    return tf.reduce_mean(logits)


def _above(logits, others):
    """How much logits exceed the mean of the others."""
    return logits - tf.reduce_mean(others)


_LOSSES = {
    # Goodfellow et al., arXiv 1406.2661, with the generator's loss that does not saturate.
    "vanilla": GanLoss(
        lambda real, fake: _cross_entropy(fake, 1.0),
        lambda real, fake, one, zero: _cross_entropy(real, one) + _cross_entropy(fake, zero),
        False),
    # Mao et al., arXiv 1611.04076.
    "lsgan": GanLoss(
        lambda real, fake: _square(fake, 1.0),
        lambda real, fake, one, zero: (_square(real, one) + _square(fake, zero)) / 2,
        False),
    # Gulrajani et al., arXiv 1704.00028; the gradient penalty is added by the step.
    "wgan_gp": GanLoss(
        lambda real, fake: -_mean(fake),
        lambda real, fake, one, zero: _mean(fake) - _mean(real),
        False),
    # Jolicoeur-Martineau, arXiv 1807.00734: the relativistic average, as ESRGAN has it.
    "ragan": GanLoss(
        lambda real, fake: (_cross_entropy(_above(real, fake), 0.0)
                            + _cross_entropy(_above(fake, real), 1.0)) / 2,
        lambda real, fake, one, zero: (_cross_entropy(_above(real, fake), one)
                                       + _cross_entropy(_above(fake, real), zero)) / 2,
        True),
}
GAN_LOSSES = {name: GanLoss(in_float32(loss.generator), in_float32(loss.discriminator),
                            loss.sees_real) for name, loss in _LOSSES.items()}


def gradient_penalty(discriminator, real, fake, position):
    """How far the discriminator's slope between real and fake images is from one.

    Args:
        discriminator: function of images (N, H, W, 3) to logits.
        real, fake: images in [0, 255]; the slope is taken over [-1, 1].
        position: (N, 1, 1, 1) in [0, 1], where between the two.
    """
    between = real + position * (fake - real)
    with tf.GradientTape() as tape:
        tape.watch(between)
        logits = discriminator(between)
    slope = 127.5 * tape.gradient(logits, between)
    return _distance_from_one(slope)


@in_float32
def _distance_from_one(slope):
    norm = tf.sqrt(tf.reduce_sum(tf.square(slope), [1, 2, 3]) + 1e-4)
    return tf.reduce_mean(tf.square(norm - 1))
