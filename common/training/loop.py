"""The one training loop: data in, steps, validation, checkpoints, reports, weights out."""

import math
import sys
import time
from pathlib import Path

from tqdm import tqdm

from common import weights
from common.cli import UserError
from common.data.cache import make_missing_lr
from common.data.datasets import open_dataset
from common.data.pipeline import PatchSampler, fingerprint, patch_dataset
from common.data.store import ImageStore
from common.images import write_image
from common.training.meters import Clock, Signals, Window
from common.training.reports import Metrics, draw_curves, log, log_to, sample_sheet
from common.training.run_folder import RunFolder, default_folder
from common.training.schedules import learning_rate

SAMPLES = 4


def train(name, options, build_step):
    """Train a model as its options say, or go on with, finish or measure the run that is there.

    Args:
        name: of the model, for file names and lines.
        options: its dataclass, which extends `TrainOptions`.
        build_step: function of the options to a step such as `steps.PixelStep`, with fresh
            weights; called inside the scope of the device's strategy.

    Returns:
        the summary, as in `summary.json`.

    Raises:
        UserError: data, options or the output folder do not allow it.
    """
    folder = RunFolder(options.output_dir or default_folder(name, options.scale), name,
                       options.scale)
    splits = open_dataset(options.dataset, options.data_dir, options.scale, options.val_dir)
    if not splits.val:
        raise UserError(f"{options.data_dir} has no validation images; name some with --val_dir")
    if options.evaluate_only:
        with log_to(None):
            return _evaluate_only(name, options, build_step, folder, splits)
    images = fingerprint(splits.train)
    resume = _what_to_resume(options, folder, images)
    steps = _Steps(options, len(splits.train))
    if resume == "auto":
        summary = folder.read_summary()
        if summary and summary["steps"] >= steps.total:
            with log_to(None):
                log.info("%s holds a finished run of %d steps (--resume no starts over):",
                         folder.path, summary["steps"])
                report(summary, folder)
            return summary
    if resume is None:
        folder.clear()
        folder.begin(options, images)
    else:
        folder.begin(options, images) if resume != "auto" else folder.write_config(options)
    with log_to(folder.path / "train.log"):
        return _Run(name, options, build_step, folder, splits, steps, resume).finish()


def _what_to_resume(options, folder, images):
    """None to start afresh, "auto" for the run in the folder, or the path of a checkpoint."""
    if options.resume == "no":
        return None
    here = folder.holds_run()
    if options.resume == "auto" or (here and folder.started_from(options.resume)):
        if not here:
            return None
        folder.check_same(options, images)
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

    def due(self, step, every):
        return step % every == 0 or step == self.total


class _Run:
    """One start of a run: set up in the constructor, carried out by `finish`."""

    def __init__(self, name, options, build_step, folder, splits, steps, resume):
        from common.device import open_device

        self.name, self.options, self.folder, self.steps = name, options, folder, steps
        if options.train_steps and options.train_steps < steps.epoch:
            log.info("--train_steps %d is less than one epoch of %d steps: it counts optimizer "
                     "steps; for passes over the images use --epochs", options.train_steps,
                     steps.epoch)
        self.device = open_device(options.chip, options.precision)
        if options.batch_size % self.device.replicas:
            raise UserError(f"--batch_size {options.batch_size} cannot be shared equally by "
                            f"{self.device.replicas} devices")
        self.sampler = PatchSampler(_store(splits.train, options, folder), options.scale,
                                    options.patch_size, options.batch_size, options.seed,
                                    options.augment)
        with self.device.strategy.scope():
            self.step = _build(build_step, options)
            self.checkpoints = _checkpoints(folder, self.step, options)
        self.start = self._take_up(resume)
        self.validation = _validation(self.step.model, splits, options, folder)
        self.metrics = Metrics(folder.path, self.start)
        log.info("%s x%d: %d parameters, %d training and %d validation images (%s), steps %d to %d",
                 name, options.scale, self.step.model.count_params(), len(splits.train),
                 len(self.validation.names), splits.name, self.start, steps.total)

    def _take_up(self, resume):
        if resume == "auto":
            start = self.checkpoints.restore_latest()
        elif resume is not None:
            start = self.checkpoints.restore(resume)
        else:
            if self.options.load:
                _load_start(self.step.model, self.options.load, self.name)
            return 0
        if not self.folder.best.is_file():  # taken over from another folder: find a best anew
            self.checkpoints.forget_best()
        log.info("going on after step %d", start)
        return start

    def finish(self):
        """Train to the end and report.

        Raises:
            UserError: the loss became infinite or NaN; the last good checkpoint is kept.
        """
        began = time.perf_counter()
        try:
            with self.device.strategy.scope(), Signals() as signals:
                timing = self._fit(signals)
                if signals.received:
                    log.info("stopped after step %d; the same command goes on from there",
                             int(self.checkpoints.step.numpy()))
                    sys.exit(128 + signals.received)
                summary = self._summarise(time.perf_counter() - began, timing)
        finally:
            self.metrics.close()
        report(summary, self.folder)
        return summary

    def _fit(self, signals):
        batches = patch_dataset(self.sampler, self.start, self.steps.total)
        if self.device.replicas > 1:
            batches = self.device.strategy.experimental_distribute_dataset(batches)
        batches = iter(batches)
        clock, window, now = Clock(self.options.batch_size), Window(), time.perf_counter
        # In a log file a bar line every half minute is enough.
        with tqdm(total=self.steps.total, initial=self.start, desc=f"{self.name} training",
                  unit="it", dynamic_ncols=True,
                  mininterval=0.2 if sys.stderr.isatty() else 30) as bar:
            for done in range(self.start + 1, self.steps.total + 1):
                began = now()
                batch = next(batches)
                got = now()
                rate = learning_rate(done - 1, self.options, self.steps.total)
                self.step.set_learning_rate(rate)
                window.add(self.step(batch))
                stepped = now()
                bar.update()
                self._after_step(done, rate, window, clock, bar, stop=bool(signals.received))
                clock.lap(got - began, stepped - got, pause=now() - stepped)
                if signals.received:
                    break
        return clock.read()

    def _after_step(self, done, rate, window, clock, bar, stop):
        due, steps = self.steps.due, self.steps
        validate, save = due(done, steps.val_every), stop or due(done, steps.save_every)
        if not (validate or save or due(done, steps.log_every)):
            return
        losses = window.means()
        if losses:
            if not all(math.isfinite(value) for value in losses.values()):
                kept = int(self.checkpoints.step.numpy())
                raise UserError(
                    f"a loss is not finite by step {done}: {losses}; the checkpoint of step "
                    f"{kept} is kept. Try a lower --learning_rate, --clip global_norm or "
                    "--precision float32")
            self.metrics.add(done, learning_rate=rate, **losses, **clock.read())
            log.info("Step nr: [%d/%d] - Loss: %.5f - Lr: %.7f", done, steps.total,
                     losses["loss"], rate)
            bar.set_postfix(loss=f"{losses['loss']:.4f}")
        if validate:
            self._validate(done, window.last["loss"])
        if save:
            self.checkpoints.save(done)
            weights.save(self.step.model, self.folder.last)

    def _validate(self, done, loss):
        from common.training.validation import mean

        scores, pictures = self.validation(SAMPLES)
        val_psnr, val_ssim = mean(scores)
        self.metrics.add(done, val_psnr=val_psnr, val_ssim=val_ssim)
        log.info("Epoch nr: [%d/%d] - Loss: %.5f - val PSNR: %.3f - val SSIM: %.3f",
                 math.ceil(done / self.steps.epoch), math.ceil(self.steps.total / self.steps.epoch),
                 loss, val_psnr, val_ssim)
        sheet = sample_sheet(pictures, self.options.scale)
        write_image(self.folder.samples / f"step_{done:07d}.png", sheet)
        self.metrics.add_image(done, "samples", sheet)
        if val_psnr > float(self.checkpoints.best.numpy()):
            weights.save(self.step.model, self.folder.best)
            self.checkpoints.save_best(done, val_psnr)

    def _summarise(self, seconds, timing):
        weights.load_into(self.step.model, self.folder.best)
        summary, pictures = measure(self.name, self.options.scale, self.validation)
        write_image(self.folder.samples / "comparison.png",
                    sample_sheet(pictures, self.options.scale))
        bicubic = sum(row["bicubic_psnr"] for row in summary["images"]) / len(summary["images"])
        draw_curves(self.metrics.rows, self.folder.path / "curves.png", bicubic)
        summary.update(steps=self.steps.total, seconds=round(seconds, 1),
                       weights=str(self.folder.best), timing=timing)
        self.folder.write_summary(summary)
        return summary


def measure(name, scale, validation):
    """Measure a model on its validation images beside bicubic.

    Returns:
        (summary dict with `model`, `scale` and `images`, pictures for a sample sheet).
    """
    scores, pictures = validation(SAMPLES)
    images = [{"name": image, "bicubic_psnr": before[0], "psnr": after[0],
               "bicubic_ssim": before[1], "ssim": after[1]}
              for image, before, after in zip(validation.names, validation.bicubic(), scores)]
    return {"model": name, "scale": scale, "images": images}, pictures


def report(summary, folder=None):
    """Print the result of a run as a table, and where its files are."""
    name = summary["model"]
    width = max(12, *(len(row["name"]) for row in summary["images"]))
    log.info("%-*s  bicubic PSNR   SSIM  %8s PSNR   SSIM    gain", width, "image", name)
    rows = list(summary["images"])
    if len(rows) > 1:
        keys = [key for key in rows[0] if key != "name"]
        rows.append({"name": "mean", **{key: sum(r[key] for r in rows) / len(rows)
                                        for key in keys}})
    for row in rows:
        log.info("%-*s  %9.2f dB  %.4f  %10.2f dB  %.4f  %+.2f dB", width, row["name"],
                 row["bicubic_psnr"], row["bicubic_ssim"], row["psnr"], row["ssim"],
                 row["psnr"] - row["bicubic_psnr"])
    if folder is not None:
        log.info("weights:    %s", folder.best)
        log.info("comparison: %s", folder.samples / "comparison.png")
        log.info("curves:     %s", folder.path / "curves.png")
        log.info("summary:    %s", folder.summary)


def _evaluate_only(name, options, build_step, folder, splits):
    from common.device import open_device

    source = Path(options.load) if options.load else folder.best
    if not source.is_file():
        raise UserError(f"nothing to evaluate: no weights {source}; name some with --load")
    metadata = weights.read_metadata(source)
    if (metadata["model"], metadata["scale"]) != (name, options.scale):
        raise UserError(f"{source} holds {metadata['model']} x{metadata['scale']}, not {name} "
                        f"x{options.scale}")
    known = {key: value for key, value in metadata["options"].items() if hasattr(options, key)}
    for key, value in known.items():
        setattr(options, key, value)
    open_device(options.chip, options.precision)
    step = _build(build_step, options)
    weights.load_into(step.model, source)
    validation = _validation(step.model, splits, options, folder)
    summary, _ = measure(name, options.scale, validation)
    report(summary)
    return summary


def _build(build_step, options):
    from common.keras_compat import set_seed

    set_seed(options.seed)
    return build_step(options)


def _store(pairs, options, folder):
    pairs = make_missing_lr(pairs, options.scale, folder.cache)
    return ImageStore(pairs, folder.cache, budget_bytes=int(options.cache_gb * 1e9),
                      scale=options.scale)


def _checkpoints(folder, step, options):
    from common.training.checkpoints import Checkpoints

    return Checkpoints(folder.checkpoints, step.tracked, options.keep_checkpoints)


def _validation(model, splits, options, folder):
    from common.training.validation import Validation

    pairs = splits.val[:options.val_images or None]
    return Validation(model, _store(pairs, options, folder), [pair.name for pair in pairs],
                      options.scale, options.val_channel)


def _load_start(model, path, name):
    metadata = weights.read_metadata(path)
    if metadata["model"] != name:
        raise UserError(f"{path} holds weights of {metadata['model']}, not of {name}")
    loaded = weights.load_into(model, path, partial=True)
    log.info("%d layers start from %s%s", len(loaded.loaded), path,
             f"; left as they were: {', '.join(loaded.left_out)}" if loaded.left_out else "")
