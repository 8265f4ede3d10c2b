"""The GAN step against the two updates written out one after the other."""

import numpy as np
import pytest

import models
from common.nn.keras_compat import keras, set_seed, tf
from common.nn.layers import ShiftScale, SpectralConv2D
from common.training.checkpoints import Checkpoints
from common.training.ema import Ema
from common.training.gan import AdversarialStep, Term
from common.training.gan_losses import GAN_LOSSES, gradient_penalty
from common.training.losses import l1
from common.training.steps import adam

RATES = 1e-3, 4e-3


def generator():
    return models.create("edsr", 2, num_blocks=1, num_filters=8)


def discriminator(spectral=False):
    """Without biases of no consequence: Adam would make much of the rounding in their gradients."""
    image = keras.Input((32, 32, 3))
    x = ShiftScale(-127.5, 1 / 127.5)(image)
    x = keras.layers.LeakyReLU(0.2)(keras.layers.Conv2D(8, 4, 2, padding="same")(x))
    if spectral:
        x = SpectralConv2D(8, 3)(x)
    x = keras.layers.Conv2D(8, 4, 2, padding="same", use_bias=False)(x)
    x = keras.layers.LeakyReLU(0.2)(keras.layers.BatchNormalization(momentum=0.9)(x))
    return keras.Model(image, keras.layers.Dense(1, use_bias=False)(keras.layers.Flatten()(x)))


@pytest.fixture
def batches(photo):
    def batch(i):
        hr = np.stack([photo()[j:j + 32, 3 * j:3 * j + 32] for j in range(10 * i, 10 * i + 40, 10)])
        return tf.constant(hr[:, ::2, ::2]), tf.constant(hr)
    return [batch(i) for i in range(3)]


def make(**kwargs):
    set_seed(3)
    g, d = generator(), discriminator()
    options = {"terms": [Term("pixel", 0.02, l1)], "adversarial_weight": 0.5, **kwargs}
    return AdversarialStep(g, d, (adam(), adam()), **options)


def with_numbers(step, number, batch):
    """A batch as the loop would give it."""
    return (*batch, *step.numbers(number, len(batch[0])))


def by_turns(gan, batches):
    """Update the generator first, then the discriminator on what the old generator made."""
    set_seed(3)
    g, d = generator(), discriminator()
    g_optimizer, d_optimizer = adam(), adam()
    g_optimizer.learning_rate, d_optimizer.learning_rate = RATES
    loss = GAN_LOSSES[gan]
    for lr, hr in batches:
        lr, hr = tf.cast(lr, tf.float32), tf.cast(hr, tf.float32)
        with tf.GradientTape() as tape:
            sr = g(lr, training=True)
            value = 0.02 * l1(sr, hr) + 0.5 * loss.generator(d(hr, training=True),
                                                             d(sr, training=True))
        g_optimizer.apply_gradients(zip(tape.gradient(value, g.trainable_variables),
                                        g.trainable_variables))
        old = tf.stop_gradient(sr)
        with tf.GradientTape() as tape:
            value = loss.discriminator(d(hr, training=True), d(old, training=True), 1.0, 0.0)
        d_optimizer.apply_gradients(zip(tape.gradient(value, d.trainable_variables),
                                        d.trainable_variables))
    return g, d


@pytest.mark.parametrize("gan", ["vanilla", "ragan"])
def test_one_pass_gives_the_updates_of_two(gan, batches):
    step = make(gan_loss=gan)
    for batch in batches:
        values = {key: float(value) for key, value in step(batch, RATES).items()}
    assert set(values) == {"loss", "pixel", "adversarial", "discriminator", "d_real", "d_fake"}
    assert values["loss"] == pytest.approx(0.02 * values["pixel"] + 0.5 * values["adversarial"],
                                           rel=1e-5)
    g, d = by_turns(gan, batches)
    for ours, theirs in ((step.trained, g), (step.discriminator, d)):
        for a, b in zip(ours.trainable_variables, theirs.trainable_variables):
            np.testing.assert_allclose(a.numpy(), b.numpy(), atol=2e-4)


def test_the_gradient_penalty_is_part_of_the_discriminators_loss(batches):
    lr, hr = (tf.cast(x, tf.float32) for x in batches[0])
    step, same = make(gan_loss="wgan_gp", penalty_weight=10.0), make(gan_loss="wgan_gp")
    sr = same.trained(lr, training=True)
    logits = [same.discriminator(x, training=True) for x in (hr, sr)]
    value = float(step(with_numbers(step, 0, batches[0]), RATES)["discriminator"])
    numbers = np.random.Philox(np.random.SeedSequence((0, 0))).random_raw(12).reshape(4, 3)
    position = tf.constant(numbers[:, 2].reshape(4, 1, 1, 1) / 2.0**64, tf.float32)
    penalty = gradient_penalty(lambda x: same.discriminator(x, training=True), hr, sr, position)
    plain = float(tf.reduce_mean(logits[1]) - tf.reduce_mean(logits[0]))
    assert value == pytest.approx(plain + 10 * float(penalty), rel=1e-3)


def test_label_noise_is_new_in_each_step_and_the_same_in_each_run(batches):
    runs = []
    for noise in (0.2, 0.2, 0.0):
        step = make(gan_loss="vanilla", label_noise=noise)
        runs.append([float(step(with_numbers(step, i, batches[0]), [0.0])["discriminator"])
                     for i in range(3)])
    noisy, again, plain = runs
    assert noisy == again and len(set(noisy)) == 3
    assert plain == pytest.approx([plain[0]] * 3, rel=1e-6)
    assert noisy != plain


def test_the_average_starts_at_the_weights_and_follows_them(batches):
    set_seed(3)
    g, average, d = generator(), generator(), discriminator()
    step = AdversarialStep(g, d, (adam(), adam()), [], ema=Ema(g, average, 0.9))
    assert step.model is average and step.trained is g
    expected = None
    for n, batch in enumerate(batches):
        step(batch, [1e-2])
        decay = min(0.9, (1 + n) / (10 + n)) if n else 0
        now = [variable.numpy() for variable in g.variables]
        expected = [decay * e + (1 - decay) * n for e, n in zip(expected, now)] if n else now
    for mean, variable in zip(average.variables, expected):
        np.testing.assert_allclose(mean.numpy(), variable, atol=1e-6)


def test_a_restored_step_goes_on_bit_for_bit(batches, tmp_path):
    def fresh():
        set_seed(3)
        g, d = generator(), discriminator(spectral=True)
        step = AdversarialStep(g, d, (adam(), adam()), [Term("pixel", 1.0, l1)], "vanilla",
                               label_noise=0.2, ema=Ema(g, generator(), 0.9))
        return step, Checkpoints(tmp_path, step.tracked)

    step, checkpoints = fresh()
    step(with_numbers(step, 0, batches[0]), RATES)
    checkpoints.save(1)
    for i, batch in enumerate(batches[1:], 1):
        step(with_numbers(step, i, batch), RATES)
    other, checkpoints = fresh()
    assert checkpoints.restore_latest() == 1
    for i, batch in enumerate(batches[1:], 1):
        other(with_numbers(other, i, batch), RATES)
    for ours, theirs in ((step.model, other.model), (step.trained, other.trained),
                         (step.discriminator, other.discriminator)):
        for a, b in zip(ours.variables, theirs.variables):
            np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_the_discriminator_learns_to_tell_them_apart(batches):
    step = make(gan_loss="ragan", adversarial_weight=0.0)
    values = [step(batches[0], RATES) for _ in range(30)]
    apart = [float(value["d_real"] - value["d_fake"]) for value in values]
    assert np.mean(apart[-5:]) > np.mean(apart[:5]) + 1
