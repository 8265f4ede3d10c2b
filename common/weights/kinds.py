"""Files of other programs: what a file is, told by its content, and reading what is in it."""

import contextlib
import pickle
import re
import zipfile
from pathlib import Path

import h5py
import numpy as np

from common.cli import UserError, one_line
from common.weights import array_pickle

KINDS = {
    "matlab": "a MATLAB 5 file",
    "tf_checkpoint": "a TensorFlow checkpoint",
    "keras": "a Keras HDF5 file",
    "torch": "a PyTorch file",
    "paddle": "a Python pickle",
}

_TABLE_END = bytes.fromhex("57fb808b247547db")  # of the table that is a checkpoint's index
_TORCH_START = bytes.fromhex("80028a0a6cfc9c46f9206aa85019")  # before PyTorch 1.6; now a zip
_OTHER_STARTS = (
    (b"\x89PNG", "a PNG image"), (b"\xff\xd8\xff", "a JPEG image"), (b"\x1f\x8b", "a gzip archive"),
    (b"\x93NUMPY", "a NumPy array"), (b"{", "a text file"), (b"<", "a text file"),
    (b"version https://git-lfs", "a Git LFS pointer"),
)


def recognise(path):
    """What a file is: (a key of `KINDS`, None), or (None, what else it is in words).

    Raises:
        UserError: there is no such file.
    """
    path = Path(path)
    if path.is_dir():
        if (path / "saved_model.pb").exists():
            return None, "a TensorFlow SavedModel"
        return ("tf_checkpoint", None) if _prefix(path) else (None, "a folder without a checkpoint")
    if not path.exists():
        if _prefix(path):
            return "tf_checkpoint", None
        raise UserError(f"no such file: {path}")
    with open(path, "rb") as file:
        start = file.read(128)
        file.seek(max(0, path.stat().st_size - 8))
        end = file.read()
    if not start:
        return None, "an empty file"
    if start.startswith(b"MATLAB 5"):
        return "matlab", None
    if start.startswith(b"MATLAB 7"):
        return None, "a MATLAB 7.3 file, which MATLAB writes as version 5 with save -v7"
    if h5py.is_hdf5(str(path)):
        return _recognise_hdf5(path)
    if start.startswith(b"PK\x03\x04"):
        return _recognise_zip(path)
    if start.startswith(_TORCH_START):
        return "torch", None
    if re.match(rb"\x80[\x02-\x05]", start):
        return "paddle", None
    if end == _TABLE_END or _prefix(path):
        return "tf_checkpoint", None
    if start[8:10] == b'{"':
        return None, "a safetensors file"
    for magic, text in _OTHER_STARTS:
        if start.startswith(magic):
            return None, text
    return None, f"of no kind that is known here (it starts with {start[:8]!r})"


def read_arrays(path, kind):
    """The arrays in a file of a kind.

    Returns:
        dict of name -> array as `foreign_weights.Source` has it, empty if there are none, and a
        note on what was chosen of the file or "".

    Raises:
        UserError: the file is damaged, or a package for it is not installed.
    """
    content = _READERS[kind](path)
    if kind not in _STATE_ARRAYS:
        return dict(content), ""
    state, note = _unwrapped(content)
    with _damaged(path):
        return _STATE_ARRAYS[kind](state), note


def _recognise_hdf5(path):
    with _damaged(path), h5py.File(str(path), "r") as file:
        if "sr_zoo" in file.attrs:
            return None, "a weight file of this zoo already"
        if file.userblock_size:
            return None, "a MATLAB 7.3 file, which MATLAB writes as version 5 with save -v7"
        if "layer_names" in file.get("model_weights", file).attrs or "layers" in file:
            return "keras", None
    return None, "an HDF5 file without the layers of Keras"


def _recognise_zip(path):
    try:
        names = zipfile.ZipFile(str(path)).namelist()
    except zipfile.BadZipFile:
        return None, "a zip archive that is cut off or damaged"
    if any(name.endswith("/constants.pkl") for name in names):
        return None, "a TorchScript archive (save the network's state_dict)"
    if any(name.endswith("/data.pkl") for name in names):
        return "torch", None
    if "model.weights.h5" in names:
        return None, "a .keras archive (save the model as .h5)"
    return None, f"a zip archive of {', '.join(names[:2]) or 'nothing'}"


def _prefix(path):
    """The checkpoint that a prefix, one of its files or a folder stands for, or None."""
    path = Path(path)
    if path.is_dir():
        found = sorted(path.glob("*.index"), key=lambda index: index.stat().st_mtime)
        return str(found[-1])[:-len(".index")] if found else None
    prefix = re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", str(path))
    return prefix if Path(prefix + ".index").is_file() else None


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
    with _damaged(path):
        content = loadmat(str(path))
    for name, value in content.items():
        if not name.startswith("__"):
            walk(name, value)
    return arrays


def _read_checkpoint(path):
    from common.nn.keras_compat import tf

    prefix = _prefix(path)
    if not list(Path(prefix or path).parent.glob(f"{Path(prefix or path).name}.data-*")):
        raise UserError(f"{path} is only the index of a TensorFlow checkpoint; its arrays are in "
                        f"{Path(prefix or path).name}.data-00000-of-00001, which is not beside it")
    with _damaged(path):
        reader = tf.train.load_checkpoint(prefix)
        shapes = reader.get_variable_to_shape_map()
        # A slot of the optimizer is called as its variable and one part more; counters are scalars.
        names = [name for name, shape in shapes.items()
                 if shape and name.rpartition("/")[0] not in shapes]
        return {name: reader.get_tensor(name) for name in sorted(names)}


def _read_keras(path):
    from common.weights import weight_names

    arrays = {}

    def keep(name, item):  # of save_weights of Keras 3
        if isinstance(item, h5py.Dataset) and name.startswith("layers/"):
            arrays[name.replace("/vars/", "/")] = np.asarray(item)
    with _damaged(path), h5py.File(str(path), "r") as file:
        for layer, group in file.get("model_weights", file).items():
            arrays.update(_keras_group(layer, group, weight_names(group)))
        if not arrays:
            file.visititems(keep)
    return arrays


def _keras_group(layer, group, names):
    """The arrays of one layer, which may be a model of several."""
    owners = [name.rpartition("/")[0].rpartition("/")[2] for name in names]
    counts = {}
    for name, owner in zip(names, owners):
        prefix = layer if len(set(owners)) == 1 else f"{layer}/{owner}"
        counts[prefix] = counts.get(prefix, -1) + 1
        yield f"{prefix}/{counts[prefix]}", np.asarray(group[name])


def _read_torch(path):
    try:
        import torch
    except ImportError as error:
        raise UserError(f"{path} is a PyTorch file, and reading it takes PyTorch; install it with "
                        "pip install torch") from error
    with _damaged(path):
        try:
            return torch.load(str(path), map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            if "Unsupported" not in str(error):
                raise
            raise UserError(f"{path} holds Python objects beside arrays and is not opened, since "
                            "that could run code; save the network's state_dict alone") from error


def _read_paddle(path):
    with _damaged(path), open(path, "rb") as file:
        try:
            return array_pickle.load(file)
        except array_pickle.Refused as error:
            raise UserError(f"{path} is a Python pickle that holds {error} beside arrays and is "
                            "not opened, since that could run code") from error


def _unwrapped(content):
    """The network's state in a file, and what was chosen of it where there is more than one."""
    note = ""
    while isinstance(content, dict):
        inner = [key for key in _WRAPPERS if isinstance(content.get(key), dict)]
        if not inner:
            break
        if inner[:2] == ["params_ema", "params"]:
            note = "took params_ema, the averaged weights, and not params"
        content = content[inner[0]]
    return content, note


def _torch_arrays(state):
    import torch

    return _float_arrays(state, lambda value: value.float().numpy()
                         if isinstance(value, torch.Tensor) and value.is_floating_point() else None)


def _paddle_arrays(state):
    """Arrays, or pairs of a name and an array; long ones may be in slices."""
    def array_of(value):
        value = value[1] if isinstance(value, tuple) and len(value) == 2 else value
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            return value.astype("float32")
        return None

    if isinstance(state, dict):
        for name, plan in state.pop("UnpackBigParamInfor@@", {}).items():
            slices = [state.pop(part) for part in plan["slices"]]
            state[name] = np.concatenate(slices).reshape(plan["OriginShape"])
    return _float_arrays(state, array_of)


def _float_arrays(state, array_of):
    arrays = {}
    for name, value in state.items() if isinstance(state, dict) else ():
        array = array_of(value)
        if array is not None and isinstance(name, str):
            arrays[name] = array
    for prefix in ("module.", "model."):  # of DataParallel, and of a class around the network
        if all(name.startswith(prefix) for name in arrays):
            arrays = {name[len(prefix):]: array for name, array in arrays.items()}
    return arrays


@contextlib.contextmanager
def _damaged(path):
    """What other libraries raise for a broken file is of many kinds; here it is one."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path} is damaged or cut off: {one_line(error)[:120]}") from error


_READERS = {"matlab": _read_matlab, "tf_checkpoint": _read_checkpoint, "keras": _read_keras,
            "torch": _read_torch, "paddle": _read_paddle}
_STATE_ARRAYS = {"torch": _torch_arrays, "paddle": _paddle_arrays}
_WRAPPERS = ("params_ema", "params", "state_dict", "model_state_dict", "model", "generator")
