"""How the devices of a run exchange values, within one process and between several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from common.device import npu
from common.nn.keras_compat import function, state_variables, tf

if TYPE_CHECKING:
    from common.device.device import Device

_answer = []


def count() -> int:
    """How many replicas there are, in all processes."""
    return tf.distribute.get_strategy().num_replicas_in_sync * npu.processes()


def add_up(gradients: list[tf.Tensor],
           logged: dict[str, tf.Tensor]) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
    """Sum tensors over all replicas in one exchange; called within a replica.

    Args:
        gradients: list of tensors.
        logged: dict of scalar tensors.

    Returns:
        both, with the sums.
    """
    if count() == 1:
        return gradients, logged
    # TensorFlow does not know on which device an input is, which an exchange requires.
    values = [*gradients, *map(tf.identity, logged.values())]
    if npu.processes() > 1:
        values = npu.add_up(values)
    else:
        values = tf.distribute.get_replica_context().all_reduce("sum", values)
    return values[:len(gradients)], dict(zip(logged, values[len(gradients):]))


def first_of(value: Any) -> tf.Tensor:
    """A value of this process's first replica: from an iterator, or a result of `strategy.run`."""
    return tf.distribute.get_strategy().experimental_local_results(value)[0]


def agree(device: Device, value: int = 0) -> int:
    """Give every process the integer of rank 0; all processes have to call it."""
    if device.processes == 1:
        return value
    own = value if device.is_chief else 0
    if device.chip == "npu":
        if not _answer:  # made once, as each variable's exchange is compiled
            _answer.append(tf.Variable(0, dtype=tf.int32, trainable=False))
        _answer[0].assign(own)
        npu.broadcast(_answer)
        return int(_answer[0].numpy())
    strategy = device.strategy
    values = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(own if context.replica_id_in_sync_group == 0 else 0))
    return int(strategy.reduce("sum", values, axis=None).numpy())


def share_state(device: Device, tracked: list) -> None:
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
