"""A run from its options to its summary: started, resumed, only evaluated, or found finished."""

import contextlib
import logging
import math
import tempfile
import time
from pathlib import Path

from common import weights
from common.cli import UserError
from common.device.chip import at_once
from common.device.exchange import agree
from common.files import temporary_prefix
from common.scales import scale_name, scale_tuple
from common.training.events import log_file, log_to_console
from common.training.length import Length
from common.training.lock import locked
from common.training.loop import Loop
from common.training.material import find_material
from common.training.options import chip_options
from common.training.resume import load_start, what_to_resume
from common.training.run_folder import RunFolder, default_folder
from common.training.schedules import check_periods
from common.training.summary import measure, report

FAILED = -1

log = logging.getLogger("sr_zoo")


def train(recipe, options, device=None, cache=None, began=None):
    """Train a model as its options say: start, resume, evaluate or report the run that is there.

    Args:
        recipe: the model's `Recipe`.
        options: an instance of its options class.
        device: an open `Device`; None: opened as the options say, with log lines on the console.
            With several processes all do the same, and only the chief writes into the run's folder.
        cache: folder of prepared images; None: in the run's folder.
        began: from when `max_minutes` count, of `time.monotonic`; None: from now.

    Returns:
        the summary, as in `summary.json`; None of a process that is not asked to measure.

    Raises:
        UserError: data, options or the output folder do not allow it. An earlier run in the output
            folder is then as it was.
    """
    from common.device.open import open_device

    if device is None:
        with log_to_console():
            device = open_device(options.chip, options.precision, chip_options(options))
            with device.together():
                return train(recipe, options, device, cache, began)
    began = time.monotonic() if began is None else began
    path = Path(options.output_dir or default_folder(recipe.name, options.scale))
    with _writing_folder(path, device, lock=not options.evaluate_only) as own:
        folder = RunFolder(own, recipe.name, options.scale)
        # All processes share what is prepared of the images.
        material = find_material(options, cache or path / "cache")
        if options.evaluate_only:
            return _evaluate(recipe, options, folder, material) if device.is_chief else None
        return _start(recipe, options, device, folder, material, began)


def check_later_stage(recipe, options, device, cache):
    """Validate a later stage before hours of training.

    Args:
        recipe, options, device, cache: as of `train`.

    Raises:
        UserError: what `train` would refuse.
    """
    with _writing_folder(Path(options.output_dir), device) as own:
        folder = RunFolder(own, recipe.name, options.scale)
        material = find_material(options, cache)
        _decided(device, lambda: bool(what_to_resume(options, folder, material.fingerprint)))
        _check(options, device, Length(options, material.images))
        with device.strategy.scope(), at_once():
            _build(recipe, options)


def _start(recipe, options, device, folder, material, began):
    length = Length(options, material.images)
    resume, summary = None, None

    def decide():
        nonlocal resume, summary
        resume = what_to_resume(options, folder, material.fingerprint)
        summary = folder.read_summary() if resume == "auto" else None
        finished = summary and summary["steps"] >= length.total
        damaged = folder.damaged() if finished else []
        if damaged:
            log.info("%s holds a finished run; missing, changed or damaged, so made again: %s",
                     folder.path, ", ".join(map(str, damaged)))
        return bool(finished and not damaged)

    if _decided(device, decide):
        if device.is_chief:
            log.info("%s holds a finished run of %d steps (--resume no starts over):",
                     folder.path, summary["steps"])
            report(summary, folder)
        return summary
    _check(options, device, length)
    with device.strategy.scope(), at_once():
        step = _build(recipe, options)
    if options.load:  # the other processes are given the chief's state
        _decided(device, lambda: load_start(step.trained, options.load, recipe.name))
    until = began + 60 * (options.max_minutes or math.inf)
    loop = Loop(recipe, options, step, device, folder, material, length, until)
    if resume is None:
        folder.clear()
    folder.begin(options, material.fingerprint)
    with log_file(folder.path / "train.log"):
        return loop.run(resume)


def _check(options, device, length):
    if options.batch_size % device.replicas:
        raise UserError(f"--batch_size {options.batch_size} cannot be shared equally by "
                        f"{device.replicas} devices")
    check_periods(options, length.total)


@contextlib.contextmanager
def _writing_folder(path, device, lock=True):
    """The run's folder, locked; a temporary one for a process that is not the chief."""
    with contextlib.ExitStack() as stack:
        if lock:
            _decided(device, lambda: bool(stack.enter_context(locked(path))))
        if device.is_chief:
            yield path
            return
        yield stack.enter_context(_other_folder())


@contextlib.contextmanager
def _other_folder():
    log.setLevel(logging.WARNING)  # it would repeat what the chief says
    try:
        where = tempfile.gettempdir()
        with tempfile.TemporaryDirectory(prefix=temporary_prefix(where, "sr_zoo")) as folder:
            yield folder
    finally:
        log.setLevel(logging.INFO)


def _decided(device, decide):
    """What the chief decides, as an integer that all processes have; they end where it fails."""
    if device.processes == 1:
        return decide()
    try:
        answer = int(decide()) if device.is_chief else 0
    except BaseException:
        agree(device, FAILED)
        raise
    answer = agree(device, answer)
    if answer == FAILED:
        raise UserError("stopped because process 0 failed; see its log")
    return answer


def _evaluate(recipe, options, folder, material):
    source = Path(options.load) if options.load else folder.best
    if source in folder.damaged():
        raise UserError(f"{source} is damaged; the command that trained it makes it again")
    if not source.is_file():
        raise UserError(f"nothing to evaluate: no weights {source}; name some with --load")
    metadata = weights.read_metadata(source)
    held = scale_tuple(metadata["scale"])
    if metadata["model"] != recipe.name or held != scale_tuple(options.scale):
        raise UserError(f"{source} holds {metadata['model']} {scale_name(held)}, not {recipe.name} "
                        f"{scale_name(options.scale)}")
    for key, value in metadata["options"].items():
        if hasattr(options, key):
            setattr(options, key, tuple(value) if isinstance(value, list) else value)
    step = _build(recipe, options)
    weights.load_into(step.model, source)
    summary, _ = measure(recipe.name, options.scale, material.validation(step.model))
    report(summary)
    return summary


def _build(recipe, options):
    from common.nn.keras_compat import set_seed

    set_seed(options.seed)
    return recipe.build_step(options)
