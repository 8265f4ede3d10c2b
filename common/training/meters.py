"""Counters of the loop: means of the losses, where the time goes, signals received."""

import signal
import time

from common.nn.keras_compat import function, tf


class Window:
    """Means of the logged values since the last call of `means`, summed up on the device.

    Args:
        names: of the values.

    Attributes:
        sums: the variable, a number for each name.
        steps: how many steps were added; who takes them counts them.
    """

    def __init__(self, names):
        self._names, self.steps = names, 0
        self.sums = tf.Variable(tf.zeros(len(names)), trainable=False, name="sums")

        def read():
            sums = tf.identity(self.sums)
            self.sums.assign(tf.zeros_like(sums))
            return sums

        self._read = function(read)

    def add(self, values):
        """Add a dict of scalar tensors, within the compiled step."""
        self.sums.assign_add(tf.stack([values[name] for name in self._names]))

    def means(self):
        """The means as floats, {} of no steps; a new window begins."""
        sums, steps, self.steps = self._read().numpy(), self.steps, 0
        return {name: float(total) / steps for name, total in zip(self._names, sums) if steps}


class Clock:
    """Time of the loop: in steps, waiting for data, and in total without validation and saving.

    The first turn is left out, since it compiles. On a GPU a step returns before it is done, so
    only `seconds_per_step` is meaningful there. Of a turn of several steps only the wait for the
    first is known.
    """

    def __init__(self, batch_size):
        self._batch_size = batch_size
        self._began, self._steps = None, 0
        self._paused = self._wait = self._step = 0.0
        self._made = {}

    def made(self, step):
        """Note that a step's batch is made; called by the threads that make them."""
        self._made[step] = time.perf_counter()

    def lap(self, steps, began, ended):
        """Add a turn of the loop.

        Args:
            steps: the range of the steps that it took.
            began, ended: when it took them, in seconds of `time.perf_counter`; until now the loop
                was busy with other work.
        """
        made = [self._made.pop(step, began) for step in steps]
        if self._began is None:
            self._began = time.perf_counter()
            return
        wait = max(0.0, made[0] - began)
        self._steps += len(steps)
        self._wait += wait
        self._step += ended - began - wait
        self._paused += time.perf_counter() - ended

    def read(self):
        """The times so far, per step; {} before the second turn."""
        if not self._steps:
            return {}
        total = time.perf_counter() - self._began - self._paused
        return {"seconds_per_step": total / self._steps, "step_seconds": self._step / self._steps,
                "data_wait": self._wait / total,
                "images_per_sec": self._batch_size * self._steps / total}


class Signals:
    """Within `with`, SIGTERM and Ctrl-C set `received`, and the current step is finished.

    A second one takes effect at once.
    """

    def __init__(self):
        self.received = 0

    def __enter__(self):
        self._before = {s: signal.signal(s, self._note) for s in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, _):
        self.received = number
        signal.signal(number, self._before[number])
