"""Weights as one `.h5`: stock Keras opens it on the stack that wrote it, the zoo opens it on both.

Beside Keras's own content the file carries an attribute `sr_zoo` with JSON of the model's name,
scale and options. Arrays are found by layer name and index, which mean the same in both Keras
versions.
"""

import json
from collections import namedtuple
from pathlib import Path

import h5py
import numpy as np

from common.cli import UserError
from common.files import atomic_path

METADATA = "sr_zoo"

Report = namedtuple("Report", "loaded left_out")


def save(model, path):
    """Write a model of the zoo (made by `models.create` or `models.load`) to an `.h5`, atomically.

    Raises:
        UserError: the name does not end in `.h5`, or the model does not come from the zoo.
    """
    from common.keras_compat import save_h5

    path = Path(path)
    if path.suffix != ".h5":
        raise UserError(f"weights are saved as .h5, not as {path.name}")
    metadata = getattr(model, "zoo_metadata", None)
    if metadata is None:
        raise UserError("only a model made by models.create() or models.load() can be saved: this "
                        "one does not say which model of the zoo it is")
    with atomic_path(path) as temporary:
        save_h5(model, temporary)
        with h5py.File(temporary, "r+") as file:
            file.attrs[METADATA] = metadata


def read_metadata(path):
    """The dict `{"model", "scale", "options"}` that says what a zoo `.h5` holds.

    Raises:
        UserError: there is no such file, or it is not a weight file of the zoo.
    """
    with _open(path) as file:
        if METADATA not in file.attrs:
            raise UserError(f"{path} is an HDF5 file but not a weight file of this zoo (no "
                            f"attribute {METADATA!r}); it may be another program's")
        return json.loads(file.attrs[METADATA])


def read_arrays(path):
    """The arrays of a zoo or Keras `.h5` as `{layer name: [arrays in order]}`."""
    with _open(path) as file:
        layers = {}
        for name, layer in file.get("model_weights", file).items():
            arrays = [np.asarray(layer[weight]) for weight in _weight_names(layer)]
            if arrays:
                layers[name] = arrays
        return layers


def load_into(model, path, partial=False, unused=False):
    """Copy the arrays of a zoo `.h5` into a model by layer name and index.

    Args:
        model: a Keras model.
        path: the file.
        partial: take every layer whose arrays all fit and leave the others as they are, as when a
            x4 model starts from x2; otherwise every layer must fit.
        unused: the file may hold layers that the model lacks, as that of a joint model does.

    Returns:
        a `Report` of the names of layers loaded and left out.

    Raises:
        UserError: a layer does not fit (with `partial`: not one fits). The model is then unchanged.
    """
    from common.keras_compat import layer_variables

    stored = read_arrays(path)
    fitting, left_out = [], []
    for layer in model.layers:
        variables = layer_variables(layer)
        if not variables:
            continue
        arrays = stored.pop(layer.name, [])
        if [tuple(v.shape) for v in variables] == [a.shape for a in arrays]:
            fitting.append((layer.name, variables, arrays))
        else:
            left_out.append(layer.name)
    if not (partial or unused):
        left_out += sorted(stored)
    if not fitting or (left_out and not partial):
        raise UserError(f"the weights in {path} do not fit this network: "
                        f"{_some(left_out)} differ or are missing")
    for _, variables, arrays in fitting:
        for variable, array in zip(variables, arrays):
            variable.assign(array)
    return Report([name for name, _, _ in fitting], left_out)


def _some(names, most=4):
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _open(path):
    if not Path(path).is_file():
        raise UserError(f"no weight file {path}")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise UserError(f"{path} is not an HDF5 weight file, or is cut off") from error


def _weight_names(layer):
    names = []
    for key in sorted((k for k in layer.attrs if k.startswith("weight_names")),
                      key=lambda k: (len(k), k)):
        names += [n.decode() if isinstance(n, bytes) else n for n in layer.attrs[key]]
    return names
