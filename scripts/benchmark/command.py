"""Measure the zoo's speed beside PyTorch, ONNX Runtime and OpenVINO, all in one run on the CPU.

    python -m scripts.benchmark [--json F] [--runs 7] [--only NAME ...] [--threads N]

Every engine has the same weights, and their answers are compared before anything is timed. The
engines take turns (A, B, C, A, B, C ...), so that whatever else the machine does meets them alike;
what is reported is the median. Peers that are not installed are named as such: `pip install -e
".[bench]"` brings them.
"""

import io
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np

import models
from common.cli import UserError
from common.files import write_text
from common.flags import OneLineParser
from scripts.benchmark.engines import INFERENCE, Unavailable, torch_training
from scripts.benchmark.gan import gan_step
from scripts.benchmark.measuring import (
    PRECISIONS,
    as_line,
    check_images,
    check_losses,
    open_cpu,
    take_turns,
    timed_rows,
)

SIZES = (128, 256, 512)
BASELINE = {"num_blocks": 16, "num_filters": 64, "res_scale": 1.0}
DEMO = {"num_blocks": 4, "num_filters": 32, "res_scale": 1.0}
BATCH, PATCH, SCALE = 16, 48, 2
# name: (model, network, batch, LR patch); the rest of a step is as in the model's default recipe
TRAIN_STEPS = {
    "train_step": ("edsr", BASELINE, BATCH, PATCH),
    "train_step_bsrn": ("bsrn", {"num_features": 64, "num_states": 64, "num_recursions": 16}, 8,
                        48),
    "train_step_bsrn_small": ("bsrn", {"num_features": 32, "num_states": 32, "num_recursions": 4},
                              8, 24),
}
# name: (network, LR patch, steps of the loop, steps after which as many bare ones are timed)
LOOPS = {"training_loop_demo": (DEMO, 24, 101, 20),
         "training_loop_baseline": (BASELINE, PATCH, 9, 3)}
NAMES = (*(f"inference_{size}" for size in SIZES), *TRAIN_STEPS, "gan_step", "input_pipeline",
         *LOOPS)
LEARNING_RATE = 1e-4


def main(argv):
    """Read the flags, measure, print a table and write the rows."""
    arguments = _parse(argv)
    from common.device.open import quiet_tensorflow

    quiet_tensorflow("cpu")
    from common.nn.keras_compat import tf

    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    tf.config.threading.set_inter_op_parallelism_threads(arguments.threads)
    machine = describe_machine(arguments.threads)
    print("\n".join(f"{key}: {value}" for key, value in machine.items()), flush=True)
    rows = []
    for name in arguments.only or NAMES:
        for row in _measurement(name)(name, arguments):
            print(as_line(row), flush=True)
            rows.append(row)
    if arguments.json:
        write_text(arguments.json, json.dumps({"machine": machine, "results": rows}, indent=1))


def _parse(argv):
    parser = OneLineParser(prog="python -m scripts.benchmark", description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=str, help="write the rows to this file")
    parser.add_argument("--runs", type=int, default=7, help="timed turns of every engine")
    parser.add_argument("--only", nargs="+", help=f"measure only these of {', '.join(NAMES)}")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)),
                        help="of every engine; default: all cores")
    parser.add_argument("--data_dir", type=str, help="images for input_pipeline and "
                        "training_loop; default: the demo photographs")
    arguments = parser.read(argv)
    for name in arguments.only or ():
        if name not in NAMES:
            raise UserError(f"--only {name}: no such measurement; choose of {', '.join(NAMES)}")
    for flag in ("runs", "threads"):
        if getattr(arguments, flag) < 1:
            raise UserError(f"--{flag} {getattr(arguments, flag)}: give 1 or more")
    return arguments


def _measurement(name):
    return {"input_pipeline": input_pipeline, "gan_step": gan_step,
            **dict.fromkeys(TRAIN_STEPS, train_step),
            **dict.fromkeys(LOOPS, training_loop)}.get(name, inference)


def describe_machine(threads):
    """What the numbers depend on: the CPU, the threads and the versions of the engines."""
    from importlib import metadata

    cpu = "unknown"
    if os.path.exists("/proc/cpuinfo"):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), cpu)
    found = {"cpu": cpu, "threads": threads, "python": sys.version.split()[0]}
    for name in ("tensorflow", "tensorflow-cpu", "keras", "torch", "onnxruntime", "openvino"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


# ---- the network --------------------------------------------------------------------------------


def _baseline(precision, weights=None):
    import models
    from common.nn.keras_compat import set_seed

    open_cpu(precision)
    set_seed(0)
    model = models.create("edsr", SCALE, **BASELINE)
    if weights is not None:
        model.set_weights(weights)
    return model


def inference(name, arguments):
    """EDSR-baseline x2 on one image, in each precision and engine."""
    from common.inference.upscaler import Upscaler

    size = int(name.split("_")[1])
    image = np.random.default_rng(0).uniform(0, 255, (size, size, 3)).astype(np.float32)
    plain = _baseline("float32")
    truth = Upscaler(plain).predict(image)
    rows = []
    for precision in PRECISIONS:
        engines, reasons = {}, {}
        try:
            upscaler = Upscaler(_baseline(precision, plain.get_weights()))
            engines["sr-zoo"] = lambda upscaler=upscaler: upscaler.predict(image)
        except Unavailable as error:
            reasons["sr-zoo"] = str(error)
        for engine, make in INFERENCE.items():
            try:
                engines[engine] = make(plain, image, precision, arguments.threads)
            except Unavailable as error:
                reasons[engine] = str(error)
        for engine, run in engines.items():
            check_images(f"{name} {precision} {engine}", run(), truth, precision)
        rows += timed_rows(name, precision, take_turns(engines, arguments.runs), reasons)
    return rows


def train_step(name, arguments):
    """One step of a model's training as its `build_step` makes it, x2, in each precision."""
    from common.nn.keras_compat import tf

    model, network, batch_size, patch_size = TRAIN_STEPS[name]
    draw = np.random.default_rng(0)
    lr = draw.integers(0, 256, (batch_size, patch_size, patch_size, 3), dtype=np.uint8)
    hr = lr.repeat(SCALE, axis=1).repeat(SCALE, axis=2)
    batch = (tf.constant(lr), tf.constant(hr))
    rows = []
    for precision in PRECISIONS:
        engines, reasons = {}, {}
        plain, options = _step(model, network, "float32")
        weights = plain.model.get_weights()
        try:
            step, _ = _step(model, network, precision, weights)
            engines["sr-zoo"] = lambda step=step: float(step(batch, SCALE)["loss"])
        except Unavailable as error:
            reasons["sr-zoo"] = str(error)
        try:
            engines["torch"] = torch_training(
                plain.model, (lr, hr), LEARNING_RATE, precision, arguments.threads,
                clip_norm={"none": None, "norm": options.clip_threshold}[options.clip])
        except Unavailable as error:
            reasons["torch"] = str(error)
        check_losses(f"{name} {precision}", engines, precision)
        rows += timed_rows(name, precision, take_turns(engines, arguments.runs), reasons)
    return rows


def _step(model, network, precision, weights=None):
    from common.nn.keras_compat import set_seed

    recipe = models.model(model).recipe
    open_cpu(precision)
    set_seed(0)
    options = recipe.options_class(scale=SCALE, **network)
    step = recipe.build_step(options)
    if weights is not None:
        step.model.set_weights(weights)
    step.set_learning_rate(LEARNING_RATE)
    return step, options


# ---- the zoo's own loop -------------------------------------------------------------------------


def input_pipeline(name, arguments):
    """Patches per second from decoded images to batches, with nothing else to do."""
    from common.data.patches import PatchSampler, patch_dataset
    from common.data.sets import open_dataset
    from common.data.store import ImageStore

    steps, seconds = 200, []
    with tempfile.TemporaryDirectory() as cache:
        pairs = open_dataset("auto", arguments.data_dir, SCALE).train
        store = ImageStore(pairs, SCALE, cache, budget_bytes=4 * 10**9)
        sampler = PatchSampler(store, SCALE, PATCH, BATCH, seed=0)
        for _ in range(arguments.runs):
            batches = iter(patch_dataset(sampler, 0, steps + 1))
            next(batches)
            began = time.perf_counter()
            for _ in range(steps):
                next(batches)
            seconds.append((time.perf_counter() - began) / steps / BATCH)
    median = statistics.median(seconds)
    return [{"name": name, "engine": "sr-zoo", "precision": "uint8", "seconds": median,
             "patches_per_second": 1 / median, "runs": arguments.runs}]


def training_loop(name, arguments):
    """The whole training on files beside the same compiled step alone.

    The demo's small and quick step is the hard case, where all that is not step counts for most.
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
    """A training step that, after every `block` steps of the loop, takes as many on one batch.

    So the loop and the step alone are timed side by side, at the same speed of the machine.
    """

    def __init__(self, step, block, options):
        from common.nn.keras_compat import tf

        self._step, self._block = step, block
        side = options.patch_size
        draw = np.random.default_rng(0)
        lr = draw.integers(0, 256, (options.batch_size, side, side, 3), dtype=np.uint8)
        self._batch = (tf.constant(lr), tf.constant(lr.repeat(SCALE, 1).repeat(SCALE, 2)))
        self._bare, self._turns, self._calls, self._ended = [], [], 0, None
        self._take_bare_steps()  # compiled and warm before the loop begins
        self._bare.clear()

    def __getattr__(self, name):
        return getattr(self._step, name)

    def __call__(self, *batch):
        """As the step's."""
        result = self._step(*batch)
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
            self._step(self._batch)
            self._bare.append(time.perf_counter() - began)

    def share_out(self, timing, laps):
        """The loop's own times, without the bare steps that its clock took for its own.

        Args:
            timing: of the run's summary.
            laps: steps that it covers (all but the first).
        """
        turn, bare = statistics.median(self._turns), statistics.median(self._bare)
        total = timing["seconds_per_step"] * laps
        looped = total - sum(self._bare)
        return {"seconds": turn, "bare_seconds": bare, "overhead_percent": 100 * (turn / bare - 1),
                "data_wait_percent": 100 * timing["data_wait"] * total / looped}
