"""Which model, weights and options a command means, and opening them as an `Upscaler`."""

import inspect
from collections import namedtuple

import models
from common.cli import UserError
from common.device.open import CHIPS, PRECISIONS, open_device, quiet_tensorflow
from common.scales import scale_tuple

Choice = namedtuple("Choice", "path model scale")


def add_weights_options(parser):
    """Add the options that `choose_weights` reads."""
    parser.add_argument("--model", metavar="M",
                        help="the network; default: edsr, or what --weights holds")
    parser.add_argument("--scale", type=int, metavar="S",
                        help="how many times larger; default: 2, or what --weights holds")
    parser.add_argument("--weights", metavar="W",
                        help="weight file of the zoo (.h5); default: the bundled one")


def add_network_options(parser):
    """Add the options for running a network."""
    parser.add_argument("--tile", type=int, default=0, metavar="N",
                        help="side of a tile in LR pixels; 0: only large images are tiled")
    parser.add_argument("--tile_overlap", type=int, metavar="N",
                        help="LR pixels around a tile; default: the network's receptive field, "
                             "at most 32")
    parser.add_argument("--self_ensemble", action="store_true",
                        help="average over the 8 flips and rotations: better, 8 times the work")
    parser.add_argument("--recursions", type=int, metavar="N",
                        help="run a recursive network (bsrn) with fewer recursions than in "
                             "training, which is faster")
    parser.add_argument("--interpolate", type=float, metavar="ALPHA",
                        help="blend the weights: 1 - ALPHA times --weights plus ALPHA times "
                             "--to_weights, of the same network")
    parser.add_argument("--to_weights", metavar="W",
                        help="second weight file (.h5) for --interpolate")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto",
                        help="auto: mixed_float16 on a GPU, float32 on a CPU")
    parser.add_argument("--chip", choices=CHIPS, default="auto", help="device to run on")


def choose_weights(arguments):
    """Find the weights of a command and check that they hold what was asked for.

    Args:
        arguments: with `weights`, a zoo `.h5` or None for bundled ones (EDSR x2 unless named);
            `model` and `scale` that they must hold, None for any; and `chip`.

    Returns:
        `Choice`: path, name of the model, scale.

    Raises:
        UserError: no such weights, or of another model or scale.
    """
    quiet_tensorflow(arguments.chip)
    path = arguments.weights or models.bundled_weights(arguments.model or "edsr",
                                                       arguments.scale or 2)
    choices = choose_scales(path, arguments.model, arguments.scale and [arguments.scale])
    if len(choices) > 1:
        raise UserError(f"{_holds(path, choices[0].model, [c.scale for c in choices])}; choose "
                        "one with --scale")
    return choices[0]


def choose_scales(path, model=None, scales=None):
    """What a weight file holds, after checking that it is what was asked for.

    Args:
        path: a zoo `.h5`.
        model: its name, None for any.
        scales: which of its scales, None for all.

    Returns:
        list of `Choice`, one for each scale.

    Raises:
        UserError: no such weights, or of another model or scale.
    """
    from common.weights import read_metadata

    metadata = read_metadata(path)
    held = scale_tuple(metadata["scale"])
    holds = _holds(path, metadata["model"], held)
    if model not in (None, metadata["model"]):
        raise wrong_content(holds, model, "--model or --weights")
    for scale in scales or ():
        if scale not in held:
            raise wrong_content(holds, f"x{scale}", "--scale or --weights")
    return [Choice(path, metadata["model"], scale) for scale in scales or held]


def open_upscaler(choice, arguments, progress=False):
    """Open the device and the chosen network as an `Upscaler`.

    Raises:
        UserError: `--recursions` for a network that has fewer or none; `--interpolate` without
            `--to_weights` or the other way round.
    """
    from common import weights
    from common.inference.upscaler import Upscaler

    changes = _changes(choice, arguments.recursions)
    arrays = _interpolated(choice, arguments)
    open_device(arguments.chip, arguments.precision)
    model = models.load(choice.path, scale=choice.scale, **changes)
    weights.assign(model, arrays)
    return Upscaler(model, arguments.tile, arguments.tile_overlap, arguments.self_ensemble,
                    progress)


def wrong_content(holds, wanted, flags):
    """Build the error for a file that holds another model or scale than was asked for."""
    return UserError(f"{holds}, not {wanted}; correct {flags}")


def _interpolated(choice, arguments):
    """The arrays that `--interpolate` asks for by layer, none without it."""
    from common.weights import interpolated

    alpha, to_weights = arguments.interpolate, arguments.to_weights
    if (alpha is None) != (to_weights is None):
        given, missing = "--interpolate", "--to_weights with the other file"
        if alpha is None:
            given, missing = "--to_weights", "--interpolate with a number from 0 to 1"
        raise UserError(f"{given} also needs {missing}")
    return {} if alpha is None else interpolated(choice.path, to_weights, alpha)


def _changes(choice, recursions):
    """The options of the network that differ from those it was trained with."""
    from common.weights import read_metadata

    if recursions is None:
        return {}
    known = inspect.signature(models.model(choice.model).network.build).parameters
    if "num_recursions" not in known:
        raise UserError(f"--recursions is for recursive networks such as bsrn; {choice.model} has "
                        "none")
    options = read_metadata(choice.path)["options"]
    most, every = options["num_recursions"], options.get("output_every", 1)
    if not 1 <= recursions <= most or recursions % every:
        multiple = f", a multiple of {every}" if every > 1 else ""
        raise UserError(f"--recursions {recursions}: {choice.path} was trained with {most}; give "
                        f"{every} to {most}{multiple}")
    return {"num_recursions": recursions}


def _holds(path, model, scales):
    return f"{path} holds {model} {' '.join(f'x{scale}' for scale in scales)}"
