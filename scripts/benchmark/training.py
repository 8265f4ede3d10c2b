"""Time one training step of a pixel model, in TensorFlow and PyTorch."""

from functools import partial

import numpy as np

import models
from scripts.benchmark.engines import torch_training
from scripts.benchmark.measuring import (
    PRECISIONS,
    check_losses,
    gather,
    open_cpu,
    take_turns,
    timed_rows,
)
from scripts.benchmark.settings import BASELINE, BATCH, PATCH, SCALE

# name: (model, network, batch, LR patch); the rest of a step is the model's default recipe.
TRAIN_STEPS = {
    "train_step": ("edsr", BASELINE, BATCH, PATCH),
    "train_step_bsrn": ("bsrn", {"num_features": 64, "num_states": 64, "num_recursions": 16}, 8,
                        48),
    "train_step_bsrn_small": ("bsrn", {"num_features": 32, "num_states": 32, "num_recursions": 4},
                              8, 24),
}
LEARNING_RATE = 1e-4
RATES = np.array([LEARNING_RATE], np.float32)


def train_step(name, arguments):
    """Time one x2 step as the model's `build_step` makes it.

    Args:
        name: a key of `TRAIN_STEPS`.
        arguments: of the command; `threads` and `runs` are used.

    Returns:
        a row per precision and engine.

    Raises:
        UserError: the engines' losses differ.
    """
    from common.nn.keras_compat import tf

    model, network, batch_size, patch_size = TRAIN_STEPS[name]
    lr, hr = random_batch(batch_size, patch_size, SCALE)
    batch = (tf.constant(lr), tf.constant(hr))
    plain, options = _step(model, network, "float32")
    weights = plain.model.get_weights()
    clip_norm = {"none": None, "norm": options.clip_threshold}[options.clip]

    def zoo(precision):
        step, _ = _step(model, network, precision, weights)
        return lambda: float(step(batch, RATES, SCALE)["loss"])

    rows = []
    for precision in PRECISIONS:
        engines, reasons = gather({
            "sr-zoo": partial(zoo, precision),
            "torch": partial(torch_training, plain.model, (lr, hr), LEARNING_RATE, precision,
                             arguments.threads, clip_norm)})
        check_losses(f"{name} {precision}", engines, precision)
        rows += timed_rows(name, precision, take_turns(engines, arguments.runs), reasons)
    return rows


def random_batch(batch_size, patch_size, scale):
    """LR patches of uint8 noise (N, P, P, 3), and HR patches that repeat their pixels."""
    draw = np.random.default_rng(0)
    lr = draw.integers(0, 256, (batch_size, patch_size, patch_size, 3), dtype=np.uint8)
    return lr, lr.repeat(scale, axis=1).repeat(scale, axis=2)


def _step(model, network, precision, weights=None):
    from common.nn.keras_compat import set_seed

    recipe = models.model(model).recipe
    open_cpu(precision)
    set_seed(0)
    options = recipe.options_class(scale=SCALE, **network)
    step = recipe.build_step(options)
    if weights is not None:
        step.model.set_weights(weights)
    return step, options


MEASUREMENTS = dict.fromkeys(TRAIN_STEPS, train_step)
