"""The progress bar of a training, and what the loop logs while it runs."""

import logging
import sys

from tqdm import tqdm

log = logging.getLogger("sr_zoo")


class Progress:
    """A bar over the steps of the run, or over those of each epoch where a model's log has that.

    Args:
        name: of the model.
        lines: its `Lines`.
        length: the run's `Length`.
        start: steps done before.
        silent: whether nothing is shown.
    """

    def __init__(self, name, lines, length, start, silent):
        self._name, self._lines, self._length, self._silent = name, lines, length, silent
        self._epoch = None
        self.bar = None if lines.per_epoch else self._open(length.total, start)

    def begin(self, done):
        """Call before each turn; its first step will be the `done`-th."""
        epoch, size = (done - 1) // self._length.epoch, self._length.epoch
        if self._lines.per_epoch and epoch != self._epoch:
            self._epoch = epoch
            self.close()
            log.info(self._lines.begin_epoch(epoch + 1))
            last = min(size, self._length.total - epoch * size)
            self.bar = self._open(last, done - 1 - epoch * size)

    def close(self):
        """Leave the bar as it stands."""
        if self.bar is not None:
            self.bar.close()

    def _open(self, total, start):
        # In a log file a bar line every half minute is enough.
        return tqdm(total=total, initial=start, desc=f"{self._name} training", unit="it",
                    dynamic_ncols=True, mininterval=0.2 if sys.stderr.isatty() else 30,
                    disable=self._silent)
