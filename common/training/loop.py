"""The one training loop: batches in, steps, validation, checkpoints, reports, weights out."""

import logging
import math
import signal
import sys
import time

import numpy as np

from common import weights
from common.cli import UserError
from common.data.patches import patch_dataset
from common.device.chip import at_once
from common.device.exchange import agree, share_state
from common.files import sha256
from common.images.files import write_image
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
        with at_once():  # a Keras model for each scale, which counts its batches
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
            with at_once():
                self.checkpoints = Checkpoints(self.folder.checkpoints, self.step.tracked,
                                               self.options.keep_checkpoints)
                self._window = Window(self.step.logs)
            self._state = State([*self.checkpoints.tracked, self._window.sums])
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
        clock, size, total = Clock(self.options.batch_size), self.length.turn, self.length.total
        batches = self._batches(clock)
        turns = self.step.turns(self._window, size)
        progress = Progress(self.recipe.name, self.lines, self.length, self.start,
                            not self.device.is_chief)
        done = self.start
        try:
            while done < total and not self._stopped:
                steps = range(done, min(total, done - done % size + size))
                progress.begin(done + 1)
                began, scale = time.perf_counter(), self.sampler.scale_of(done)
                self._turn(turns, batches[scale], scale, len(steps), signals)
                ended = time.perf_counter()
                done = steps.stop
                progress.bar.update(len(steps))
                self._after_step(done, clock, progress.bar)
                clock.lap(steps, began, ended)
        finally:
            progress.close()
            del batches  # ends its threads, which call Python and would disturb its shutdown
        return clock.read()

    def _batches(self, clock):
        """{scale: iterator over all that a step at this scale is given, a part for each device}."""
        device, scales = self.device, self.sampler.scales
        first = device.rank * device.local_replicas
        mine = range(first, first + device.local_replicas)

        def beside(step, share):
            clock.made(step)
            numbers = self.step.numbers(step, self.options.batch_size)
            return [*(rows[share.start:share.stop] for rows in numbers),
                    np.array(self._rates(step), np.float32)]

        def dataset(scale):
            only = (lambda step: self.sampler.scale_of(step) == scale) if len(scales) > 1 else None
            return patch_dataset(scales[scale], self.start, self.length.total, mine,
                                 device.replicas, beside, only)

        return {scale: iter(device.strategy.distribute_datasets_from_function(
            lambda _, scale=scale: dataset(scale))) for scale in scales}

    def _rates(self, step):
        """The learning rates of a step, 0 is the first."""
        factor = batch_factor(self.options)
        return [factor * learning_rate(step, schedule, self.length)
                for schedule in (self.options, *self.step.schedules)]

    def _turn(self, turns, batches, scale, count, signals):
        """Take some steps, unless one that is not finite is to be left out."""
        before = self._state.copy() if self.options.on_nan == "skip" else None
        self._take(turns, batches, scale, count, signals)
        if before is None or self._state.is_finite():
            self._skipped = 0
            self._window.steps += count
            return
        self._state.put_back(before)
        self._skipped += 1
        self._left_out += 1

    def _take(self, turns, batches, scale, count, signals):
        told = bool(signals.received) or time.monotonic() > self.until
        if self.device.processes == 1:
            turns(batches, scale, count)
            self._stopped = told or bool(signals.received)
            return
        # All must stop after the same turn: the step itself tells them that one of them was told
        # to. They look at what the turn before told, for which a GPU need not be waited for.
        summed = turns(batches, scale, count, np.asarray(told, np.float32))
        self._stopped, self._told = bool(self._told), summed

    def _after_step(self, done, clock, bar):
        due, length = self.length.due, self.length
        validate = due(done, length.val_every)
        save = self._stopped or due(done, length.save_every)
        sample = length.sample_every and due(done, length.sample_every)
        if not (validate or save or sample or due(done, length.log_every)):
            return
        losses, loss = self._window.means(), math.nan
        if self._left_out:
            log.info("left out %d steps that were not finite", self._left_out)
            self._left_out = 0
        if all_finite(losses) and (not save or self._state.is_finite()):
            loss, times, rate = losses["loss"], clock.read(), self._rates(done - 1)[0]
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
        best = self.checkpoints.best.numpy()  # stays
        kept = agree(self.device, self.checkpoints.restore_latest())
        self.checkpoints.best.assign(best)
        share_state(self.device, self.checkpoints.tracked)
        log.info("the loss or the weights are not finite by step %d: going on with the weights of "
                 "step %d", done, kept)
        self.metrics.add(done, rolled_back_to=kept)

    def _save(self, done):
        with self._state.at_once():
            self.checkpoints.save(done, {**self.folder.started, "rows": self.metrics.rows,
                                         "best": self._best_sum})
        self.folder.settle()
        self._export(done)

    def _export(self, done):
        with self._state.at_once():
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
        with self._state.at_once():
            better = self.step.keep_last or self.checkpoints.beats_best(val_psnr)
        if agree(self.device, int(better)):
            with self._state.at_once():
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
            with at_once():
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
