"""Weights as one `.h5`: stock Keras opens it on the stack that wrote it, the zoo opens it on both.

Beside Keras's own content the file carries an attribute `sr_zoo` with JSON of the model's name,
scale and options. Arrays are found by layer name and index, which mean the same in both Keras
versions.
"""

import json
import shutil
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
    from common.nn.keras_compat import save_h5

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
            arrays = [np.asarray(layer[weight]) for weight in weight_names(layer)]
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
    from common.nn.keras_compat import layer_variables

    stored = read_arrays(path)
    fitting, left_out = {}, []
    for layer in model.layers:
        variables = layer_variables(layer)
        if not variables:
            continue
        arrays = stored.pop(layer.name, [])
        if [tuple(v.shape) for v in variables] == [a.shape for a in arrays]:
            fitting[layer.name] = arrays
        else:
            left_out.append(layer.name)
    if not (partial or unused):
        left_out += sorted(stored)
    if not fitting or (left_out and not partial):
        raise UserError(f"the weights in {path} do not fit this network: "
                        f"{_some(left_out)} differ or are missing")
    assign(model, fitting)
    return Report(list(fitting), left_out)


def assign(model, arrays):
    """Give the variables of a model new values.

    Args:
        model: a Keras model.
        arrays: `{layer name: [arrays in order]}`, all of them that the model has; others are left.
    """
    from common.nn.keras_compat import layer_variables

    for layer in model.layers:
        for variable, array in zip(layer_variables(layer), arrays.get(layer.name, ())):
            variable.assign(array)


def interpolated(first, second, alpha):
    """The weights between those of two files (network interpolation, arXiv 1809.00219).

    Args:
        first, second: zoo `.h5` files of the same network.
        alpha: 0 gives the first's arrays, 1 the second's, between them (1 - alpha) * first +
            alpha * second, of moving averages too.

    Returns:
        `{layer name: [arrays in order]}`.

    Raises:
        UserError: an alpha outside [0, 1], no such file, or another network; it names the
            difference.
    """
    if not 0 <= alpha <= 1:
        raise UserError(f"alpha {alpha:g}: 0 gives {first} and 1 gives {second}; choose one "
                        "between them")
    _check_alike(first, second)
    a, b = read_arrays(first), read_arrays(second)
    for name in [*a, *(name for name in b if name not in a)]:
        shapes = [[array.shape for array in arrays.get(name, ())] for arrays in (a, b)]
        if shapes[0] != shapes[1]:
            raise UserError(f"{first} and {second} cannot be interpolated: their layers {name} "
                            "differ")
    if alpha in (0, 1):
        return b if alpha else a
    return {name: [_between(*pair, alpha) for pair in zip(arrays, b[name])]
            for name, arrays in a.items()}


def interpolate(first, second, alpha, output):
    """Write the weights between those of two files as a third, atomically; see `interpolated`.

    Raises:
        UserError: as of `interpolated`; or the output is one of the two or no `.h5`.
    """
    output = Path(output)
    if output.suffix != ".h5":
        raise UserError(f"weights are saved as .h5, not as {output.name}")
    arrays = interpolated(first, second, alpha)
    if output.resolve() in (Path(first).resolve(), Path(second).resolve()):
        raise UserError(f"{output} is one of the two; name another file")
    with atomic_path(output) as temporary:
        shutil.copyfile(str(first), str(temporary))
        with h5py.File(temporary, "r+") as file:
            for name, layer in file.get("model_weights", file).items():
                for weight, array in zip(weight_names(layer), arrays.get(name, ())):
                    layer[weight][...] = array


def _check_alike(first, second):
    (told_a, a), (told_b, b) = ((_flat(read_metadata(path)), path) for path in (first, second))
    for key in [*told_a, *(key for key in told_b if key not in told_a)]:
        if told_a.get(key) != told_b.get(key):
            raise UserError(f"{a} and {b} cannot be interpolated: {key} {_told(told_a.get(key))} "
                            f"and {_told(told_b.get(key))}")


def _flat(metadata):
    return {"model": metadata["model"], "scale": metadata["scale"], **metadata["options"]}


def _told(value):
    return " ".join(map(str, value)) if isinstance(value, list) else value


def _between(a, b, alpha):
    return ((1 - alpha) * a.astype("float64") + alpha * b.astype("float64")).astype(a.dtype)


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


def weight_names(layer):
    """The names of the arrays of a layer's group in an `.h5` of Keras, in their order."""
    names = []
    for key in sorted((k for k in layer.attrs if k.startswith("weight_names")),
                      key=lambda k: (len(k), k)):
        names += [n.decode() if isinstance(n, bytes) else n for n in layer.attrs[key]]
    return names
