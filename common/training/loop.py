"""The one training loop: batches in, steps, validation, checkpoints, reports, weights out."""

import logging
import math
import signal
import sys
import time

from common import weights
from common.cli import UserError
from common.data.patches import patch_dataset
from common.device.exchange import agree, share_state, spread
from common.files import sha256
from common.images import write_image
from common.scales import scale_name
from common.training.events import Metrics
from common.training.meters import Clock, Signals, Window
from common.training.on_nan import (
    MOST_ROLLBACKS,
    MOST_SKIPPED,
    State,
    all_finite,
    failure,
    rollbacks,
)
from common.training.pictures import draw_curves, sample_sheet
from common.training.progress import Progress
from common.training.resume import restore
from common.training.schedules import batch_factor, learning_rate
from common.training.summary import SAMPLES, bicubic_mean, measure, report

ENLARGED = {"side": 96, "zoom": 3}
FULL_SIZE = {"side": 288, "zoom": 1}  # where it is to look right, not to measure right

TIMES = ("seconds_per_step", "step_seconds", "data_wait", "images_per_sec")  # of `Clock`

log = logging.getLogger("sr_zoo")


class Loop:
    """One start of a run. The constructor sets it up and writes nothing but the image cache.

    Args:
        recipe, options: of the model.
        step: what `recipe.build_step` made.
        device: an open `Device`.
        folder: the run's `RunFolder`.
        material: its `Material`.
        length: its `Length`.
        until: when it stops as after a SIGTERM, in seconds of `time.monotonic`.
    """

    def __init__(self, recipe, options, step, device, folder, material, length, until=math.inf):
        self.recipe, self.options, self.step = recipe, options, step
        self.device, self.folder, self.length, self.until = device, folder, length, until
        self.lines = recipe.lines(options)
        self.sampler = material.sampler()
        self.validation = material.validation(step.model)
        self.about = (f"{recipe.name} {scale_name(options.scale)} on {device.description}: "
                      f"{step.model.count_params()} parameters, {material.images} training "
                      f"and {material.val_images} validation images ({material.name})")
        self._sheet = FULL_SIZE if step.keep_last else ENLARGED

    def run(self, resume):
        """Restore a checkpoint if there is one to, train to the end and report.

        Args:
            resume: of `resume.what_to_resume`.

        Returns:
            the summary.

        Raises:
            UserError: the checkpoint does not fit, or the loss became infinite or NaN; the last
                good checkpoint is kept.
        """
        from common.training.checkpoints import Checkpoints

        self._stopped, self._told = False, 0.0
        self._skipped = self._left_out = 0  # steps: in a row, and since the last log line
        self._exported = []
        began = time.perf_counter()
        with self.device.strategy.scope():
            self.checkpoints = Checkpoints(self.folder.checkpoints, self.step.tracked,
                                           self.options.keep_checkpoints)
            self._state = State(self.step.tracked)
            self.start = restore(self.device, self.checkpoints, resume, self.folder, self.step)
            self._best_sum = sha256(self.folder.best)
            log.info("%s, steps %d to %d", self.about, self.start + 1, self.length.total)
            rows = self.checkpoints.record.get("rows") if resume == "auto" else []
            self.metrics = Metrics(self.folder.path, self.start, rows)
            try:
                with Signals() as signals:
                    if self.start:
                        self._export(self.start)  # a kill may have come before
                    named = agree(self.device, int(resume not in (None, "auto")))
                    no_best = named or (self.start and not self.step.keep_last
                                        and self.checkpoints.best.numpy() < 0)
                    if no_best and self.start >= self.length.total:
                        self._without_steps()
                    timing = self._fit(signals)
                    if self._stopped:
                        log.info("stopped after step %d; the same command goes on from there",
                                 int(self.checkpoints.step.numpy()))
                    else:
                        summary = self._summarise(time.perf_counter() - began, timing)
                        report(summary, self.folder, self.lines)
                        # A signal after the last step stops before a further run begins.
                        self._stopped = bool(agree(self.device, signals.received or 0))
                if self._stopped:
                    sys.exit(128 + (signals.received or signal.SIGTERM))
            finally:
                self.metrics.close()
        return summary

    def _fit(self, signals):
        device = self.device
        first = device.rank * device.local_replicas
        batches = iter(patch_dataset(self.sampler, self.start, self.length.total,
                                     range(first, first + device.local_replicas), device.replicas))
        factor = batch_factor(self.options)
        clock, window, now = Clock(self.options.batch_size), Window(), time.perf_counter
        progress = Progress(self.recipe.name, self.lines, self.length, self.start,
                            not device.is_chief)
        try:
            for done in range(self.start + 1, self.length.total + 1):
                progress.begin(done)
                began = now()
                batch = spread(device, [next(batches) for _ in range(device.local_replicas)])
                got = now()
                rates = [factor * learning_rate(done - 1, schedule, self.length)
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
            del batches  # ends its threads, which call Python and would disturb its shutdown
        return clock.read()

    def _one_step(self, batch, scale, signals):
        """One step; what it logs, nothing if it was left out."""
        before = self._state.copy() if self.options.on_nan == "skip" else None
        logged = self._stepped(batch, scale, signals)
        if before is None or (all_finite({name: float(value) for name, value in logged.items()})
                              and self._state.is_finite()):
            self._skipped = 0
            return logged
        self._state.put_back(before)
        self._skipped += 1
        self._left_out += 1
        return {}

    def _stepped(self, batch, scale, signals):
        told = bool(signals.received) or time.monotonic() > self.until
        if self.device.processes == 1:
            logged = self.step(batch, scale)
            self._stopped = told or bool(signals.received)
            return logged
        from common.nn.keras_compat import tf

        # All must stop after the same step: the step itself tells them that one of them was told
        # to. They look at what the step before told, for which a GPU need not be waited for.
        logged = self.step(batch, scale, tf.constant(float(told)))
        self._stopped, self._told = bool(self._told), logged.pop("stop")
        return logged

    def _after_step(self, done, rate, window, clock, bar, stop):
        due, length = self.length.due, self.length
        validate, save = due(done, length.val_every), stop or due(done, length.save_every)
        sample = length.sample_every and due(done, length.sample_every)
        if not (validate or save or sample or due(done, length.log_every)):
            return
        losses, loss = window.means(), math.nan
        if self._left_out:
            log.info("left out %d steps that were not finite", self._left_out)
            self._left_out = 0
        if all_finite(losses) and (not save or self._state.is_finite()):
            loss, times = losses["loss"], clock.read()
            self.metrics.add(done, learning_rate=rate, **losses, **times)
            log.info(self.lines.step(done, length.total, losses, rate, times,
                                     self.sampler.scale_of(done - 1)))
            bar.set_postfix(loss=f"{loss:.4f}")
        elif losses or self._skipped >= MOST_SKIPPED:
            self._roll_back(done, losses)
            save = True
        if validate:
            self._validate(done, loss)
        elif sample:
            self._sample(done, self.validation.pictures(SAMPLES))
        if save:
            self._save(done)

    def _roll_back(self, done, losses):
        """Go on with the weights of the newest checkpoint, or stop."""
        kept = agree(self.device, self.checkpoints.newest())
        if (self.options.on_nan != "rollback" or not kept
                or rollbacks(self.metrics.rows) == MOST_ROLLBACKS):
            if not self.device.is_chief:
                raise UserError("stopped as process 0 did; see its log")
            raise failure(done, losses, kept, self.folder, self.options, self.device.precision)
        # What counts steps, and the best so far, stay.
        stay = [self.checkpoints.best, *(value for name, value in self.step.tracked.items()
                                         if name == "draws")]
        values = [variable.numpy() for variable in stay]
        kept = agree(self.device, self.checkpoints.restore_latest())
        for variable, value in zip(stay, values):
            variable.assign(value)
        share_state(self.device, self.checkpoints.tracked)
        log.info("the loss or the weights are not finite by step %d: going on with the weights of "
                 "step %d", done, kept)
        self.metrics.add(done, rolled_back_to=kept)

    def _save(self, done):
        self.checkpoints.save(done, {**self.folder.started, "rows": self.metrics.rows,
                                     "best": self._best_sum})
        self.folder.settle()
        self._export(done)

    def _export(self, done):
        weights.save(self.step.model, self.folder.last)
        if self.recipe.on_save and self.device.is_chief:
            self._exported = self.recipe.on_save(self.step, self.options,
                                                 math.ceil(done / self.length.epoch))

    def _without_steps(self):
        log.warning("the checkpoint was saved after step %d, and the run is to have %d: nothing is "
                    "trained, but its weights are taken as the best. For more give it more "
                    "--train_steps or --epochs", self.start, self.length.total)
        self._validate(self.start, math.nan)
        self._save(self.start)

    def _validate(self, done, loss):
        from common.training.validation import means

        scores, pictures = self.validation(SAMPLES)
        val_psnr, val_ssim, each = means(scores)
        self.metrics.add(done, val_psnr=val_psnr, val_ssim=val_ssim, **each)
        log.info(self.lines.epoch(math.ceil(done / self.length.epoch), self.length.epochs, loss,
                                  val_psnr, val_ssim))
        self._sample(done, pictures)
        better = self.step.keep_last or self.checkpoints.beats_best(val_psnr)
        if agree(self.device, int(better)):
            weights.save(self.step.model, self.folder.best)
            self._best_sum = sha256(self.folder.best)
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
        summary, pictures = measure(self.recipe.name, self.options.scale, self.validation)
        summary.update(steps=max(self.start, self.length.total), seconds=round(seconds, 1),
                       weights=str(self.folder.best), timing=timing)
        if not self.device.is_chief:
            return summary
        if self.start >= self.length.total:  # only made again
            timed = [row for row in self.metrics.rows if "seconds_per_step" in row]
            before = self.folder.before or {
                "timing": {key: timed[-1][key] for key in TIMES} if timed else {}}
            summary.update({key: before[key] for key in ("seconds", "timing") if key in before})
        write_image(self.folder.comparison, sample_sheet(pictures, **self._sheet))
        draw_curves(self.metrics.rows, self.folder.curves, bicubic_mean(summary))
        self.folder.write_summary(summary, self._exported)
        return summary
