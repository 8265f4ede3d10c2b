"""Whether a start goes on with an earlier run, and from which weights it begins."""

import logging
from pathlib import Path

from common import weights
from common.cli import UserError

log = logging.getLogger("sr_zoo")


def what_to_resume(options, folder, fingerprint):
    """Which checkpoint a start goes on from.

    Args:
        options: of this start.
        folder: its `RunFolder`.
        fingerprint: of the training images.

    Returns:
        None to start afresh, "auto" for the run in the folder, or the path of a checkpoint.

    Raises:
        UserError: the folder holds a run that this start would alter.
    """
    if options.resume == "no":
        return None
    here = folder.holds_run()
    itself = Path(options.resume).resolve() == folder.path.resolve()
    if options.resume == "auto" or (here and (itself or folder.started_from(options.resume))):
        if not here:
            return None
        folder.check_same(options, fingerprint)
        return "auto"
    if here and folder.path.resolve() not in Path(options.resume).resolve().parents:
        raise UserError(f"{folder.path} already holds another run than {options.resume}; choose "
                        "another --output_dir")
    return options.resume


def restore(checkpoints, resume, folder):
    """Load a checkpoint into the run's state; return the step it was saved after, 0 for none.

    Args:
        checkpoints: the run's `Checkpoints`.
        resume: of `what_to_resume`.
        folder: the run's `RunFolder`.

    Raises:
        UserError: the checkpoint is damaged or of another network.
    """
    if resume is None:
        return 0
    start = checkpoints.restore_latest() if resume == "auto" else checkpoints.restore(resume)
    if not folder.best.is_file():  # a run continued in a new folder looks for its best anew
        checkpoints.forget_best()
    log.info("resuming after step %d", start)
    return start


def load_start(model, path, name):
    """Load the weights of `--load` into every layer that fits; return whether any did.

    Raises:
        UserError: no zoo weights, or of another model.
    """
    metadata = weights.read_metadata(path)
    if metadata["model"] != name:
        raise UserError(f"{path} holds weights of {metadata['model']}, not of {name}")
    loaded = weights.load_into(model, path, partial=True)
    log.info("%d layers start from %s%s", len(loaded.loaded), path,
             f"; not in it: {', '.join(loaded.left_out)}" if loaded.left_out else "")
    return bool(loaded.loaded)
