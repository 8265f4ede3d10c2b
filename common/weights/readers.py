"""Read the arrays of a weight file of any kind."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np

from common.cli import UserError
from common.hdf5 import read_hdf5
from common.untrusted import isolated
from common.weights import states
from common.weights.h5 import weight_names
from common.weights.kinds import checkpoint_prefix
from common.weights.ncnn import read_ncnn


def read_arrays(path: str | os.PathLike, kind: str) -> tuple[dict[str, np.ndarray], str]:
    """Read the arrays of a file.

    Args:
        path: the file.
        kind: a key of `KINDS`.

    Returns:
        dict of name -> array as `source.Source` names them, empty if there are none; and a note on
        which of several networks in the file was chosen, or "".

    Raises:
        UserError: the file is damaged, or a package for it is not installed.
    """
    if kind == "tf_checkpoint":
        import common.nn.keras_compat  # noqa: F401  (see `isolated`)
    return isolated(_read, path, kind)


def _read(path, kind):
    if kind in states.READERS:
        return states.read_arrays(path, kind)
    return _READERS[kind](path), ""


def _read_matlab(path):
    from scipy.io import loadmat

    arrays = {}

    def walk(name, value):
        if value.dtype.names:
            for i, item in enumerate(value.ravel()):
                index = f".{i}" if value.size > 1 else ""
                for field in value.dtype.names:
                    walk(f"{name}{index}.{field}", np.asarray(item[field]))
        elif value.dtype == object:  # a cell array
            for i, item in enumerate(value.ravel(order="F")):
                walk(f"{name}.{i}", np.asarray(item))
        elif value.dtype.kind in "fiu":
            arrays[name] = value
    content = loadmat(str(path))
    for name, value in content.items():
        if not name.startswith("__"):
            walk(name, value)
    return arrays


def _read_checkpoint(path):
    from common.nn.keras_compat import tf

    prefix = checkpoint_prefix(path)
    base = Path(prefix or path)
    if not list(base.parent.glob(f"{base.name}.data-*")):
        raise UserError(f"{path} is only the index of a TensorFlow checkpoint; its arrays are in "
                        f"{base.name}.data-00000-of-00001, which is not beside it")
    reader = tf.train.load_checkpoint(prefix)
    shapes = reader.get_variable_to_shape_map()
    # An optimizer's slot has its variable's name and one part more; counters are scalars.
    names = [name for name, shape in shapes.items()
             if shape and name.rpartition("/")[0] not in shapes]
    return {name: reader.get_tensor(name) for name in sorted(names)}


def _read_keras(path):
    return read_hdf5(path, _keras_arrays)


def _keras_arrays(file):
    arrays = {}

    def keep(name, item):  # a file of Keras 3's save_weights
        if isinstance(item, h5py.Dataset) and name.startswith("layers/"):
            arrays[name.replace("/vars/", "/")] = np.asarray(item)
    for layer, group in file.get("model_weights", file).items():
        arrays.update(_keras_group(layer, group, weight_names(group)))
    if not arrays:
        file.visititems(keep)
    return arrays


def _keras_group(layer, group, names):
    """Name and array of one layer, which may be a model of several."""
    owners = [name.rpartition("/")[0].rpartition("/")[2] for name in names]
    counts = {}
    for name, owner in zip(names, owners):
        prefix = layer if len(set(owners)) == 1 else f"{layer}/{owner}"
        counts[prefix] = counts.get(prefix, -1) + 1
        yield f"{prefix}/{counts[prefix]}", np.asarray(group[name])


_READERS = {"matlab": _read_matlab, "tf_checkpoint": _read_checkpoint, "keras": _read_keras,
            "ncnn": read_ncnn}
