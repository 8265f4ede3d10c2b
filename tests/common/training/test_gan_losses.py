"""Adversarial losses against formulas written out in NumPy."""

import numpy as np
import pytest

from common.nn.keras_compat import tf
from common.training.gan_losses import GAN_LOSSES, gradient_penalty

REAL = np.array([[1.5], [-0.3], [2.0]])
FAKE = np.array([[-1.0], [0.4], [0.1]])


def entropy(logits, label):
    p = 1 / (1 + np.exp(-logits))
    return float(np.mean(-label * np.log(p) - (1 - label) * np.log(1 - p)))


EXPECTED = {
    "vanilla": (entropy(FAKE, 1.0), entropy(REAL, 0.9) + entropy(FAKE, 0.1)),
    "lsgan": (np.mean((FAKE - 1)**2), (np.mean((REAL - 0.9)**2) + np.mean((FAKE - 0.1)**2)) / 2),
    "wgan_gp": (-FAKE.mean(), FAKE.mean() - REAL.mean()),
    "ragan": ((entropy(REAL - FAKE.mean(), 0.0) + entropy(FAKE - REAL.mean(), 1.0)) / 2,
              (entropy(REAL - FAKE.mean(), 0.9) + entropy(FAKE - REAL.mean(), 0.1)) / 2),
}


def test_every_loss_is_checked():
    assert set(EXPECTED) == set(GAN_LOSSES)


@pytest.mark.parametrize("name", GAN_LOSSES)
def test_the_losses_are_those_of_their_papers(name):
    real, fake = tf.constant(REAL, tf.float32), tf.constant(FAKE, tf.float32)
    loss = GAN_LOSSES[name]
    assert float(loss.generator(real, fake)) == pytest.approx(EXPECTED[name][0], rel=1e-5)
    assert float(loss.discriminator(real, fake, 0.9, 0.1)) == pytest.approx(EXPECTED[name][1],
                                                                            rel=1e-5)


@pytest.mark.parametrize("name", GAN_LOSSES)
def test_the_generators_gradient_goes_through_the_logits_that_it_is_said_to_see(name):
    real, fake = tf.constant(REAL, tf.float32), tf.constant(FAKE, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch([real, fake])
        value = GAN_LOSSES[name].generator(real, fake)
    to_real, to_fake = tape.gradient(value, [real, fake])
    assert np.all(to_fake.numpy() < 0)  # higher logits of its images are better for it
    assert (to_real is not None) == GAN_LOSSES[name].sees_real


def test_the_penalty_of_a_linear_discriminator_is_its_slope_less_one_squared():
    weights = np.random.default_rng(0).normal(size=(4, 4, 3)).astype("float32")
    real, fake = (tf.constant(np.random.default_rng(i).uniform(0, 255, (2, 4, 4, 3)), tf.float32)
                  for i in (1, 2))
    # In [-1, 1] the slope of sum(w * x / 127.5) is |w|.
    value = gradient_penalty(lambda x: tf.reduce_sum(x / 127.5 * weights, [1, 2, 3]), real, fake,
                             tf.fill([2, 1, 1, 1], 0.3))
    assert float(value) == pytest.approx((np.linalg.norm(weights) - 1)**2, rel=1e-4)
