"""Compiled training steps: one `tf.function` from a batch of uint8 patches to updated weights."""

from common.device import exchange as replicas
from common.device.chip import in_float32, keep_float32, with_loss_scaling
from common.nn.keras_compat import (
    apply_reduced_gradients,
    build_optimizer,
    function,
    keras,
    learning_rate,
    scaled_loss,
    set_learning_rate,
    tf,
    unscaled_gradients,
)
from common.training.turns import Turns


class Learner:
    """A network that learns, with its own optimizer, gradient clipping and loss scaling.

    Args:
        model: the network.
        optimizer: a Keras optimizer; it is wrapped where the precision needs loss scaling.
        clip, clip_threshold: see `clip_gradients`.
        leader: a `Learner` of the same step that is applied before this one; see
            `chip.with_loss_scaling`.
    """

    def __init__(self, model, optimizer, clip="none", clip_threshold=1.0, leader=None):
        self.model = model
        self.optimizer, self._scaling = with_loss_scaling(optimizer, leader and leader.optimizer)
        build_optimizer(self.optimizer, model.trainable_variables)
        self._clip = (clip, clip_threshold)

    def set_learning_rate(self, value):
        """Set the rate of this step, outside the replicas."""
        set_learning_rate(self.optimizer, value)

    @in_float32
    def scaled(self, loss, share=1):
        """The loss to differentiate, of this replica's share of it."""
        return scaled_loss(self._scaling, loss * share)

    def apply(self, gradients, variables, weight_decay=0.0):
        """Update variables by the gradients of the scaled loss, summed over the replicas."""
        with keep_float32():
            self._apply(gradients, variables, weight_decay)

    def _apply(self, gradients, variables, weight_decay):
        gradients = clip_gradients(unscaled_gradients(self._scaling, gradients), *self._clip,
                                   learning_rate(self.optimizer))
        if weight_decay:
            gradients = [g + weight_decay * v if len(v.shape) > 1 else g
                         for g, v in zip(gradients, variables)]
        if self._scaling is not self.optimizer:
            tf.cond(self._scaling.last_step_finite,
                    lambda: _done(apply_reduced_gradients, self.optimizer, gradients, variables),
                    lambda: _done(list))
        else:
            apply_reduced_gradients(self.optimizer, gradients, variables)


def _done(function_, *arguments):
    """Call a function for its effects alone, as a branch of a `tf.cond`."""
    function_(*arguments)
    return tf.constant(True)


class Step:
    """What the loop uses of a training step.

    Attributes:
        model: is validated and exported.
        trained: takes the weights to start from.
        tracked: what a checkpoint holds.
        logs: the names of what a step logs.
        keep_last: whether the last weights are the result and not those best by PSNR.
        schedules: options of further learning rates beside that of the run's options.

    A step is called with a batch (lr, hr, ...), its learning rates, the scale and what else
    `PixelStep` tells. Its batch is the share of this process; of several local devices, that of
    each as their strategy's datasets give it.
    """

    keep_last = False
    schedules = ()
    logs = ("loss",)

    def numbers(self, number, batch_size):
        """What the host adds to the batch of a step (0 is the first): arrays, a row per image."""
        return []

    def turns(self, window, most):
        """What takes its steps in the loop; see `Turns`."""
        return Turns(self, window, most)


class PixelStep(Step):
    """Minimise a loss between what the model makes of the LR patch and the HR patch.

    Built inside the scope of the device's strategy.

    Args:
        model: a model of the zoo.
        optimizer: a Keras optimizer.
        loss: function of (output of the head, HR patch in [0, 255] float32) to a scalar.
        clip, clip_threshold: see `clip_gradients`.
        heads: {scale: model over the same layers that training runs}, where that is not `model`;
            each scale is compiled for itself, with static shapes.
        weight_decay: this much of every kernel is added to its gradient, after the clipping.
        slow_layers, slow_factor: layers whose updates are so much smaller.
        ema: an `Ema` of the model, whose average is then validated and exported.
    """

    def __init__(self, model, optimizer, loss, clip="none", clip_threshold=1.0, heads=None,
                 weight_decay=0.0, slow_layers=(), slow_factor=0.1, ema=None):
        self._learner = Learner(model, optimizer, clip, clip_threshold)
        self.trained = model
        self.model = ema.average if ema else model
        self.tracked = {"model": model, "optimizer": self._learner.optimizer,
                        **(ema.tracked if ema else {})}
        self._ema = ema
        self._loss = loss
        self._weight_decay = weight_decay
        self._slow = [variable for layer in slow_layers for variable in layer.trainable_variables]
        self._slow_factor = slow_factor
        self._train = {scale: self._compiled(head)
                       for scale, head in (heads or {None: model}).items()}

    def __call__(self, batch, rates, scale=None, stop=None):
        """One optimizer step.

        Args:
            batch: (lr, hr) uint8 patches (N, p, p, 3) and (N, p*scale, p*scale, 3).
            rates: its learning rates, float32; one, and one for each of `schedules`.
            scale: which head, where there are several.
            stop: a scalar float32 tensor of this process, of which all are to know the sum.

        Returns:
            a dict of scalar tensors to log, `loss` among them, and `stop` if it was given.
        """
        train = self._train[scale if scale in self._train else None]
        rates = as_tensor(rates)
        return train(*batch, rates) if stop is None else train(*batch, rates, stop)

    def _compiled(self, head):
        # TensorFlow 2.6 miscounts the arguments of a functools.partial.
        return function(lambda lr, hr, rates, stop=None: self._distributed_step(head, lr, hr,
                                                                                rates, stop))

    def _distributed_step(self, head, lr, hr, rates, stop):
        self._learner.set_learning_rate(replicas.first_of(rates)[0])
        before = [tf.identity(variable) for variable in self._slow]
        logged = tf.distribute.get_strategy().run(self._replica_step, args=(head, lr, hr, stop))
        for variable, old in zip(self._slow, before):
            # The same as a smaller learning rate, for any optimizer.
            variable.assign(old + self._slow_factor * (variable - old))
        if self._ema:
            self._ema.update()
        return {name: replicas.first_of(value) for name, value in logged.items()}

    def _replica_step(self, head, lr, hr, stop):
        variables = head.trainable_variables
        hr = tf.cast(hr, tf.float32)
        with tf.GradientTape() as tape:
            output = head(tf.cast(lr, tf.float32), training=True)
            loss = self._share_of_loss(output, hr)
            scaled = self._learner.scaled(loss)
        logged = {"loss": loss, **({} if stop is None else {"stop": stop})}
        gradients, logged = replicas.add_up(tape.gradient(scaled, variables), logged)
        self._learner.apply(gradients, variables, self._weight_decay)
        return logged

    @in_float32
    def _share_of_loss(self, output, hr):
        """Every replica has an equal share of the batch, so shares of the mean add up to it."""
        return self._loss(output, hr) / replicas.count()


def as_tensor(rates):
    """Learning rates as a float32 tensor; those of an iterator are as they are."""
    return tf.convert_to_tensor(rates, tf.float32) if isinstance(rates, (list, tuple)) else rates


def clip_gradients(gradients, method, threshold, rate=None):
    """Clip gradients.

    Args:
        gradients: list of tensors.
        method: none; global_norm (of all together); norm (of each); value (each element); or
            adjustable (each element, to threshold / rate, as VDSR does).
        threshold: the bound.
        rate: the learning rate, a scalar tensor.
    """
    if method == "global_norm":
        return tf.clip_by_global_norm(gradients, threshold)[0]
    if method == "norm":
        return [tf.clip_by_norm(gradient, threshold) for gradient in gradients]
    if method in ("value", "adjustable"):
        bound = threshold if method == "value" else threshold / rate
        return [tf.clip_by_value(gradient, -bound, bound) for gradient in gradients]
    return gradients


def adam(beta_1=0.9, beta_2=0.999, epsilon=1e-8):
    """Adam (arXiv 1412.6980) with the constants the papers here give; a step sets its rate."""
    return keras.optimizers.Adam(learning_rate=1e-4, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)


def sgd(momentum=0.9):
    """Stochastic gradient descent with momentum; a step sets its rate."""
    return keras.optimizers.SGD(learning_rate=1e-4, momentum=momentum)
