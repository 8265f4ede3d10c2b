"""Record the operations that run outside of compiled functions: a graph each for the adapter."""

from collections import Counter
from contextlib import contextmanager


@contextmanager
def recorded():
    """Count the operations that the block runs eagerly, by type; calls of functions do not count.

    Yields:
        a Counter that fills while the block runs.
    """
    from tensorflow.python.framework import op_callbacks, op_def_registry

    counts = Counter()

    def note(op_type, inputs, attrs, outputs, op_name=None, graph=None):
        if graph is None and op_def_registry.get(op_type) is not None:
            counts[op_type] += 1

    op_callbacks.add_op_callback(note)
    try:
        yield counts
    finally:
        op_callbacks.remove_op_callback(note)
