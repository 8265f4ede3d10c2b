"""Where a run tells what happens: console, train.log, metrics.jsonl and TensorBoard."""

import contextlib
import json
import logging
from pathlib import Path

from tqdm import tqdm

from common.files import write_text

log = logging.getLogger("sr_zoo")


class _TqdmHandler(logging.Handler):
    """Log lines that do not tear the progress bar."""

    def emit(self, record):
        tqdm.write(self.format(record))


@contextlib.contextmanager
def log_to_console():
    """Within `with`, the zoo's log lines go to the console."""
    log.setLevel(logging.INFO)
    log.propagate = False
    with _handler(_TqdmHandler()):
        yield


@contextlib.contextmanager
def log_file(path):
    """Within `with`, the zoo's log lines go to the end of a file too."""
    with _handler(logging.FileHandler(path, encoding="utf-8")) as handler:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        yield


@contextlib.contextmanager
def _handler(handler):
    log.addHandler(handler)
    try:
        yield handler
    finally:
        log.removeHandler(handler)
        handler.close()


class Metrics:
    """`metrics.jsonl` (one object per logged step or validation) and TensorBoard scalars.

    Args:
        folder: the run's folder.
        step: the step a run resumes after; rows that an interrupted run wrote later are dropped.
    """

    def __init__(self, folder, step=0):
        from common.nn.keras_compat import tf

        self.path = Path(folder) / "metrics.jsonl"
        self.rows = [row for row in read_metrics(self.path) if row["step"] <= step]
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in self.rows))
        self._file = self.path.open("a", encoding="utf-8", buffering=1)
        self._tensorboard = tf.summary.create_file_writer(str(Path(folder) / "logs"))
        self._summary = tf.summary

    def add(self, step, **values):
        """Record the scalars of a step."""
        row = {"step": step, **values}
        self.rows.append(row)
        self._file.write(json.dumps(row) + "\n")
        with self._tensorboard.as_default():
            for name, value in values.items():
                self._summary.scalar(name, value, step=step)

    def add_image(self, step, name, image):
        """Record a uint8 RGB picture."""
        with self._tensorboard.as_default():
            self._summary.image(name, image[None], step=step)

    def close(self):
        """Flush and close the files."""
        self._tensorboard.close()
        self._file.close()


def read_metrics(path):
    """The rows of a `metrics.jsonl`; a last line cut off by a kill is left out."""
    rows = []
    if Path(path).is_file():
        for line in Path(path).read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
    return rows
