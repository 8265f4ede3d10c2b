"""Tell what an Ascend NPU would stumble over: `python -m scripts.npu_check --model edsr`.

No NPU is needed. The functions that training and inference run are traced at a reduced size and
looked through with all that they call, and so are the layers of the models.
"""

import dataclasses
import json
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import models
from common.cli import UserError
from common.device.open import open_device, quiet_tensorflow
from common.files import write_text
from common.flags import OneLineParser
from common.modelzoo.flags import pairs, value_of, words
from common.scales import scale_name, scale_tuple

CALLS = 3
TILE, OVERLAP = 16, 8
_OWN = ("--model", "--mode", "--json", "--help", "-h")


def main(argv):
    """Run the command; status 1 where something was found."""
    arguments, flags = _read(argv)
    quiet_tensorflow("cpu")
    if arguments.model != "all" and arguments.model not in models.available():
        models.model(arguments.model)  # says what is wrong
    names = models.available() if arguments.model == "all" else [arguments.model]
    modes = ("train", "infer") if arguments.mode == "both" else (arguments.mode,)
    rows = []
    for row in check(names, modes, flags):
        rows.append(row)
        for line in lines(row):
            print(line, flush=True)
    if arguments.json:
        write_text(arguments.json, json.dumps({"results": rows}, indent=2) + "\n")
    return 1 if any(row["findings"] for row in rows) else 0


def check(names, modes=("train", "infer"), flags=()):
    """Check some models of the zoo.

    Args:
        names: of the models.
        modes: train, infer or both.
        flags: of the models' train commands, in place of the model's small ones and the recipe's.

    Yields:
        a dict for each model, mode and stage or scale: `model`, `scale`, `mode`, `stage`,
        `operations`, `kinds`, `list` (where the supported operators are from) and `findings`, dicts
        of the fields of `npu_findings.Finding`.

    Raises:
        UserError: an unknown flag or scale, or a precision that is not the NPU's.
    """
    from scripts.npu_check.findings import read_support

    support = read_support()
    open_device("cpu", "float32")
    for name in names:
        build_step, stages = _stages(name, flags)
        for options in stages if "train" in modes else ():
            with _with_vgg(options) as complete:
                step = build_step(complete)
            findings, count = check_step(step, options, support)
            yield _row(name, options.scale, "train", getattr(options, "stage", None), findings,
                       count, support)
        if "infer" in modes:
            with _with_vgg(stages[0]) as complete:
                made_with = json.loads(build_step(complete).model.zoo_metadata)["options"]
        for scale in scale_tuple(stages[0].scale) if "infer" in modes else ():
            findings, count = check_upscaling(models.create(name, scale, **made_with), support)
            yield _row(name, scale, "infer", None, findings, count, support)


def check_step(step, options, support):
    """Call a training step as the loop does, and look through what was traced.

    Args:
        step: as the loop wants it, see `common.training.steps.PixelStep`.
        options: the `TrainOptions` that it was built with.
        support: a `npu_findings.Support`.

    Returns:
        list of `npu_findings.Finding`, and a Counter of the operators.
    """
    from common.nn.keras_compat import tf

    rng, found = np.random.default_rng(0), []
    for scale in scale_tuple(options.scale):
        for call in range(CALLS):
            lr, hr = (rng.integers(0, 256, shape).astype(dtype)
                      for shape, dtype in _shapes(options, scale))
            rate = 1e-4 * (call + 1)
            step.set_learning_rate(*[rate] * (1 + len(step.schedules)))
            step((tf.constant(lr), tf.constant(hr)), scale)
            if call == 0:
                before = _traces(step)
        found += _retraced(step, before, f"{CALLS} steps with batches of one size")
    return _look_through(step, support, found)


def check_upscaling(model, support):
    """Enlarge images in tiles of one size, as on an NPU, and look through what was traced.

    Args:
        model: of one scale.
        support: a `npu_findings.Support`.

    Returns:
        as `check_step`.
    """
    from common.inference.upscaler import Upscaler

    upscale = Upscaler(model, tile=TILE, tile_overlap=OVERLAP, fixed=True)
    window = 4 * (TILE + 2 * OVERLAP)
    upscale.predict(np.zeros((window, window, 3), np.float32))
    before = _traces(upscale)
    upscale.predict(np.zeros((window // 2 + 7, window - 9, 3), np.float32))
    upscale.predict(np.zeros((TILE - 3, TILE // 2, 3), np.float32))
    return _look_through(upscale, support, _retraced(upscale, before, "tiles of one size"))


def lines(row):
    """A row of `check` as text: a line for each finding, or one that says there is none."""
    what = f"{row['model']} {scale_name(row['scale'])} {row['mode']}"
    what += f" ({row['stage']})" if row["stage"] else ""
    for finding in row["findings"]:
        layer, count = finding["layer"], finding["count"]
        place = f" in layer {layer}" if layer and layer != finding["name"] else ""
        more = f", and {count - 1} more" if count > 1 else ""
        yield (f"{what}: {finding['kind']}: {finding['name']}{place}{more}: {finding['problem']}; "
               f"{finding['advice']}")
    if not row["findings"]:
        yield (f"{what}: nothing found in {row['operations']} operations of {row['kinds']} kinds "
               f"(supported ones: {row['list']})")


# ---- what is run --------------------------------------------------------------------------------

def _stages(name, flags):
    """A model's `build_step`, and the options of each of its stages at the reduced size."""
    from common.training.command import read_options

    model = models.model(name)
    small = [f"--{key}={list(value) if isinstance(value, tuple) else value}"
             for key, value in {**model.small, "batch_size": 2}.items()]
    scale = value_of(flags, "--scale")
    small.append(f"--patch_size={32 if scale == '1' else 16}")
    options = read_options(model.recipe, [*small, *flags],
                           f"python -m scripts.npu_check --model {name}")
    if options.precision not in ("auto", "float32"):
        raise UserError(f"--precision {options.precision}: on an NPU it is float32, and the "
                        "adapter's --precision_mode casts; leave it out")
    if not model.stages:
        return model.recipe.build_step, [options]
    from common.training.stages import in_stage

    stages = model.stages if options.stage == "both" else (options.stage,)
    return model.recipe.build_step, [in_stage(options, stage) for stage in stages]


@contextmanager
def _with_vgg(options):
    """The options with a VGG19 file of zeros where the step wants one and none is named."""
    wanted = (getattr(options, "stage", None) == "gan" and options.perceptual_weight
              and not options.vgg_weights)
    if not wanted:
        yield options
        return
    import h5py

    from common.training.vgg import BLOCKS

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "vgg19.h5")
        with h5py.File(str(path), "w") as file:
            names, depth = [], 3
            for block, (filters, count) in enumerate(BLOCKS, 1):
                for i in range(1, count + 1):
                    names.append(f"block{block}_conv{i}")
                    group = file.create_group(names[-1])
                    # Nothing is written for what has no values: the file is small.
                    group.create_dataset("kernel:0", (3, 3, depth, filters), "f4")
                    group.create_dataset("bias:0", (filters,), "f4")
                    group.attrs["weight_names"] = np.array(["kernel:0", "bias:0"], "S")
                    depth = filters
            file.attrs["layer_names"] = np.array(names, "S")
        yield dataclasses.replace(options, vgg_weights=str(path))


def _shapes(options, scale):
    """Shape and type of the LR and the HR batch, as the loop's data sets have them."""
    n, p = options.batch_size, options.patch_size
    if options.dataset == "hdf5":
        return [((n, p, p, 1), "float32")] * 2
    return [((n, p, p, 3), "uint8"), ((n, p * scale, p * scale, 3), "uint8")]


# ---- what is looked at --------------------------------------------------------------------------

def _look_through(runner, support, found):
    from scripts.npu_check import findings as npu_findings
    from scripts.npu_check.findings import Finding

    layers = []
    for model in _models(runner):
        layers += npu_findings.all_layers(model)
    layers = list({id(layer): layer for layer in layers}.values())
    found, count, functions = list(found), Counter(), list(_functions(runner).values())
    if not functions:
        found.append(Finding("eager", type(runner).__name__, None, "nothing in it is compiled",
                             "wrap the step in tf.function", 1))
    for function in functions:
        for concrete in function._list_all_concrete_functions():
            found += npu_findings.check_graph(concrete.graph, support, layers)
            count.update(op.type for op in npu_findings.operations(concrete.graph))
    return npu_findings.merged(found + npu_findings.check_layers(layers, support)), count


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


def _retraced(runner, before, when):
    from scripts.npu_check.findings import Finding

    return [Finding("retracing", name, None, f"traced {count - before[name]} more times in {when}",
                    "pass numbers that change as tensors or variables, and one size of batch", 1)
            for name, count in _traces(runner).items() if count > before[name]]


def _row(name, scale, mode, stage, findings, count, support):
    return {"model": name, "scale": scale, "mode": mode, "stage": stage,
            "operations": sum(count.values()), "kinds": len(count), "list": support.source,
            "findings": [finding._asdict() for finding in findings]}


# ---- the command --------------------------------------------------------------------------------

def _read(argv):
    """The command's own arguments, and the flags that belong to the train command."""
    given = pairs(argv)
    arguments = _parser().read(words(flag for flag in given if _is_own(*flag)))
    if arguments.model is None:
        raise UserError("--model names the network to check, or all")
    flags = words(flag for flag in given if not _is_own(*flag))
    if arguments.model == "all" and any(not flag.startswith("--scale=") for flag in flags):
        raise UserError(f"{flags[0].split('=')[0]} is for one network; name it with --model")
    return arguments, flags


def _is_own(name, value):
    return (value if name is None else name) in _OWN


def _parser():
    parser = OneLineParser(
        prog="python -m scripts.npu_check",
        usage="python -m scripts.npu_check --model M [--scale S] [options of the train command]",
        description="Trace what training and inference run, without an NPU, and tell what an "
                    "Ascend NPU would stumble over; exit status 1 if there is anything.",
        epilog="All other flags are those of the model's train command, e.g. --scale 4, "
               "--num_blocks 16, --discriminator unet, --preset demo. Unless given, the network is "
               "as small as can be.")
    parser.add_argument("--model", metavar="M", help="the network, or all")
    parser.add_argument("--mode", choices=["train", "infer", "both"], default="both",
                        help="which functions")
    parser.add_argument("--json", metavar="F", help="write the findings to this file as well")
    return parser
