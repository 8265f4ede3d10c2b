"""Whether a start goes on with an earlier run, and from which weights it begins."""

import logging
from pathlib import Path

from common import weights
from common.cli import UserError
from common.device.chip import at_once
from common.device.exchange import agree, share_state
from common.files import sha256

log = logging.getLogger("sr_zoo")


def what_to_resume(options, folder, fingerprint):
    """Which checkpoint a start goes on from.

    Args:
        options: of this start.
        folder: its `RunFolder`; a run that was put aside and not replaced is taken back.
        fingerprint: of the training images.

    Returns:
        None to start afresh, "auto" for the run in the folder, or the path of a checkpoint.

    Raises:
        UserError: the folder holds a run that this start would alter.
    """
    if options.resume == "no":
        return None
    folder.settle()
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


def restore(device, checkpoints, resume, folder, step):
    """Load a checkpoint into the run's state, of all processes; return its step, 0 for none.

    Best weights that are damaged, or newer than the checkpoint, are made again.

    Args:
        device: an open `Device`.
        checkpoints: the run's `Checkpoints`.
        resume: of `what_to_resume`; only the chief needs to know it.
        folder: the run's `RunFolder`.
        step: the training step that it restores.

    Raises:
        UserError: the checkpoint is damaged or of another network.
    """
    known = None
    if resume == "auto":
        checkpoints.restore_latest()
        known = checkpoints.record.get("best", "unknown")
    elif resume is not None:
        checkpoints.restore(resume)
        checkpoints.forget_best()  # a run continued in a new folder looks for its best anew
    share_state(device, checkpoints.tracked)
    if agree(device, int(known is not None and known != sha256(folder.best))):
        _remake_best(device, checkpoints, folder, step)
    start = int(checkpoints.step.numpy())
    if resume is not None:
        log.info("resuming after step %d", start)
    return start


def _remake_best(device, checkpoints, folder, step):
    # With `keep_last` the next validation writes them, or the run has ended with these.
    found = agree(device, int(step.keep_last or checkpoints.restore_best()))
    if found:
        share_state(device, checkpoints.tracked)
        weights.save(step.model, folder.best)
    if not step.keep_last:
        checkpoints.restore_latest()
    if not found:
        checkpoints.forget_best()
        log.warning("%s is missing or damaged, and so is the best checkpoint: the best is looked "
                    "for anew", folder.best)
    share_state(device, checkpoints.tracked)


def load_start(model, path, name):
    """Load the weights of `--load` into every layer that fits; return whether any did.

    Raises:
        UserError: no zoo weights, or of another model.
    """
    metadata = weights.read_metadata(path)
    if metadata["model"] != name:
        raise UserError(f"{path} holds weights of {metadata['model']}, not of {name}")
    with at_once():
        loaded = weights.load_into(model, path, partial=True)
    log.info("%d layers start from %s%s", len(loaded.loaded), path,
             f"; not in it: {', '.join(loaded.left_out)}" if loaded.left_out else "")
    return bool(loaded.loaded)
