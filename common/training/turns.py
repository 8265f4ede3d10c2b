"""Compiled training steps that take their batches themselves, several in one call if asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from common.device import chip
from common.nn.keras_compat import function, tf
from common.training.meters import Window


class Turns:
    """Takes training steps, of which the host does nothing between the calls of one function.

    Args:
        step: the training step, see `steps.PixelStep`.
        window: sums up what the steps log.
        most: how many steps a call takes at most. For 1 there is a loop in the function only where
            that costs nothing: the compiler may round otherwise without it.
    """

    def __init__(self, step: Any, window: Window, most: int = 1):
        self._step, self._window = step, window
        self._looped = most > 1 or chip.runs_loops()
        self._compiled, self._count = {}, None

    def __call__(self, batches: Any, scale: int, count: int = 1,
                 stop: np.ndarray | None = None) -> tf.Tensor | None:
        """Take `count` steps.

        Args:
            batches: iterator over (lr, hr, what else the step needs, learning rates).
            scale: of all these batches.
            count: at most `most`.
            stop: a float32 number of this process, of which all are to know the sum.

        Returns:
            the sum of `stop`, None if it was not given.
        """
        if scale not in self._compiled:
            self._compiled[scale] = function(self._several(scale) if self._looped
                                             else self._one(scale))
        if not self._looped:
            return self._compiled[scale](batches, stop)
        if count != self._count:
            self._count = count
            chip.steps_in_a_call(count)
        return self._compiled[scale](batches, stop, np.asarray(count, np.int32))

    def _one(self, scale):
        def take(batches, stop):
            *batch, rates = next(batches)
            logged = self._step(batch, rates, scale, stop)
            told = logged.pop("stop", None)
            self._window.add(logged)
            return told
        return take

    def _several(self, scale):
        one = self._one(scale)

        def take(batches, stop, count):
            def body(done, _):
                told = one(batches, stop)
                return done + 1, 0.0 if told is None else told

            # An NPU runs this loop itself: its turns share no value, and nothing follows it.
            told = tf.while_loop(lambda done, _: done < count, body, (0, 0.0),
                                 parallel_iterations=1)[1]
            return None if stop is None else told
        return take
