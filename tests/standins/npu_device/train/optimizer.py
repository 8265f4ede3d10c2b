"""Loss scaling that sees overflows which saturate."""

import tensorflow as tf

from npu_device.device import global_npu_ctx, is_inf_nan_enabled, record
from npu_device.distribute import all_reduce


class NpuLossScaleOptimizer(tf.keras.mixed_precision.LossScaleOptimizer):
    """As Keras's; where overflows saturate it reads the device's flag, which all that was computed
    so far may have set, and clears it. Here the flag is whether a gradient is not finite."""

    def __init__(self, inner_optimizer, dynamic=True, initial_scale=None,
                 dynamic_growth_steps=None):
        super().__init__(inner_optimizer, dynamic, initial_scale, dynamic_growth_steps)
        self._last_step_finite = tf.Variable(False, trainable=False, name="npu_last_step_finite")
        record("NpuLossScaleOptimizer", inner=type(inner_optimizer).__name__, dynamic=dynamic)

    @property
    def last_step_finite(self):
        """Whether the last step was taken."""
        return self._last_step_finite

    def apply_gradients(self, grads_and_vars, name=None):
        """Apply unscaled gradients, or leave the step out and halve the scale."""
        if global_npu_ctx() is None or is_inf_nan_enabled():
            return super().apply_gradients(grads_and_vars, name)
        grads_and_vars = tuple(grads_and_vars)
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(g)) for g, _ in grads_and_vars])
        flags = all_reduce([1.0 - tf.cast(finite, tf.float32)], "sum", fusion=0)
        finite = tf.equal(flags[0], 0.0)
        self._last_step_finite.assign(finite)
        state = self._loss_scale
        state.current_loss_scale.assign(tf.where(
            finite, state.current_loss_scale, tf.maximum(state.current_loss_scale / 2, 1.0)))

        def take():
            self._optimizer.apply_gradients(grads_and_vars, name)
            return tf.constant(True)

        return tf.cond(finite, take, lambda: tf.constant(False))
