"""Compiled training steps: one `tf.function` from a batch of uint8 patches to updated weights."""

from common.keras_compat import (
    apply_reduced_gradients,
    build_optimizer,
    function,
    keras,
    policy_name,
    scaled_loss,
    set_learning_rate,
    tf,
    unscaled_gradients,
    with_loss_scaling,
)


class PixelStep:
    """Minimise a pixel loss between the model's answer and the HR patch.

    Built inside the scope of the device's strategy. What the loop uses: `model` (validated and
    exported), `tracked` (what a checkpoint holds), `set_learning_rate` and the call itself.

    Args:
        model: a model of the zoo.
        optimizer: a Keras optimizer; it is wrapped for loss scaling under mixed_float16.
        loss: function of (sr, hr), float32 in [0, 255], to a scalar.
        clip: none, global_norm (all gradients together), norm (each) or value (each element).
        clip_threshold: the bound.
    """

    def __init__(self, model, optimizer, loss, clip="none", clip_threshold=1.0):
        if policy_name() == "mixed_float16":
            optimizer = with_loss_scaling(optimizer)
        build_optimizer(optimizer, model.trainable_variables)
        self.model = model
        self.optimizer = optimizer
        self.tracked = {"model": model, "optimizer": optimizer}
        self._loss = loss
        self._clip = (clip, clip_threshold)
        self._train = function(self._distributed_step)

    def set_learning_rate(self, value):
        """Set the rate of the next step."""
        set_learning_rate(self.optimizer, value)

    def __call__(self, batch):
        """One optimizer step.

        Args:
            batch: (lr, hr) uint8 patches (N, p, p, 3) and (N, p*scale, p*scale, 3).

        Returns:
            a dict of scalar tensors to log, `loss` among them.
        """
        return self._train(*batch)

    def _distributed_step(self, lr, hr):
        strategy = tf.distribute.get_strategy()
        losses = strategy.run(self._replica_step, args=(lr, hr))
        return {"loss": strategy.reduce("sum", losses, axis=None)}

    def _replica_step(self, lr, hr):
        variables = self.model.trainable_variables
        context = tf.distribute.get_replica_context()
        hr = tf.cast(hr, tf.float32)
        with tf.GradientTape() as tape:
            sr = self.model(tf.cast(lr, tf.float32), training=True)
            # Every replica has an equal share of the batch, so shares of the mean add up to it.
            loss = self._loss(sr, hr) / context.num_replicas_in_sync
            scaled = scaled_loss(self.optimizer, loss)
        gradients = tape.gradient(scaled, variables)
        if context.num_replicas_in_sync > 1:
            gradients = context.all_reduce("sum", gradients)
        gradients = clip_gradients(unscaled_gradients(self.optimizer, gradients), *self._clip)
        apply_reduced_gradients(self.optimizer, gradients, variables)
        return loss


def clip_gradients(gradients, method, threshold):
    """Clip gradients by their global norm, each by its norm, or each element by its size."""
    if method == "global_norm":
        return tf.clip_by_global_norm(gradients, threshold)[0]
    if method == "norm":
        return [tf.clip_by_norm(gradient, threshold) for gradient in gradients]
    if method == "value":
        return [tf.clip_by_value(gradient, -threshold, threshold) for gradient in gradients]
    return gradients


def adam(beta_1=0.9, beta_2=0.999, epsilon=1e-8):
    """Adam (arXiv 1412.6980) with the constants the papers here give; the loop sets its rate."""
    return keras.optimizers.Adam(learning_rate=1e-4, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)
