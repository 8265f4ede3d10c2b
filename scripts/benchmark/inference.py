"""Time EDSR-baseline x2 on one image, in every engine and precision."""

from functools import partial

import numpy as np

import models
from scripts.benchmark.engines import INFERENCE
from scripts.benchmark.measuring import (
    PRECISIONS,
    check_images,
    gather,
    open_cpu,
    take_turns,
    timed_rows,
)
from scripts.benchmark.settings import BASELINE, SCALE

SIZES = (128, 256, 512)


def inference(name, arguments):
    """Time one image.

    Args:
        name: ends in the side of the LR image in pixels, as inference_256.
        arguments: of the command; `threads` and `runs` are used.

    Returns:
        a row per precision and engine.

    Raises:
        UserError: an engine's image differs from the zoo's.
    """
    from common.inference.forms.form import inference_form
    from common.inference.upscaler import Upscaler

    size = int(name.split("_")[1])
    image = np.random.default_rng(0).uniform(0, 255, (size, size, 3)).astype(np.float32)
    plain = _network("float32")
    truth = Upscaler(plain).predict(image)

    def zoo(precision):
        network = inference_form(_network(precision, plain.get_weights()))
        return partial(Upscaler(network).predict, image)

    rows = []
    for precision in PRECISIONS:
        makers = {"sr-zoo": partial(zoo, precision)}
        for engine, make in INFERENCE.items():
            makers[engine] = partial(make, plain, image, precision, arguments.threads)
        engines, reasons = gather(makers)
        for engine, run in engines.items():
            check_images(f"{name} {precision} {engine}", run(), truth, precision)
        rows += timed_rows(name, precision, take_turns(engines, arguments.runs), reasons)
    return rows


def _network(precision, weights=None):
    from common.nn.keras_compat import set_seed

    open_cpu(precision)
    set_seed(0)
    model = models.create("edsr", SCALE, **BASELINE)
    if weights is not None:
        model.set_weights(weights)
    return model


MEASUREMENTS = {f"inference_{size}": inference for size in SIZES}
