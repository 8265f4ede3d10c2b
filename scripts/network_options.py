"""What the commands that run a network share: its options, which weights are meant, opening it."""

from collections import namedtuple

import models
from common.cli import UserError
from common.device import CHIPS, PRECISIONS, open_device, quiet_tensorflow

Choice = namedtuple("Choice", "path model scale")


def add_network_options(parser):
    """Add the options that say how a network runs."""
    parser.add_argument("--tile", type=int, default=0, metavar="N",
                        help="side of a tile in LR pixels; 0: whole images, large ones in tiles")
    parser.add_argument("--tile_overlap", type=int, metavar="N",
                        help="LR pixels around a tile; default: what the network sees, at most 32")
    parser.add_argument("--self_ensemble", action="store_true",
                        help="mean over the 8 flips and rotations: better, 8 times the work")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto",
                        help="auto: mixed_float16 on a GPU, float32 on a CPU")
    parser.add_argument("--chip", choices=CHIPS, default="auto", help="device to run on")


def choose_weights(arguments):
    """Find the weights that are meant and check that they hold what was asked for.

    Args:
        arguments: with `weights`, a zoo `.h5` or None for the ones that come with the zoo (EDSR x2
            unless named); `model` and `scale` that they must hold, None for any; and `chip`.

    Returns:
        `Choice`: path, name of the model, scale.

    Raises:
        UserError: no such weights, or of another model or scale.
    """
    from common.weights import read_metadata

    quiet_tensorflow(arguments.chip)  # the registry imports it
    model, scale = arguments.model, arguments.scale
    path = arguments.weights or models.bundled_weights(model or "edsr", scale or 2)
    metadata = read_metadata(path)
    held = metadata["scale"]
    scales = held if isinstance(held, list) else [held]
    holds = f"{path} holds {metadata['model']} {' '.join(f'x{s}' for s in scales)}"
    if model not in (None, metadata["model"]):
        raise UserError(f"{holds}, not {model}; correct --model or --weights")
    if scale is None and len(scales) > 1:
        raise UserError(f"{holds}; choose one with --scale")
    if scale not in (None, *scales):
        raise UserError(f"{holds}, not x{scale}; correct --scale or --weights")
    return Choice(path, metadata["model"], scale or scales[0])


def open_upscaler(choice, arguments, progress=False):
    """Open the device and the chosen network as an `Upscaler`."""
    from common.inference import Upscaler

    open_device(arguments.chip, arguments.precision)
    return Upscaler(models.load(choice.path, scale=choice.scale), arguments.tile,
                    arguments.tile_overlap, arguments.self_ensemble, progress)
