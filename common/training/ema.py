"""The exponential moving average of a network's weights: steadier than the weights themselves."""

from common.nn.keras_compat import tf


class Ema:
    """Keeps the average in a second network of the same layers.

    The first update copies, so that an average over loaded weights starts from these; at first the
    decay is (1 + n) / (10 + n) after n updates, if that is less, so that untrained weights
    are soon forgotten.

    Args:
        model: the network that learns.
        average: another one built with the same options.
        decay: share of the old average in each update, e.g. 0.999.
    """

    def __init__(self, model, average, decay):
        self.average = average
        self.updates = tf.Variable(0, dtype=tf.int64, trainable=False, name="ema_updates")
        self.tracked = {"average": average, "ema_updates": self.updates}
        self._pairs = list(zip(average.variables, model.variables))
        self._decay = decay

    def update(self):
        """Take up the network's weights; called outside the replicas, after their update."""
        count = tf.cast(self.updates, tf.float32)
        decay = tf.where(self.updates == 0, 0.0,
                         tf.minimum(self._decay, (1 + count) / (10 + count)))
        for mean, variable in self._pairs:
            value = tf.convert_to_tensor(variable)
            # Moving averages of a batch normalisation are averages already, but of these weights.
            mean.assign(value + tf.cast(decay, value.dtype) * (mean - value))
        self.updates.assign_add(1)


def averaged(model, another, decay):
    """The `Ema` of a model, kept in `another(model)`; None where `decay` is 0."""
    return Ema(model, another(model), decay) if decay else None
