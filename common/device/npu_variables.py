"""The variables of an NPU, written and read many at a time.

For each operation on a variable outside a function the adapter builds a graph, runs it once and
throws it away. Within `at_once` there is one function to read and one to write them all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from tensorflow.python.eager import context
from tensorflow.python.ops.resource_variable_ops import UninitializedVariable
from tensorflow.python.training.saving.saveable_object_util import ResourceVariableSaveable

from common.device import npu
from common.nn.keras_compat import function, tf

_values = {}  # within `at_once`, id of a variable: what it is read as
_written = None  # within `at_once`, {id of a variable: (variable, new value)}


class _Variable(UninitializedVariable):
    """A variable that within `at_once` keeps its new value until the end, and is read from there.

    Its initial value is the first that is assigned.
    """

    def assign(self, value, use_locking=None, name=None, read_value=True):
        """As of any variable."""
        if _written is None or not context.executing_eagerly():
            return super().assign(value, use_locking, name, read_value)
        with npu.on_host():
            value = tf.identity(tf.convert_to_tensor(value, self.dtype))
        self.shape.assert_is_compatible_with(value.shape)
        _values[id(self)] = value
        _written[id(self)] = self, value
        return self

    def _read_variable_op(self):
        if context.executing_eagerly() and id(self) in _values:
            return _values[id(self)]
        return super()._read_variable_op()

    def _gather_saveables_for_checkpoint(self):
        return {"VARIABLE_VALUE": lambda name: _Saved(self, "", name)}


class _Saved(ResourceVariableSaveable):
    """How a checkpoint restores a variable."""

    def restore(self, restored_tensors, restored_shapes):
        return self.op.assign(restored_tensors[0])


@contextlib.contextmanager
def at_once(variables: Sequence[tf.Variable] = (),
            read: Callable[[], list[tf.Tensor]] | None = None) -> Iterator[None]:
    """Within `with`, variables are made, assigned and read without an operation for each.

    Such blocks must not be nested.

    What is assigned is written at the end, by one function. Compiled functions and collectives must
    not use a variable that was assigned before in the block.

    Args:
        variables: those that the block reads, which were made in such a block.
        read: compiled function to the values of all of them.
    """
    global _written
    if variables:
        _values.update(zip(map(id, variables), read()))
    written = _written = {}
    try:
        with tf.variable_creator_scope(_create):
            yield
    finally:
        _written = None
        _values.clear()
    if written:
        targets, values = zip(*written.values())

        @function
        def write(values):
            for variable, value in zip(targets, values):
                variable.assign(value)

        write(values)


def _create(_, initial_value=None, shape=None, dtype=None, trainable=None, **options):
    with npu.on_host():
        value = tf.convert_to_tensor(initial_value() if callable(initial_value) else initial_value,
                                     dtype)
    variable = _Variable(shape=value.shape, dtype=value.dtype, trainable=trainable is not False,
                         **options)
    variable.assign(value)
    return variable
