"""Time the inference form of every model beside its Keras model, and without each rewriting."""

from functools import partial

import numpy as np

import models
from scripts.benchmark.measuring import (
    PRECISIONS,
    check_images,
    gather,
    open_cpu,
    take_turns,
    timed_rows,
)
from scripts.benchmark.settings import BASELINE

# model: (scale, network, side of the LR image)
NETWORKS = {"edsr": (2, BASELINE, 64), "bsrn": (2, {}, 48), "vdsr": (2, {}, 64),
            "srcnn": (3, {}, 96), "srgan": (4, {}, 64), "esrgan": (4, {"num_blocks": 4}, 48),
            "srdrm": (2, {}, 64)}


def form(name, arguments):
    """Time one image through a network of random weights.

    Args:
        name: form_ and a key of `NETWORKS`.
        arguments: of the command; `runs` is used.

    Returns:
        a row per precision for `keras`, the model as it is trained, and `form`; in float32 also for
        `-<rule>`, the form without one rewriting, for each that makes a difference.

    Raises:
        UserError: the form's image differs from the Keras model's.
    """
    from common.nn.keras_compat import set_seed

    model = name.split("_", 1)[1]
    scale, network, side = NETWORKS[model]
    image = np.random.default_rng(0).uniform(0, 255, (side, side, 3)).astype(np.float32)

    def build(precision):
        open_cpu(precision)
        set_seed(0)
        return models.create(model, scale, **network)

    truth = _runner(build("float32"))(image)
    level = min(1, 255 / np.abs(truth).max())  # untrained networks may leave 0..255
    rows = []
    for precision in PRECISIONS:
        engines, reasons = gather({"keras": partial(_engines, build, precision)})
        engines = {engine: partial(run, image) for engine, run in engines.get("keras", {}).items()}
        for engine, run in engines.items():
            check_images(f"{name} {precision} {engine}", run() * level, truth * level, precision)
        rows += timed_rows(name, precision, take_turns(engines, arguments.runs, settle=False),
                           reasons)
    return rows


def _engines(build, precision):
    """The functions to time, by name; weights of another precision are the same ones rounded."""
    from common.inference.forms.form import inference_form
    from common.inference.forms.rewrites import RULES

    keras = build(precision)
    whole = inference_form(keras)
    engines = {"keras": _runner(keras), "form": _runner(whole)}
    for rule in RULES if precision == "float32" else ():
        without = inference_form(keras, [each for each in RULES if each is not rule])
        if _work(without) != _work(whole):
            engines[f"-{rule.__name__}"] = _runner(without)
    return engines


def _work(network):
    """What tells two forms of a network apart."""
    return [(type(operation).__name__, getattr(operation, "stride", None),
             tuple(getattr(getattr(operation, "kernel", None), "shape", ())))
            for operation in network.operations]


def _runner(network):
    from common.inference.upscaler import Upscaler

    return Upscaler(network).predict


MEASUREMENTS = {f"form_{model}": form for model in NETWORKS}
