"""Run a model's training step and upscaling, and find in the traces what an NPU cannot run."""

import json
from collections import Counter

import numpy as np

import models
from common.device.open import open_device
from common.scales import scale_tuple
from scripts.npu_check import subjects
from scripts.npu_check.eager import recorded
from scripts.npu_check.findings import Finding, merged
from scripts.npu_check.support import read_support

CALLS = 3
TILE, OVERLAP = 16, 8


def check(names, modes=("train", "infer"), flags=()):
    """Check models of the zoo.

    Args:
        names: of the models.
        modes: "train", "infer" or both.
        flags: of the models' train commands; they override the small defaults.

    Yields:
        a dict for each model, mode and stage or scale: `model`, `scale`, `mode`, `stage`,
        `operations`, `kinds`, `list` (source of the supported operators) and `findings`, dicts of
        the fields of `findings.Finding`.

    Raises:
        UserError: an unknown flag or scale, or a precision that an NPU lacks.
    """
    support = read_support()
    open_device("cpu", "float32")
    for name in names:
        build_step, stages = subjects.stages(name, flags)
        for options in stages if "train" in modes else ():
            with subjects.with_vgg(options) as complete:
                step = build_step(complete)
            findings, count = check_step(step, options, support)
            yield _row(name, options.scale, "train", getattr(options, "stage", None), findings,
                       count, support)
        if "infer" in modes:
            with subjects.with_vgg(stages[0]) as complete:
                made_with = json.loads(build_step(complete).model.zoo_metadata)["options"]
        for scale in scale_tuple(stages[0].scale) if "infer" in modes else ():
            findings, count = check_upscaling(models.create(name, scale, **made_with), support)
            yield _row(name, scale, "infer", None, findings, count, support)


def check_step(step, options, support):
    """Call a training step as the loop does and check what was traced.

    Args:
        step: with the interface of `common.training.steps.PixelStep`.
        options: the `TrainOptions` that it was built with.
        support: a `support.Support`.

    Returns:
        list of `findings.Finding`, and a Counter of the operators.
    """
    from common.nn.keras_compat import tf

    rng, found = np.random.default_rng(0), []
    for scale in scale_tuple(options.scale):
        for call in range(CALLS):
            lr, hr = (rng.integers(0, 256, shape).astype(dtype)
                      for shape, dtype in subjects.batch_shapes(options, scale))
            batch = [tf.constant(x) for x in (lr, hr, *step.numbers(call, options.batch_size))]
            rates = tf.constant([1e-4 * (call + 1)] * (1 + len(step.schedules)))
            with recorded() as eager:
                step(batch, rates, scale)
            if call == 0:
                before = _traces(step)
        found += _eager(eager, "a step")
        found += _retraced(step, before, f"{CALLS} steps with batches of one size")
    return _check_traced(step, _models(step), support, found)


def check_upscaling(model, support):
    """Enlarge images in tiles of one size, as on an NPU, and check what was traced.

    Args:
        model: of one scale.
        support: a `support.Support`.

    Returns:
        as `check_step`.
    """
    from common.inference.forms.form import inference_form
    from common.inference.upscaler import Upscaler

    upscale = Upscaler(inference_form(model), tile=TILE, tile_overlap=OVERLAP, fixed=True)
    window = 4 * (TILE + 2 * OVERLAP)
    upscale.predict(np.zeros((window, window, 3), np.float32))
    before = _traces(upscale)
    upscale.predict(np.zeros((window // 2 + 7, window - 9, 3), np.float32))
    with recorded() as eager:
        upscale.predict(np.zeros((TILE - 3, TILE // 2, 3), np.float32))
    found = _eager(eager, "a tile") + _retraced(upscale, before, "tiles of one size")
    return _check_traced(upscale, [model], support, found)


def _check_traced(runner, networks, support, found):
    """Add to the findings those in the graphs that an object keeps and in the networks' layers."""
    from scripts.npu_check.graphs import check_graph, operations
    from scripts.npu_check.layers import all_layers, check_layers

    layers = []
    for model in networks:
        layers += all_layers(model)
    layers = list({id(layer): layer for layer in layers}.values())
    found, count, functions = list(found), Counter(), list(_functions(runner).values())
    if not functions:
        found.append(Finding("eager", type(runner).__name__, None, "nothing in it is compiled",
                             "wrap the step in tf.function", 1))
    for function in functions:
        for concrete in function._list_all_concrete_functions():
            found += check_graph(concrete.graph, support, layers)
            count.update(op.type for op in operations(concrete.graph))
    return merged(found + check_layers(layers, support)), count


def _attributes(runner):
    for name, value in vars(runner).items():
        if isinstance(value, dict):
            yield from ((f"{name}[{key!r}]", each) for key, each in value.items())
        else:
            yield name, value


def _functions(runner):
    """The compiled functions that an object keeps, by name."""
    return {name: value for name, value in _attributes(runner)
            if hasattr(value, "experimental_get_tracing_count")}


def _models(runner):
    from common.nn.keras_compat import keras

    return [value for _, value in _attributes(runner) if isinstance(value, keras.Model)]


def _traces(runner):
    return {name: function.experimental_get_tracing_count()
            for name, function in _functions(runner).items()}


def _eager(counts, occasion):
    """A finding for the operations in a `eager.recorded` Counter, if there are any."""
    if not counts:
        return []
    return [Finding("eager", min(counts), None,
                    f"{sum(counts.values())} operations ({', '.join(sorted(counts))}) run outside "
                    f"of a compiled function for {occasion}, each a graph of its own on an NPU",
                    "move them into the tf.function", 1)]


def _retraced(runner, before, when):
    return [Finding("retracing", name, None, f"traced {count - before[name]} more times in {when}",
                    "pass changing numbers as tensors or variables, and batches of one size", 1)
            for name, count in _traces(runner).items() if count > before[name]]


def _row(name, scale, mode, stage, findings, count, support):
    return {"model": name, "scale": scale, "mode": mode, "stage": stage,
            "operations": sum(count.values()), "kinds": len(count), "list": support.source,
            "findings": [finding._asdict() for finding in findings]}
