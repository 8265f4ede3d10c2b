"""Time the whole training loop beside its bare step."""

import io
import statistics
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace

import numpy as np

import models
from scripts.benchmark.settings import BASELINE, BATCH, DEMO, PATCH, SCALE
from scripts.benchmark.training import random_batch

# name: (network, LR patch, steps of the loop, steps after which as many bare ones are timed)
LOOPS = {"training_loop_demo": (DEMO, 24, 101, 20),
         "training_loop_baseline": (BASELINE, PATCH, 9, 3)}


def training_loop(name, arguments):
    """Time EDSR's training on image files beside the same compiled step alone.

    The demo's step is small and quick, so the loop's own work weighs most there.

    Args:
        name: a key of `LOOPS`.
        arguments: of the command; `data_dir` and `runs` are used.

    Returns:
        one row with the overhead over the bare step and the share of time waiting for data.
    """
    from common.training.run import train

    recipe = models.model("edsr").recipe
    network, patch_size, steps, block = LOOPS[name]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        options = recipe.options_class(
            data_dir=arguments.data_dir, output_dir=folder, batch_size=BATCH,
            patch_size=patch_size, train_steps=steps, val_every=steps, val_images=1,
            log_every=steps // 2, chip="cpu", precision="float32", resume="no", **network)
        for _ in range(arguments.runs):
            built = []

            def build(options, built=built):
                built.append(WithBareSteps(recipe.build_step(options), block, options))
                return built[0]

            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                timing = train(replace(recipe, build_step=build), options)["timing"]
            found.append(built[0].share_out(timing, steps - 1))
    row = {key: statistics.median(values[key] for values in found) for key in found[0]}
    return [{"name": name, "engine": "sr-zoo", "precision": "float32", **row,
             "runs": arguments.runs}]


class WithBareSteps:
    """A training step that, after every `block` steps of the loop, takes as many on a fixed batch.

    The loop and the bare step are thus timed side by side, at the same speed of the machine.
    """

    def __init__(self, step, block, options):
        from common.nn.keras_compat import tf

        self._step, self._block = step, block
        batch = random_batch(options.batch_size, options.patch_size, SCALE)
        self._batch = tuple(map(tf.constant, batch))
        self._rates = np.array([options.learning_rate], np.float32)
        self._bare, self._turns, self._calls, self._ended = [], [], 0, None
        self._take_bare_steps()  # compiled and warm before the loop begins
        self._bare.clear()

    def __getattr__(self, name):
        return getattr(self._step, name)

    def turns(self, window, most):
        """What takes a step in the loop, and bare steps after every block."""
        turns = self._step.turns(window, most)
        return lambda *arguments: self._noted(turns(*arguments))

    def _noted(self, result):
        now = time.perf_counter()
        if self._ended:
            self._turns.append(now - self._ended)
        self._calls += 1
        if self._calls % self._block == 0:
            self._take_bare_steps()
            now = time.perf_counter()
        self._ended = now
        return result

    def _take_bare_steps(self):
        for _ in range(self._block):
            began = time.perf_counter()
            self._step(self._batch, self._rates)
            self._bare.append(time.perf_counter() - began)

    def share_out(self, timing, laps):
        """Split the loop's time into its own steps and the bare ones, which its clock counted too.

        Args:
            timing: `timing` of the run's summary.
            laps: steps that it covers (all but the first).
        """
        turn, bare = statistics.median(self._turns), statistics.median(self._bare)
        total = timing["seconds_per_step"] * laps
        looped = total - sum(self._bare)
        return {"seconds": turn, "bare_seconds": bare, "overhead_percent": 100 * (turn / bare - 1),
                "data_wait_percent": 100 * timing["data_wait"] * total / looped}


MEASUREMENTS = dict.fromkeys(LOOPS, training_loop)
