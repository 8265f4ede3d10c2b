"""Counters of the loop: means of the losses, where the time goes, signals received."""

import signal
import time


class Window:
    """Means of the logged values since the last call of `means`, summed up on the device."""

    def __init__(self):
        self._sums, self._count = {}, 0

    def add(self, values):
        """Add a dict of scalar tensors; an empty one is that of a step that was left out."""
        for key, value in values.items():
            self._sums[key] = self._sums[key] + value if key in self._sums else value
        self._count += bool(values)

    def means(self):
        """The means as floats, {} of no steps; a new window begins."""
        means = {key: float(total) / self._count for key, total in self._sums.items()}
        self._sums, self._count = {}, 0
        return means


class Clock:
    """Time of the loop: in steps, waiting for data, and in total without validation and saving.

    The first step is left out, since it compiles. On a GPU a step returns before it is done, so
    only `seconds_per_step` is meaningful there.
    """

    def __init__(self, batch_size):
        self._batch_size = batch_size
        self._laps = -1
        self._began = self._paused = self._wait = self._step = 0.0
        self._first = True

    def lap(self, wait, step, pause):
        """Add the seconds of one turn of the loop."""
        self._laps += 1
        if self._laps == 0:
            self._began = time.perf_counter()
            return
        self._wait += wait
        self._step += step
        self._paused += pause

    def read(self):
        """The times so far, per step; {} before the second step."""
        if self._laps < 1:
            return {}
        total = time.perf_counter() - self._began - self._paused
        return {"seconds_per_step": total / self._laps, "step_seconds": self._step / self._laps,
                "data_wait": self._wait / total,
                "images_per_sec": self._batch_size * self._laps / total}


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
