"""The compiled step of a GAN: generator and discriminator learn from one pass through both."""

from collections import namedtuple

import numpy as np

from common.device import exchange as replicas
from common.device.chip import all_computed, in_float32
from common.nn.keras_compat import function, tf
from common.training.ema import averaged
from common.training.gan_losses import GAN_LOSSES, gradient_penalty
from common.training.losses import PIXEL_LOSSES, perceptual
from common.training.stages import discriminator_schedule
from common.training.steps import Learner, PixelStep, Step, adam, as_tensor

# A part of the generator's loss: its name in the log, its factor, and a function of (sr, hr),
# float32 batches in [0, 255].
Term = namedtuple("Term", "name weight loss")


class AdversarialStep(Step):
    """One update of generator and discriminator, both from the weights before the step.

    The generator runs once, the discriminator once on HR and once on SR patches; both losses are
    differentiated through these passes. It is the same as updating the generator first and then
    the discriminator on the SR patches that the old generator made, as BasicSR and ESRGAN do.

    Args:
        generator: a model of the zoo.
        discriminator: a Keras model of RGB in [0, 255] to float32 logits.
        optimizers: two Keras optimizers, of the generator and of the discriminator.
        terms: list of `Term`, the generator's losses beside the adversarial one.
        gan_loss: a key of `gan_losses.GAN_LOSSES`.
        adversarial_weight: factor of the adversarial loss for the generator.
        penalty_weight: factor of the gradient penalty of wgan_gp.
        label_noise: labels are 1 - U(0, noise) for real and U(0, noise) for fake images.
        clips: two (method, threshold), see `steps.clip_gradients`.
        ema: an `Ema` of the generator, whose average is then validated and exported.
        discriminator_schedule: options of the discriminator's learning rate.
        seed: of the label noise and of the gradient penalty's positions.
    """

    keep_last = True

    def __init__(self, generator, discriminator, optimizers, terms, gan_loss="ragan",
                 adversarial_weight=1.0, penalty_weight=10.0, label_noise=0.0,
                 clips=(("none", 1.0),) * 2, ema=None, discriminator_schedule=None, seed=0):
        self._g = Learner(generator, optimizers[0], *clips[0])
        self._d = Learner(discriminator, optimizers[1], *clips[1], leader=self._g)
        self.trained, self.discriminator = generator, discriminator
        self.model = ema.average if ema else generator
        self.tracked = {"model": generator, "optimizer": self._g.optimizer,
                        "discriminator": discriminator,
                        "discriminator_optimizer": self._d.optimizer,
                        **(ema.tracked if ema else {})}
        self.schedules = (discriminator_schedule,) if discriminator_schedule else ()
        self._ema = ema
        self._terms = [term for term in terms if term.weight]
        self.logs = ("loss", *(term.name for term in self._terms), "adversarial", "discriminator",
                     "d_real", "d_fake")
        self._gan = GAN_LOSSES[gan_loss]
        self._penalty_weight = penalty_weight if gan_loss == "wgan_gp" else 0.0
        self._adversarial_weight = adversarial_weight
        self._label_noise = label_noise
        self._seed = seed
        self._train = function(self._distributed_step)

    def __call__(self, batch, rates, scale=None, stop=None):
        """One step, as of `steps.PixelStep`.

        Args:
            batch: (lr, hr), and the rows of `numbers` where it gives any.
            rates: of the generator, and of the discriminator where it differs.

        Returns:
            a dict of scalar tensors to log: `loss` (the generator's sum), each term and
            `adversarial` before their factors, `discriminator`, and `d_real` and `d_fake`, the mean
            logits of HR and SR patches.
        """
        lr, hr, *noise = batch
        return self._train(lr, hr, noise[0] if noise else None, as_tensor(rates), stop)

    def _distributed_step(self, lr, hr, noise, rates, stop):
        rates = replicas.first_of(rates)
        self._g.set_learning_rate(rates[0])
        self._d.set_learning_rate(rates[-1])
        logged = tf.distribute.get_strategy().run(self._replica_step, args=(lr, hr, noise, stop))
        if self._ema:
            self._ema.update()
        return {name: replicas.first_of(value) for name, value in logged.items()}

    def _replica_step(self, lr, hr, noise, stop):
        share = 1 / replicas.count()
        hr = tf.cast(hr, tf.float32)
        with tf.GradientTape() as g_tape:
            sr = self._g.model(tf.cast(lr, tf.float32), training=True)
            with tf.GradientTape() as d_tape:
                d_real = self._d.model(hr, training=True)
                d_fake = self._d.model(sr, training=True)
                d_loss = self._discriminator_loss(d_real, d_fake, hr, sr, noise)
                d_scaled = self._d.scaled(d_loss, share)
            parts = {term.name: term.loss(sr, hr) for term in self._terms}
            parts["adversarial"] = self._gan.generator(d_real, d_fake)
            g_loss = self._generator_loss(parts)
            g_scaled = self._g.scaled(g_loss, share)
        g_variables = self._g.model.trainable_variables
        d_variables = self._d.model.trainable_variables
        gradients = [*g_tape.gradient(g_scaled, g_variables),
                     *d_tape.gradient(d_scaled, d_variables)]
        logged = {"loss": g_loss, **parts, "discriminator": d_loss,
                  "d_real": tf.reduce_mean(d_real), "d_fake": tf.reduce_mean(d_fake)}
        logged = {name: value * share for name, value in logged.items()}
        if stop is not None:
            logged["stop"] = stop
        gradients, logged = replicas.add_up(gradients, logged)
        gradients = all_computed(gradients)
        self._g.apply(gradients[:len(g_variables)], g_variables)
        self._d.apply(gradients[len(g_variables):], d_variables)
        return logged

    @in_float32
    def _generator_loss(self, parts):
        return self._adversarial_weight * parts["adversarial"] + sum(
            term.weight * parts[term.name] for term in self._terms)

    def _discriminator_loss(self, d_real, d_fake, hr, sr, noise):
        one, zero = 1.0, 0.0
        if self._label_noise:
            one = 1.0 - _column(noise, 0, d_real) * self._label_noise
            zero = _column(noise, 1, d_fake) * self._label_noise
        loss = self._gan.discriminator(d_real, d_fake, one, zero)
        if self._penalty_weight:
            loss += self._penalty_weight * gradient_penalty(
                lambda x: self._d.model(x, training=True), hr, tf.stop_gradient(sr),
                _column(noise, 2, hr))
        return loss

    def numbers(self, number, batch_size):
        """Numbers in [0, 1) for the images of a step and each purpose, [(N, 3)]; [] if not needed.

        From seed and step alone, on the host, since an NPU has no random numbers that a resumed run
        could repeat.
        """
        if not (self._label_noise or self._penalty_weight):
            return []
        stream = np.random.Philox(np.random.SeedSequence((self._seed, number)))
        numbers = stream.random_raw(3 * batch_size).reshape(batch_size, 3) >> np.uint64(40)
        return [np.asarray(numbers / 2**24, np.float32)]


def _column(noise, purpose, like):
    """A replica's numbers for one purpose, to be used with a tensor of its images."""
    return tf.reshape(noise[:, purpose], [like.shape[0]] + [1] * (len(like.shape) - 1))


def build_step(options, make_generator, make_discriminator, pixel_loss=None):
    """The step of the stage that the options say.

    Args:
        options: `AdversarialOptions` of one stage.
        make_generator: function to a model of the zoo with fresh weights.
        make_discriminator: function of the side of a HR patch to a discriminator.
        pixel_loss: function of (sr, hr) in [0, 255]; None: the options' `loss`, of images in units
            of `options.UNIT` grey levels.
    """
    if pixel_loss is None:
        @in_float32
        def pixel_loss(sr, hr):
            return PIXEL_LOSSES[options.loss](sr / options.UNIT, hr / options.UNIT)
    generator = make_generator()
    ema = averaged(generator, lambda _: make_generator(), options.ema_decay)
    clip = options.clip, options.clip_threshold
    if options.stage == "psnr" or options.evaluate_only:
        return PixelStep(generator, _adam(options), pixel_loss, *clip, ema=ema)
    terms = [Term("pixel", options.pixel_weight, pixel_loss),
             Term("perceptual", options.perceptual_weight, _perceptual(options))]
    return AdversarialStep(
        generator, make_discriminator(options.patch_size * options.scale),
        (_adam(options), _adam(options)), terms, options.gan_loss, options.adversarial_weight,
        options.gradient_penalty, options.label_noise,
        (clip, (options.discriminator_clip, options.discriminator_clip_threshold)), ema,
        discriminator_schedule(options), options.seed)


def _adam(options):
    return adam(options.beta1, options.beta2)


def _perceptual(options):
    if not options.perceptual_weight:
        return None
    from common.training.vgg import VggFeatures

    features = VggFeatures(options.vgg_weights, options.vgg_layers, options.vgg_before_relu,
                           options.vgg_feature_scale)
    return perceptual(features, PIXEL_LOSSES[options.perceptual_loss], options.vgg_layer_weights)
