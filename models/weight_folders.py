"""Find weights in a file or folder: the zoo's `.h5` files and checkpoints of training runs."""

from __future__ import annotations

import re
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import models
from common.cli import UserError, one_line
from common.device.quiet import quiet_tensorflow
from common.untrusted import damaged
from models import catalogue
from models.choose import Choice, choose_scales

Found = namedtuple("Found", "name path checkpoint")  # path: the .h5 that describes the network


def choose_networks(arguments: Any, temporary: Path) -> tuple:
    """Choose the networks and scales of a command.

    A file must match the model and scales. In a folder, weights that do not match are skipped, and
    weights that cannot be read are reported on stderr.

    Args:
        arguments: with `weights`, a file, a folder, or None for the bundled weights; `model` and
            `scale` that they must hold, or None for any; and `chip`.
        temporary: folder for the `.h5` files into which checkpoints are converted.

    Returns:
        (list of (name of the weights, [`Choice`]), names of weights that could not be read).
        Bicubic has neither a name nor a path.

    Raises:
        UserError: the weights do not exist, or belong to another model or scale.
    """
    if arguments.model == "bicubic":
        return [(None, [Choice(None, "bicubic", scale) for scale in arguments.scale])], []
    quiet_tensorflow(arguments.chip)
    if arguments.weights is None:
        paths = [catalogue.bundled(arguments.model, scale) for scale in arguments.scale]
        return [(path.name, choose_scales(path, arguments.model, [scale]))
                for path, scale in zip(paths, arguments.scale)], []
    path = catalogue.find(arguments.weights)
    if not path.is_dir():
        return [(path.name, choose_scales(path, arguments.model, arguments.scale))], []
    networks, failed = [], []
    for found in find_weights(arguments.weights):
        try:
            networks.append((found.name, _of_folder(found, arguments, temporary)))
        except UserError as error:
            failed.append(found.name)
            print(f"error: {one_line(error)}", file=sys.stderr)
    networks = [network for network in networks if network[1]]
    if not networks:
        raise UserError(f"no usable weights in {arguments.weights}"
                        + (f" for {arguments.model}" if arguments.model else "")
                        + "".join(f" x{scale}" for scale in arguments.scale or ()))
    return networks, failed


def _of_folder(found, arguments, temporary):
    """The choices for one of a folder's weights; empty if its model or scale is not wanted."""
    if found.path is None:
        raise UserError(f"the checkpoint {found.name} has no .h5 beside it to describe its network")
    choices = [choice for choice in choose_scales(found.path)
               if arguments.model in (None, choice.model)
               and choice.scale in (arguments.scale or [choice.scale])]
    if found.checkpoint is None or not choices:
        return choices
    path = temporary / f"{len(list(temporary.iterdir()))}.h5"
    checkpoint_to_h5(found.checkpoint, found.path, path)
    return [choice._replace(path=path) for choice in choices]


def find_weights(folder: str | Path) -> list[Found]:
    """List the `.h5` files and checkpoints in a folder, in natural order of their names.

    Args:
        folder: a folder of `.h5` files, a run's folder, or its `checkpoints`.

    Returns:
        list of `Found`: the name for a table; the `.h5` that describes the network, None if a
        checkpoint has none beside it; and the prefix of the checkpoint, None for an `.h5`.

    Raises:
        UserError: there are none.
    """
    folder = Path(folder)
    found = [Found(path.name, path, None) for path in folder.glob("*.h5")]
    for inner in ("", "best", "checkpoints", "checkpoints/best"):
        for index in (folder / inner).glob("*.index"):
            prefix = index.with_suffix("")
            found.append(Found(str(prefix.relative_to(folder)), _description(index.parent), prefix))
    if not found:
        raise UserError(f"no .h5 weights and no checkpoints (step-N.index) in {folder}")
    return sorted(found, key=lambda item: [int(part) if part.isdigit() else part
                                           for part in re.split(r"(\d+)", item.name)])


def checkpoint_to_h5(checkpoint: str | Path, description: str | Path, path: str | Path) -> None:
    """Write a checkpoint's weights, or their moving average if it has one, as a zoo `.h5`.

    Args:
        checkpoint: its prefix, e.g. run/checkpoints/step-1000.
        description: a zoo `.h5` of the same network; its arrays are not used.
        path: the new file.

    Raises:
        UserError: the checkpoint is damaged or belongs to another network.
    """
    from common import weights
    from common.nn.keras_compat import tf

    metadata = weights.read_metadata(description)
    with damaged(description):
        model = models.described(metadata)
    try:
        # The weights that a run validates and exports; see `tracked` in common.training.ema.
        averaged = any(name.startswith("average/")
                       for name, _ in tf.train.list_variables(str(checkpoint)))
        tracked = {"average" if averaged else "model": model}
        status = tf.train.Checkpoint(**tracked).restore(str(checkpoint))
        status.assert_existing_objects_matched().expect_partial()
    except (tf.errors.OpError, ValueError, IndexError, AssertionError) as error:
        raise UserError(f"checkpoint {checkpoint} is damaged, belongs to another network than "
                        f"{description}, or was written by the other Keras version "
                        f"({type(error).__name__})") from error
    weights.save(model, path)


def _description(folder):
    """The `.h5` of the run to which a folder of checkpoints belongs, preferably `_last`."""
    folder = folder.resolve()
    for inner in ("best", "checkpoints"):
        if folder.name == inner and not list(folder.glob("*.h5")):
            folder = folder.parent
    return min(folder.glob("*.h5"), default=None,
               key=lambda path: ("_last" not in path.name, path.name))
