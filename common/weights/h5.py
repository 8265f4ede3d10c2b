"""Weights as one `.h5`, which stock Keras opens on the stack that wrote it and the zoo on both.

Beside Keras's own content the file has an attribute `sr_zoo`: JSON of the model's name, scale and
options. Arrays are found by layer name and index, which mean the same in both Keras versions.
"""

from __future__ import annotations

import json
import os
from collections import namedtuple
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from common.cli import UserError
from common.files import check_suffix, write_bytes
from common.hdf5 import check, in_memory, read_hdf5
from common.untrusted import damaged

if TYPE_CHECKING:
    from common.nn.keras_compat import keras

METADATA = "sr_zoo"  # as in keras_compat, which is slow to import

Report = namedtuple("Report", "loaded left_out")


def save(model: keras.Model, path: str | os.PathLike) -> None:
    """Write a model made by `models.create` or `models.load` to an `.h5`, whole or not at all.

    Raises:
        UserError: the name does not end in `.h5`, or the model is not from the zoo.

    Example:
        >>> import models
        >>> from common import weights
        >>> model = models.create("edsr", scale=2, num_blocks=1, num_filters=4)
        >>> weights.save(model, "new.h5")
        >>> weights.read_metadata("new.h5")["scale"]
        2
    """
    from common.nn.keras_compat import h5_bytes

    check_suffix(path, ".h5")
    if getattr(model, "zoo_metadata", None) is None:
        raise UserError("only a model made by models.create() or models.load() can be saved; this "
                        "one does not say which model of the zoo it is")
    write_bytes(path, h5_bytes(model))


def read_metadata(path: str | os.PathLike) -> dict:
    """Read `{"model", "scale", "options"}` of a zoo `.h5`.

    Raises:
        UserError: there is no such file, or it is not a weight file of the zoo.
    """
    text = read_hdf5(path, _described)
    if text is None:
        raise UserError(f"{path} is an HDF5 file but not a weight file of this zoo (no "
                        f"attribute {METADATA!r}); it may be another program's")
    with damaged(path):
        metadata = json.loads(text)
        _check_description(metadata)
    return metadata


def _described(file):
    """The description in a zoo `.h5`."""
    return file.attrs.get(METADATA)


def _check_description(metadata):
    """Raise a `ValueError` for a description that no `save` wrote."""
    scales = metadata["scale"] if isinstance(metadata["scale"], list) else [metadata["scale"]]
    if not (isinstance(metadata["model"], str) and isinstance(metadata["options"], dict)
            and scales and all(type(scale) is int for scale in scales)):
        raise ValueError("its description is of another form than the zoo's")


def read_arrays(path: str | os.PathLike) -> dict[str, list[np.ndarray]]:
    """Read the arrays of a zoo or Keras `.h5` as `{layer name: [arrays in order]}`.

    Raises:
        UserError: no such file, damaged, not as its checksum says, or with values that are not
            finite.
    """
    return read_hdf5(path, _layers)


def _layers(file):
    check(file)
    layers = {}
    for name, layer in file.get("model_weights", file).items():
        arrays = [np.asarray(layer[weight]) for weight in weight_names(layer)]
        if not all(array.dtype.kind in "fiu" and np.isfinite(array).all() for array in arrays):
            raise ValueError(f"layer {name} holds values that are not finite numbers")
        if arrays:
            layers[name] = arrays
    return layers


def load_into(model: keras.Model, path: str | os.PathLike, partial: bool = False,
              unused: bool = False, stored: dict | None = None) -> Report:
    """Copy the arrays of a zoo `.h5` into a model by layer name and index.

    Args:
        model: a Keras model.
        path: the file.
        partial: load every layer whose arrays all fit and leave the others as they are, as when a
            x4 model starts from x2; otherwise every layer must fit.
        unused: the file may hold layers that the model lacks, as a joint model's file does.
        stored: what `read_arrays` gave, if the file was read already.

    Returns:
        a `Report` of the names of layers loaded and left out.

    Raises:
        UserError: a layer does not fit (with `partial`: none fits). The model is then unchanged.
    """
    from common.nn.keras_compat import layer_variables

    stored = read_arrays(path) if stored is None else dict(stored)
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


def assign(model: keras.Model, arrays: dict[str, list[np.ndarray]]) -> None:
    """Assign new values to the variables of a model.

    Args:
        model: a Keras model.
        arrays: `{layer name: [arrays in order]}`; layers that the model lacks are ignored, and
            layers that are not named keep their values.
    """
    from common.nn.keras_compat import layer_variables

    for layer in model.layers:
        for variable, array in zip(layer_variables(layer), arrays.get(layer.name, ())):
            variable.assign(array)


def interpolated(first: str | os.PathLike, second: str | os.PathLike,
                 alpha: float) -> dict[str, list[np.ndarray]]:
    """Interpolate between the weights of two files (network interpolation, arXiv 1809.00219).

    Args:
        first, second: zoo `.h5` files of the same network.
        alpha: in [0, 1]; the result is (1 - alpha) * first + alpha * second, moving averages
            included.

    Returns:
        `{layer name: [arrays in order]}`.

    Raises:
        UserError: an alpha outside [0, 1], no such file, or different networks; it names the
            difference.
    """
    if not 0 <= alpha <= 1:
        raise UserError(f"alpha must be between 0 ({first}) and 1 ({second}), got {alpha:g}")
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


def interpolate(first: str | os.PathLike, second: str | os.PathLike, alpha: float,
                output: str | os.PathLike) -> None:
    """Write the weights between those of two files as a third; see `interpolated`.

    Raises:
        UserError: as `interpolated`; or the output is one of the two, or not an `.h5`.
    """
    check_suffix(output, ".h5")
    output = Path(output)
    arrays = interpolated(first, second, alpha)
    if output.resolve() in (Path(first).resolve(), Path(second).resolve()):
        raise UserError(f"{output} is one of the two; name another file")
    write_bytes(output, read_hdf5(first, _with_arrays, arrays))


def _with_arrays(source, arrays):
    """The bytes of a file with other values in its layers' arrays."""
    with in_memory() as (file, close):
        for key in source:
            source.copy(key, file)
        file.attrs.update(source.attrs)
        for name, layer in file.get("model_weights", file).items():
            for weight, array in zip(weight_names(layer), arrays.get(name, ())):
                layer[weight][...] = array
        return close()


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


def weight_names(layer: h5py.Group) -> list[str]:
    """The names of the arrays in a layer's group of a Keras `.h5`, in their order."""
    names = []
    for key in sorted((k for k in layer.attrs if k.startswith("weight_names")),
                      key=lambda k: (len(k), k)):
        names += [n.decode() if isinstance(n, bytes) else n for n in layer.attrs[key]]
    return names
