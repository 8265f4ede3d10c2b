"""Choose model, weights and options of a command, and open them as an `Upscaler`."""

from __future__ import annotations

import argparse
import inspect
from collections import namedtuple
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import models
from common.batch import add_size_option
from common.cli import UserError
from common.device.open import CHIPS, PRECISIONS, open_device
from common.device.quiet import quiet_tensorflow
from common.scales import scale_tuple
from models import catalogue

if TYPE_CHECKING:
    from common.inference.upscaler import Upscaler
    from common.nn.keras_compat import keras

Choice = namedtuple("Choice", "path model scale")


def add_weights_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `choose_weights` reads."""
    parser.add_argument("--model", metavar="M",
                        help="the network; default: edsr, or what --weights holds")
    parser.add_argument("--scale", type=int, metavar="S",
                        help="how many times larger; default: 2, or what --weights holds")
    parser.add_argument("--weights", metavar="W",
                        help="weight file of the zoo (.h5), or a name: "
                             f"{catalogue.uses()}; default: the first of the model and scale")


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for running a network."""
    parser.add_argument("--tile", type=int, default=0, metavar="N",
                        help="side of a tile in LR pixels; 0: only large images are tiled")
    parser.add_argument("--tile_overlap", type=int, metavar="N",
                        help="LR pixels around a tile; default: as many as change the result by "
                             "one grey level, measured with the weights")
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
    add_size_option(parser)
    parser.add_argument("--precision", choices=PRECISIONS, default="auto",
                        help="auto: mixed_float16 on a GPU, float32 on a CPU")
    parser.add_argument("--chip", choices=CHIPS, default="auto", help="device to run on")


def choose_weights(arguments: Any) -> Choice:
    """Find the weights of a command and check that they match its model and scale.

    Args:
        arguments: with `weights`, a zoo `.h5`, a name of the catalogue, or None for bundled ones;
            `model` and `scale` that they must hold, or None for any; and `chip`.

    Raises:
        UserError: the weights do not exist, or belong to another model or scale.
    """
    path = (catalogue.find(arguments.weights) if arguments.weights
            else catalogue.bundled(arguments.model, arguments.scale or 2))
    choices = choose_scales(path, arguments.model, arguments.scale and [arguments.scale])
    if len(choices) > 1:
        raise UserError(f"{_holds(path, choices[0].model, [c.scale for c in choices])}; choose "
                        "one with --scale")
    return choices[0]


def choose_scales(path: str | Path, model: str | None = None,
                  scales: Sequence[int] | None = None) -> list[Choice]:
    """Check that a weight file holds a model and scales, and return one `Choice` per scale.

    Args:
        path: a zoo `.h5`.
        model: name of the model, or None for any.
        scales: the scales, or None for all in the file.

    Raises:
        UserError: the weights do not exist, or belong to another model or scale.
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


def open_upscaler(choice: Choice, arguments: Any, progress: bool = False) -> Upscaler:
    """Open the device and the chosen network.

    Raises:
        UserError: `--recursions` for a network with fewer or none; only one of `--interpolate` and
            `--to_weights`.
    """
    quiet_tensorflow(arguments.chip)
    from common.inference.forms.form import inference_form
    from common.inference.upscaler import Upscaler

    open_device(arguments.chip, arguments.precision)
    return Upscaler(inference_form(load_network(choice, arguments)), arguments.tile,
                    arguments.tile_overlap, arguments.self_ensemble, progress)


def load_network(choice: Choice, arguments: Any) -> keras.Model:
    """Load the chosen network with the changes to it that a command asks for.

    Raises:
        UserError: as `open_upscaler`.
    """
    from common import weights

    changes = _changes(choice, arguments.recursions)
    arrays = _interpolated(choice, arguments)
    model = models.load(choice.path, scale=choice.scale, **changes)
    weights.assign(model, arrays)
    return model


def wrong_content(holds: str, wanted: str, flags: str) -> UserError:
    """Build the error for a file that holds another model or scale than the wanted one."""
    return UserError(f"{holds}, not {wanted}; correct {flags}")


def _interpolated(choice, arguments):
    """The interpolated arrays by layer; empty without `--interpolate`."""
    from common.weights import interpolated

    alpha, to_weights = arguments.interpolate, arguments.to_weights
    if (alpha is None) != (to_weights is None):
        given, missing = "--interpolate", "--to_weights with a second file"
        if alpha is None:
            given, missing = "--to_weights", "--interpolate with a number from 0 to 1"
        raise UserError(f"{given} also needs {missing}")
    return {} if alpha is None else interpolated(choice.path, to_weights, alpha)


def _changes(choice, recursions):
    """The network options that differ from those in training."""
    from common.weights import read_metadata

    if recursions is None:
        return {}
    known = inspect.signature(models.model(choice.model).network.build).parameters
    if "num_recursions" not in known:
        raise UserError("--recursions is for recursive networks such as bsrn, not for "
                        f"{choice.model}")
    options = read_metadata(choice.path)["options"]
    most, every = options["num_recursions"], options.get("output_every", 1)
    if not 1 <= recursions <= most or recursions % every:
        multiple = f", a multiple of {every}" if every > 1 else ""
        raise UserError(f"--recursions {recursions}: {choice.path} was trained with {most}; give "
                        f"{every} to {most}{multiple}")
    return {"num_recursions": recursions}


def _holds(path, model, scales):
    return f"{path} holds {model} {' '.join(f'x{scale}' for scale in scales)}"
