"""Training state on disk: the last few checkpoints and the best, whole after any kill."""

import logging
import re
from pathlib import Path

import numpy as np

from common.cli import UserError
from common.device.chip import at_once
from common.files import NoRoom, put_in_place, temporary_folder, write_text
from common.nn.keras_compat import tf
from common.training.checkpoint_files import (
    checkpoints_in,
    named_checkpoints,
    read_sealed,
    remove,
    step_of,
    write_sealed,
)

_NO_ROOM = re.compile("No space left on device|Disk quota exceeded|File too large")

log = logging.getLogger("sr_zoo")


class Checkpoints:
    """Model, optimizer, step and best metric of a run in `<folder>/step-N.*` and `<folder>/best/`.

    Args:
        folder: where.
        tracked: dict of trackable objects, e.g. of a step's `tracked`.
        keep: how many are kept beside the best.
    """

    def __init__(self, folder, tracked, keep=3):
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        # 32 bits, since an NPU has no others; `beats_best` rounds in the same way.
        self.best = tf.Variable(-1.0, dtype=tf.float32, trainable=False, name="best")
        self.record = {}
        self._checkpoint = tf.train.Checkpoint(step=self.step, best=self.best, **tracked)
        # TensorFlow creates the counter on first use, with a collective: all processes must do so
        # here.
        self.tracked = [*tracked.values(), self.step, self.best, self._checkpoint.save_counter]
        self._folder, self._keep = Path(folder), keep

    def save(self, step, record=None):
        """Keep the state after `step` optimizer steps, and the record of the run so far.

        Args:
            step: how many.
            record: a dict for JSON, which is `record` again when this checkpoint is restored.

        Raises:
            UserError: the disk is full.
        """
        self.step.assign(step)
        self._write(self._folder, step, self._keep, record or {})

    def beats_best(self, metric):
        """Whether a metric is better than the best so far."""
        return np.float32(metric) > self.best.numpy()

    def save_best(self, step, metric):
        """Keep the state as the best so far, with its metric."""
        self.step.assign(step)
        self.best.assign(metric)
        self._write(self._folder / "best", step, 1, {})

    def forget_best(self):
        """Make the next validation the best so far."""
        self.best.assign(-1.0)

    def newest(self):
        """The step of the newest checkpoint, 0 if there is none."""
        return max(map(step_of, checkpoints_in(self._folder)), default=0)

    def restore_latest(self):
        """Restore the newest checkpoint that is whole; return its step, 0 if there is none.

        Raises:
            UserError: there are checkpoints, but none fits or can be read.
        """
        return self._restore_first(checkpoints_in(self._folder), self._folder)

    def restore_best(self):
        """Restore the best state so far; return whether there is one that can be read."""
        try:
            return bool(self._restore_first(checkpoints_in(self._folder / "best"), self._folder))
        except UserError:
            return False

    def restore(self, path):
        """Restore one checkpoint: its path without suffix, or a folder that holds some.

        Returns:
            the step after which it was saved.

        Raises:
            UserError: nothing there, damaged, or of another network or optimizer.
        """
        return self._restore_first(named_checkpoints(path), path)

    def _restore_first(self, paths, folder):
        """Restore the first that is whole, else the first without a whole record."""
        for path in paths:
            record = read_sealed(f"{path}.json")
            try:
                if record is None:
                    raise UserError(f"checkpoint {path} is damaged: {path.name}.json")
                return self._read(path, record)
            except UserError as error:
                if len(paths) > 1:
                    log.warning("%s; trying an older one", error)
                elif record is not None:
                    raise
        for path in paths:
            if read_sealed(f"{path}.json") is None:
                try:
                    return self._read(path, {})
                except UserError as error:
                    if len(paths) == 1:
                        raise
                    log.warning("%s", error)
        if paths:
            raise UserError(f"no checkpoint in {folder} can be restored; --resume no starts over")
        return 0

    def _read(self, path, record):
        try:
            with at_once():
                self._checkpoint.restore(str(path)).assert_existing_objects_matched()
        except (tf.errors.OpError, ValueError, IndexError, AssertionError) as error:
            raise UserError(f"checkpoint {path} is damaged or of another network "
                            f"({type(error).__name__})") from error
        self.record = record
        return int(self.step.numpy())

    def _write(self, folder, step, keep, record):
        """Write beside, and move into place file by file; the index, by which it counts, last."""
        name = f"step-{step}"
        with temporary_folder(folder / name) as beside:
            try:
                self._checkpoint.write(str(beside / name))
            except tf.errors.OpError as error:
                full = _NO_ROOM.search(error.message)
                if not full:
                    raise
                raise NoRoom(f"cannot write the checkpoint {folder / name}: {full.group()}; make "
                             "room and repeat the command") from error
            write_sealed(beside / f"{name}.json", record)
            for path in sorted(beside.iterdir(), key=lambda path: path.suffix == ".index"):
                put_in_place(path, folder / path.name)
        # What lies ahead of the step could not be read, or the run would have gone on from there.
        kept = [path for path in checkpoints_in(folder) if step_of(path) <= step][:keep]
        for path in checkpoints_in(folder):
            if path not in kept:
                remove(path)
        # For other programs that look for checkpoints; nothing here reads it.
        write_text(folder / "checkpoint", f'model_checkpoint_path: "{name}"\n' + "".join(
            f'all_model_checkpoint_paths: "{path.name}"\n' for path in reversed(kept)))


def find_checkpoint(path):
    """The prefix of the newest checkpoint that a user names; see `named_checkpoints`."""
    return str(named_checkpoints(path)[0])
