"""What the devices of a run tell each other, be they of one process or of several."""

from common.device import npu
from common.nn.keras_compat import function, state_variables, tf

_answer = []


def count() -> int:
    """How many replicas there are, in all processes."""
    return tf.distribute.get_strategy().num_replicas_in_sync * npu.processes()


def rank():
    """Within a replica: its number among all, a scalar int32 tensor."""
    if npu.processes() > 1:
        return tf.constant(npu.opened().rank)
    return tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int32)


def add_up(gradients, logged):
    """Within a replica: the sums over all replicas, in one exchange.

    Args:
        gradients: list of tensors.
        logged: dict of scalar tensors.

    Returns:
        the same with the sums in it.
    """
    if count() == 1:
        return gradients, logged
    # Of an input TensorFlow does not know the device, and to exchange it must.
    values = [*gradients, *map(tf.identity, logged.values())]
    if npu.processes() > 1:
        values = npu.add_up(values)
    else:
        values = tf.distribute.get_replica_context().all_reduce("sum", values)
    return values[:len(gradients)], dict(zip(logged, values[len(gradients):]))


def first(values):
    """Outside of the replicas: from the dict that each returned, that of the first here."""
    strategy = tf.distribute.get_strategy()
    return {name: strategy.experimental_local_results(value)[0] for name, value in values.items()}


def spread(device, parts):
    """What the strategy of the device runs on, from one tuple of tensors for each local replica."""
    if device.strategy.num_replicas_in_sync == 1:
        return parts[0]
    offset = device.rank * device.local_replicas
    return tuple(device.strategy.experimental_distribute_values_from_function(
        lambda context, values=values: values[context.replica_id_in_sync_group - offset])
        for values in zip(*parts))


def agree(device, value=0):
    """Give every process an integer of rank 0, at a point to which all of them come."""
    if device.processes == 1:
        return value
    own = value if device.is_chief else 0
    if device.chip == "npu":
        if not _answer:  # made once, since the exchange is compiled for each variable
            _answer.append(tf.Variable(0, dtype=tf.int32, trainable=False))
        _answer[0].assign(own)
        npu.broadcast(_answer)
        return int(_answer[0].numpy())
    strategy = device.strategy
    values = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(own if context.replica_id_in_sync_group == 0 else 0))
    return int(strategy.reduce("sum", values, axis=None).numpy())


def share_state(device, tracked):
    """Give every process the state of rank 0: weights, optimizers, counters.

    Args:
        device: a `Device`.
        tracked: list of models, optimizers and `tf.Variable`s, as in a checkpoint.
    """
    if device.processes == 1:
        return
    variables = [variable for thing in tracked for variable in state_variables(thing)]
    if device.chip == "npu":
        npu.broadcast(variables)
        return
    by_type = {}
    for variable in variables:
        by_type.setdefault(variable.dtype.base_dtype, []).append(variable)

    def of_first(same):
        context = tf.distribute.get_replica_context()
        mine = tf.equal(context.replica_id_in_sync_group, 0)
        values = [tf.convert_to_tensor(variable) for variable in same]
        return context.all_reduce("sum", [tf.where(mine, v, tf.zeros_like(v)) for v in values])

    @function
    def exchange():
        for same in by_type.values():
            for variable, value in zip(same, device.strategy.run(of_first, args=(same,))):
                variable.assign(device.strategy.experimental_local_results(value)[0])

    exchange()
