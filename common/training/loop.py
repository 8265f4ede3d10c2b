"""The one training loop: data in, steps, validation, checkpoints, reports, weights out."""

import contextlib
import logging
import math
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from common import weights
from common.cli import UserError
from common.data.patches import patch_dataset
from common.device.exchange import agree, share_state, spread
from common.files import temporary_prefix
from common.images import write_image
from common.scales import scale_name, scale_tuple
from common.training.material import find_material
from common.training.meters import Clock, Signals, Window
from common.training.options import npu_options
from common.training.reports import (
    Lines,
    Metrics,
    draw_curves,
    log,
    log_file,
    log_to_console,
    sample_sheet,
)
from common.training.run_folder import RunFolder, default_folder
from common.training.schedules import batch_factor, check_periods, learning_rate

SAMPLES = 4
ENLARGED = {"side": 96, "zoom": 3}
FULL_SIZE = {"side": 288, "zoom": 1}  # where it is to look right, not to measure right
FAILED = -1


def train(name, options, build_step, lines=None, on_save=None, device=None, cache=None):
    """Train a model as its options say, or go on with, finish or measure the run that is there.

    Args:
        name: of the model, for file names and lines.
        options: its dataclass, which extends `TrainOptions`.
        build_step: function of the options to a step such as `steps.PixelStep`, with fresh
            weights; called inside the scope of the device's strategy.
        lines: a `reports.Lines`, where a model's log reads otherwise.
        on_save: function of (step, options, epoch) to call after each checkpoint, for files that a
            model writes beside the zoo's own.
        device: a `Device`; None: opened as the options say, with log lines on the console. Of
            several processes all do the same, and only the chief writes into the run's folder.
        cache: folder of prepared images; None: in the run's.

    Returns:
        the summary, as in `summary.json`.

    Raises:
        UserError: data, options or the output folder do not allow it. An earlier run in the output
            folder is then as it was.
    """
    from common.device.open import open_device

    if device is None:
        with log_to_console():
            device = open_device(options.chip, options.precision, npu_options(options))
            with device.together():
                return train(name, options, build_step, lines, on_save, device, cache)
    path = Path(options.output_dir or default_folder(name, options.scale))
    with _writing_folder(path, device) as own:
        folder = RunFolder(own, name, options.scale)
        # What is prepared of the images is the same for all.
        material = find_material(options, cache or path / "cache")
        if options.evaluate_only:
            if not device.is_chief:
                return None
            return _evaluate_only(name, options, build_step, folder, material)
        if getattr(options, "model_save_dir", None) and not device.is_chief:
            options = replace(options, model_save_dir=str(Path(own, "models")))
        return _train(name, options, build_step, lines, on_save, device, folder, material)


def rehearse(name, options, build_step, device, cache):
    """Meet the mistakes of a run that begins when another has ended, hours from now.

    Args:
        name, options, build_step, device, cache: as of `train`.

    Raises:
        UserError: as `train`, which would not go beyond this.
    """
    with _writing_folder(Path(options.output_dir), device) as own:
        folder = RunFolder(own, name, options.scale)
        material = find_material(options, cache)
        _decided(device, lambda: bool(_what_to_resume(options, folder, material.fingerprint)))
        _check(options, device, _Steps(options, material.images))
        with device.strategy.scope():
            _build(build_step, options)


def _check(options, device, steps):
    if options.batch_size % device.replicas:
        raise UserError(f"--batch_size {options.batch_size} cannot be shared equally by "
                        f"{device.replicas} devices")
    check_periods(options, steps.total)


def _train(name, options, build_step, lines, on_save, device, folder, material):
    steps = _Steps(options, material.images)
    resume, summary = None, None

    def decide():
        nonlocal resume, summary
        resume = _what_to_resume(options, folder, material.fingerprint)
        if resume == "auto":
            summary = folder.read_summary()
        return bool(summary and summary["steps"] >= steps.total)

    if _decided(device, decide):
        if device.is_chief:
            log.info("%s holds a finished run of %d steps (--resume no starts over):",
                     folder.path, summary["steps"])
            report(summary, folder)
        return summary
    run = _Run(name, options, build_step, device, folder, material, steps, lines or Lines(),
               on_save)
    if resume is None:
        folder.clear()
    if resume == "auto":
        folder.write_config(options)
    else:
        folder.begin(options, material.fingerprint)
    with log_file(folder.path / "train.log"):
        return run.carry_out(resume)


@contextlib.contextmanager
def _writing_folder(path, device):
    """The run's folder; for a process beside the chief one of its own, which goes again."""
    if device.is_chief:
        yield path
        return
    log.setLevel(logging.WARNING)  # it would say what the chief says
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
        raise UserError("process 0 stops; its own message says why")
    return answer


def _what_to_resume(options, folder, fingerprint):
    """None to start afresh, "auto" for the run in the folder, or the path of a checkpoint."""
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


class _Steps:
    """How many optimizer steps there are in all, in an epoch, and between what."""

    def __init__(self, options, images):
        self.epoch = math.ceil(images * options.patches_per_image / options.batch_size)
        self.total = options.train_steps or options.epochs * self.epoch
        self.val_every = options.val_every or self.epoch
        self.save_every = (options.save_every or options.save_epochs * self.epoch
                           or self.val_every)
        self.log_every = options.log_every
        self.sample_every = options.sample_every
        self.epochs = math.ceil(self.total / self.epoch)
        if options.train_steps and options.train_steps < self.epoch:
            log.info("--train_steps %d is less than one epoch of %d steps: it counts optimizer "
                     "steps; for passes over the images use --epochs", options.train_steps,
                     self.epoch)

    def due(self, step, every):
        return step % every == 0 or step == self.total


class _Progress:
    """The bar over the steps of the run, or over those of each epoch where a model's log has it."""

    def __init__(self, name, lines, steps, start, silent):
        self._name, self._lines, self._steps, self._silent = name, lines, steps, silent
        self.bar = None if lines.per_epoch else self._open(steps.total, start)

    def begin(self, done):
        """Before each step, which will be the `done`-th."""
        epoch, size = (done - 1) // self._steps.epoch, self._steps.epoch
        if self._lines.per_epoch and (self.bar is None or done == epoch * size + 1):
            self.close()
            log.info(self._lines.begin_epoch(epoch + 1))
            last = min(size, self._steps.total - epoch * size)
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


class _Run:
    """One start of a run. The constructor sets it up and writes nothing but the image cache."""

    def __init__(self, name, options, build_step, device, folder, material, steps, lines, on_save):
        self.name, self.options, self.folder = name, options, folder
        self.steps, self.lines, self.on_save = steps, lines, on_save
        self.device = device
        _check(options, device, steps)
        with self.device.strategy.scope():
            self.step = _build(build_step, options)
        self._sheet = FULL_SIZE if self.step.keep_last else ENLARGED
        if options.load:  # the others are given the chief's state
            _decided(device, lambda: _load_start(self.step.trained, options.load, name))
        self.sampler = material.sampler()
        self.validation = material.validation(self.step.model)
        self.about = (f"{name} {scale_name(options.scale)} on {self.device.description}: "
                      f"{self.step.model.count_params()} parameters, {material.images} training "
                      f"and {material.val_images} validation images ({material.name})")

    def carry_out(self, resume):
        """Take up a checkpoint if there is one to, train to the end and report.

        Raises:
            UserError: the checkpoint does not fit, or the loss became infinite or NaN; the last
                good checkpoint is kept.
        """
        from common.training.checkpoints import Checkpoints

        self._stopped, self._told = False, 0.0
        began = time.perf_counter()
        with self.device.strategy.scope():
            self.checkpoints = Checkpoints(self.folder.checkpoints, self.step.tracked,
                                           self.options.keep_checkpoints)
            self._take_up(resume)
            share_state(self.device, self.checkpoints.tracked)
            self.start = int(self.checkpoints.step.numpy())
            log.info("%s, steps %d to %d", self.about, self.start + 1, self.steps.total)
            self.metrics = Metrics(self.folder.path, self.start)
            try:
                with Signals() as signals:
                    timing = self._fit(signals)
                    if self._stopped:
                        log.info("stopped after step %d; the same command goes on from there",
                                 int(self.checkpoints.step.numpy()))
                    else:
                        summary = self._summarise(time.perf_counter() - began, timing)
                        report(summary, self.folder, self.lines)
                        # One that came after the last step, before a further run begins.
                        self._stopped = bool(agree(self.device, signals.received or 0))
                if self._stopped:
                    sys.exit(128 + (signals.received or signal.SIGTERM))
            finally:
                self.metrics.close()
        return summary

    def _take_up(self, resume):
        if resume is None:
            return
        if resume == "auto":
            start = self.checkpoints.restore_latest()
        else:
            start = self.checkpoints.restore(resume)
        if not self.folder.best.is_file():  # taken over from another folder: find a best anew
            self.checkpoints.forget_best()
        log.info("going on after step %d", start)

    def _fit(self, signals):
        device = self.device
        first = device.rank * device.local_replicas
        batches = iter(patch_dataset(self.sampler, self.start, self.steps.total,
                                     range(first, first + device.local_replicas), device.replicas))
        factor = batch_factor(self.options)
        clock, window, now = Clock(self.options.batch_size), Window(), time.perf_counter
        progress = _Progress(self.name, self.lines, self.steps, self.start,
                             not device.is_chief)
        try:
            for done in range(self.start + 1, self.steps.total + 1):
                progress.begin(done)
                began = now()
                batch = spread(device, [next(batches) for _ in range(device.local_replicas)])
                got = now()
                rates = [factor * learning_rate(done - 1, schedule, self.steps)
                         for schedule in (self.options, *self.step.schedules)]
                self.step.set_learning_rate(*rates)
                window.add(self._one_step(batch, self.sampler.scale_of(done - 1), signals))
                stepped = now()
                progress.bar.update()
                self._after_step(done, rates[0], window, clock, progress.bar, self._stopped)
                clock.lap(got - began, stepped - got, pause=now() - stepped)
                if self._stopped:
                    break
        finally:
            progress.close()
        return clock.read()

    def _one_step(self, batch, scale, signals):
        if self.device.processes == 1:
            logged = self.step(batch, scale)
            self._stopped = bool(signals.received)
            return logged
        from common.nn.keras_compat import tf

        # All must stop after the same step: the step itself tells them that one of them was told
        # to. They look at what the step before told, for which a GPU need not be waited for.
        asked = tf.constant(float(bool(signals.received)))
        logged = self.step(batch, scale, asked)
        self._stopped, self._told = bool(self._told), logged.pop("stop")
        return logged

    def _after_step(self, done, rate, window, clock, bar, stop):
        due, steps = self.steps.due, self.steps
        validate, save = due(done, steps.val_every), stop or due(done, steps.save_every)
        sample = steps.sample_every and due(done, steps.sample_every)
        if not (validate or save or sample or due(done, steps.log_every)):
            return
        losses = window.means()
        if not all(math.isfinite(value) for value in losses.values()):
            kept = int(self.checkpoints.step.numpy())
            raise UserError(
                f"a loss is not finite by step {done}: {losses}; the checkpoint of step {kept} is "
                "kept. Try a lower --learning_rate, --clip global_norm or --precision float32")
        times = clock.read()
        self.metrics.add(done, learning_rate=rate, **losses, **times)
        log.info(self.lines.step(done, steps.total, losses, rate, times,
                                 self.sampler.scale_of(done - 1)))
        bar.set_postfix(loss=f"{losses['loss']:.4f}")
        if validate:
            self._validate(done, losses["loss"])
        elif sample:
            self._sample(done, self.validation.pictures(SAMPLES))
        if save:
            self.checkpoints.save(done)
            weights.save(self.step.model, self.folder.last)
            if self.on_save:
                self.on_save(self.step, self.options, math.ceil(done / steps.epoch))

    def _validate(self, done, loss):
        from common.training.validation import means

        scores, pictures = self.validation(SAMPLES)
        val_psnr, val_ssim, each = means(scores)
        self.metrics.add(done, val_psnr=val_psnr, val_ssim=val_ssim, **each)
        log.info(self.lines.epoch(math.ceil(done / self.steps.epoch), self.steps.epochs, loss,
                                  val_psnr, val_ssim))
        self._sample(done, pictures)
        better = self.step.keep_last or self.checkpoints.beats_best(val_psnr)
        if agree(self.device, int(better)):
            weights.save(self.step.model, self.folder.best)
            if not self.step.keep_last:
                self.checkpoints.save_best(done, val_psnr)

    def _sample(self, done, pictures):
        sheet = sample_sheet(pictures, **self._sheet)
        write_image(self.folder.samples / f"step_{done:07d}.png", sheet)
        self.metrics.add_image(done, "samples", sheet)

    def _summarise(self, seconds, timing):
        if self.device.is_chief:
            weights.load_into(self.step.model, self.folder.best)
        share_state(self.device, [self.step.model])
        summary, pictures = measure(self.name, self.options.scale, self.validation)
        summary.update(steps=self.steps.total, seconds=round(seconds, 1),
                       weights=str(self.folder.best), timing=timing)
        if not self.device.is_chief:
            return summary
        write_image(self.folder.samples / "comparison.png",
                    sample_sheet(pictures, **self._sheet))
        bicubic = sum(row["bicubic_psnr"] for row in summary["images"]) / len(summary["images"])
        draw_curves(self.metrics.rows, self.folder.path / "curves.png", bicubic)
        self.folder.write_summary(summary)
        return summary


def measure(name, scale, validation):
    """Measure a model on its validation images beside bicubic.

    Returns:
        (summary dict with `model`, `scale` and `images`, pictures for a sample sheet).
    """
    scores, pictures = validation(SAMPLES)
    images = []
    for s, after in scores.items():
        for image, b, a in zip(validation.names, validation.bicubic(s), after):
            images.append({"name": image, **({} if s == scale else {"scale": s}),
                           "bicubic_psnr": b[0], "psnr": a[0], "bicubic_ssim": b[1],
                           "ssim": a[1]})
    return {"model": name, "scale": scale, "images": images}, pictures


def report(summary, folder=None, lines=None):
    """Print the result of a run as a table, and where its files are."""
    name, images = summary["model"], summary["images"]
    width = max(12, *(len(row["name"]) + 3 for row in images))
    log.info("%-*s  bicubic PSNR   SSIM  %8s PSNR   SSIM    gain", width, "image", name)
    for scale in scale_tuple(summary["scale"]):
        rows = [row for row in images if row.get("scale", scale) == scale]
        keys = [key for key in rows[0] if key not in ("name", "scale")]
        mean = {"name": "mean", **{key: sum(r[key] for r in rows) / len(rows) for key in keys}}
        suffix = "" if scale == summary["scale"] else f" x{scale}"
        for row in [*rows, mean] if len(rows) > 1 else rows:
            log.info("%-*s  %9.2f dB  %.4f  %10.2f dB  %.4f  %+.2f dB", width,
                     row["name"] + suffix, row["bicubic_psnr"], row["bicubic_ssim"], row["psnr"],
                     row["ssim"], row["psnr"] - row["bicubic_psnr"])
        if lines is not None:
            for line in lines.final(scale, mean["psnr"], mean["ssim"]):
                log.info(line)
    if folder is not None:
        log.info("weights:    %s", folder.best)
        log.info("comparison: %s", folder.samples / "comparison.png")
        log.info("curves:     %s", folder.path / "curves.png")
        log.info("summary:    %s", folder.summary)


def _evaluate_only(name, options, build_step, folder, material):
    source = Path(options.load) if options.load else folder.best
    if not source.is_file():
        raise UserError(f"nothing to evaluate: no weights {source}; name some with --load")
    metadata = weights.read_metadata(source)
    held = scale_tuple(metadata["scale"])
    if metadata["model"] != name or held != scale_tuple(options.scale):
        raise UserError(f"{source} holds {metadata['model']} {scale_name(held)}, not {name} "
                        f"{scale_name(options.scale)}")
    for key, value in metadata["options"].items():
        if hasattr(options, key):
            setattr(options, key, tuple(value) if isinstance(value, list) else value)
    step = _build(build_step, options)
    weights.load_into(step.model, source)
    summary, _ = measure(name, options.scale, material.validation(step.model))
    report(summary)
    return summary


def _build(build_step, options):
    from common.nn.keras_compat import set_seed

    set_seed(options.seed)
    return build_step(options)


def _load_start(model, path, name):
    metadata = weights.read_metadata(path)
    if metadata["model"] != name:
        raise UserError(f"{path} holds weights of {metadata['model']}, not of {name}")
    loaded = weights.load_into(model, path, partial=True)
    log.info("%d layers start from %s%s", len(loaded.loaded), path,
             f"; left as they were: {', '.join(loaded.left_out)}" if loaded.left_out else "")
    return bool(loaded.loaded)
