"""Where a run tells what happens: console, train.log, metrics.jsonl and TensorBoard."""

import contextlib
import json
import logging
from pathlib import Path

from tqdm import tqdm

from common.device.chip import on_host
from common.files import finite, full_disk, make_folder, write_text

log = logging.getLogger("sr_zoo")


class _TqdmHandler(logging.Handler):
    """Log lines that do not tear the progress bar."""

    def emit(self, record):
        tqdm.write(self.format(record))


class _FileHandler(logging.FileHandler):
    """Lines in a file; a full disk ends the run with one line, not with tracebacks."""

    def handleError(self, record):  # noqa: N802 - logging's name
        with full_disk(self.baseFilename):
            raise

    def close(self):
        with contextlib.suppress(OSError):
            super().close()


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
    with _handler(_FileHandler(path, encoding="utf-8")) as handler:
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

    Numbers that are not finite are null in the file.

    Args:
        folder: the run's folder.
        step: the step a run resumes after; rows that an interrupted run wrote later are dropped.
        rows: those until then, of the checkpoint; None: as the file has them.
    """

    def __init__(self, folder, step=0, rows=None):
        from common.nn.keras_compat import tf

        self.path = Path(folder) / "metrics.jsonl"
        rows = read_metrics(self.path) if rows is None else rows
        self.rows = [row for row in rows if row["step"] <= step]
        write_text(self.path, "".join(_line(row) for row in self.rows))
        self._file = self.path.open("a", encoding="utf-8", buffering=1)
        with on_host():
            self._tensorboard = tf.summary.create_file_writer(
                str(make_folder(Path(folder) / "logs")))
        self._summary = tf.summary

    def add(self, step, **values):
        """Record the scalars of a step.

        Raises:
            UserError: the disk is full.
        """
        row = finite({"step": step, **values})
        self.rows.append(row)
        with full_disk(self.path):
            self._file.write(_line(row))
        with on_host(), self._tensorboard.as_default():
            for name, value in values.items():
                self._summary.scalar(name, value, step=step)

    def add_image(self, step, name, image):
        """Record a uint8 RGB picture."""
        with on_host(), self._tensorboard.as_default():
            self._summary.image(name, image[None], step=step)

    def close(self):
        """Flush and close the files."""
        with contextlib.suppress(OSError):  # its rows are in the checkpoints
            self._file.close()
        with on_host():
            self._tensorboard.close()


def read_metrics(path):
    """The rows of a `metrics.jsonl`; lines that are damaged or cut off are left out."""
    rows = []
    if Path(path).is_file():
        for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, RecursionError):
                row = json.loads(line)
                if isinstance(row, dict) and isinstance(row.get("step"), int):
                    rows.append(row)
    return rows


def _line(row):
    return json.dumps(row, allow_nan=False) + "\n"
