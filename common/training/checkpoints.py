"""Training state on disk: the last few checkpoints and the best, whole after any kill."""

import logging
from pathlib import Path

import numpy as np

from common.cli import UserError
from common.nn.keras_compat import tf

log = logging.getLogger("sr_zoo")


class Checkpoints:
    """Model, optimizer, step and best metric of a run in `<folder>/step-N.*` and `<folder>/best/`.

    TensorFlow writes each file under a temporary name and renames it, and only then points to it.

    Args:
        folder: where.
        tracked: dict of trackable objects, e.g. of a step's `tracked`.
        keep: how many are kept beside the best.
    """

    def __init__(self, folder, tracked, keep=3):
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        # 32 bits, since an NPU has no others; `beats_best` rounds in the same way.
        self.best = tf.Variable(-1.0, dtype=tf.float32, trainable=False, name="best")
        self.tracked = [*tracked.values(), self.step, self.best]
        self._checkpoint = tf.train.Checkpoint(step=self.step, best=self.best, **tracked)
        # TensorFlow creates it on first use, with a collective: all processes must do so here.
        self._checkpoint.save_counter.numpy()
        self._last = tf.train.CheckpointManager(self._checkpoint, str(folder), max_to_keep=keep,
                                                checkpoint_name="step")
        self._best = tf.train.CheckpointManager(self._checkpoint, str(Path(folder) / "best"),
                                                max_to_keep=1, checkpoint_name="step")

    def save(self, step):
        """Keep the state after `step` optimizer steps."""
        self.step.assign(step)
        self._last.save(checkpoint_number=step)

    def beats_best(self, metric):
        """Whether a metric is better than the best so far."""
        return np.float32(metric) > self.best.numpy()

    def save_best(self, step, metric):
        """Keep the state as the best so far, with its metric."""
        self.step.assign(step)
        self.best.assign(metric)
        self._best.save(checkpoint_number=step)

    def forget_best(self):
        """Make the next validation the best so far."""
        self.best.assign(-1.0)

    def restore_latest(self):
        """Restore the newest checkpoint that can be read; return its step, 0 if there is none.

        Raises:
            UserError: there are checkpoints, but none fits or can be read.
        """
        paths = list(reversed(self._last.checkpoints))
        for path in paths:
            try:
                return self.restore(path)
            except UserError as error:
                log.warning("%s; trying an older one", error)
        if paths:
            raise UserError(f"no checkpoint in {self._last.directory} can be restored; --resume no "
                            "starts over")
        return 0

    def restore(self, path):
        """Restore one checkpoint: its path without suffix, or a folder that holds some.

        Returns:
            the step after which it was saved.

        Raises:
            UserError: nothing there, damaged, or of another network or optimizer.
        """
        prefix = find_checkpoint(path)
        try:
            self._checkpoint.restore(prefix).assert_existing_objects_matched()
        except (tf.errors.OpError, ValueError, IndexError, AssertionError) as error:
            raise UserError(f"checkpoint {prefix} is damaged or of another network "
                            f"({type(error).__name__})") from error
        return int(self.step.numpy())


def find_checkpoint(path):
    """The prefix of the checkpoint that a user names: prefix, one of its files, or a folder.

    Raises:
        UserError: no checkpoint there.
    """
    path = Path(path)
    if path.suffix in (".h5", ".keras"):
        raise UserError(f"{path} holds weights, not a run; start from them with --load")
    for folder in (path, path / "checkpoints"):
        if folder.is_dir() and tf.train.latest_checkpoint(str(folder)):
            return tf.train.latest_checkpoint(str(folder))
    prefix = path.with_suffix("") if path.suffix == ".index" else path
    if prefix.name and Path(f"{prefix}.index").is_file():
        return str(prefix)
    raise UserError(f"no checkpoint at {path}; name a run's folder or a checkpoint without suffix")
