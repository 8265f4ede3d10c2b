"""Weight files of other programs: what a file is, told by its content, and the arrays in it."""

import contextlib
import pickle
import re
import zipfile
from pathlib import Path

import h5py
import numpy as np

from common.cli import UserError, one_line

KINDS = {
    "matlab": "a MATLAB 5 file",
    "tf_checkpoint": "a TensorFlow checkpoint",
    "keras": "a Keras HDF5 file",
    "torch": "a PyTorch file",
}

_TABLE_END = bytes.fromhex("57fb808b247547db")  # of the table that is a checkpoint's index
_TORCH_START = bytes.fromhex("80028a0a6cfc9c46f9206aa85019")  # before PyTorch 1.6; now a zip
_OTHER_STARTS = (
    (b"\x89PNG", "a PNG image"), (b"\xff\xd8\xff", "a JPEG image"), (b"\x1f\x8b", "a gzip archive"),
    (b"\x93NUMPY", "a NumPy array"), (b"\x80", "a Python pickle that PyTorch did not write"),
    (b"{", "a text file"), (b"<", "a text file"), (b"version https://git-lfs", "a Git LFS pointer"),
)


class Source:
    """The arrays of a file, to be taken one by one.

    Args:
        path, what: the file and the network that it should hold, for messages.
        kind: a key of `KINDS`.
        arrays: dict of name -> array. MATLAB: `struct.field.index`; a checkpoint: the variables'
            names without the optimizer's slots; Keras: `layer/index`; PyTorch: the state's keys.
    """

    def __init__(self, path, kind, arrays, what):
        self.path, self.kind, self.arrays, self.what = path, kind, dict(arrays), what

    def __contains__(self, name):
        return name in self.arrays

    def count(self, pattern):
        """How many of `pattern.format(0)`, `pattern.format(1)`, ... there are without a gap."""
        number = 0
        while pattern.format(number) in self.arrays:
            number += 1
        return number

    def take(self, name):
        """Take an array out.

        Raises:
            UserError: there is none of this name.
        """
        if name not in self.arrays:
            raise self.unfit(f"it lacks {name}")
        return self.arrays.pop(name)

    def finish(self):
        """Check that all arrays were taken: others would belong to another network.

        Raises:
            UserError: some were not; it names them.
        """
        if self.arrays:
            raise self.unfit(f"it also has {self.names()}")

    def names(self, most=3):
        """The first names of the arrays that are left, for a message."""
        names = list(self.arrays)
        return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most
                                          else "")

    def unfit(self, reason):
        """The `UserError` that this file of the right kind holds another network."""
        return UserError(f"{self.path} is {KINDS[self.kind]} but not of {self.what}: {reason}")


def read(path, kinds, what):
    """Read the arrays of a file, or of a TensorFlow checkpoint by its prefix, index or folder.

    Args:
        path: the file.
        kinds: the kinds that will do, as a dict of key of `KINDS` -> which files of that kind.
        what: name of the network that they hold, for messages.

    Returns:
        a `Source`.

    Raises:
        UserError: no such file, of another kind, damaged, or a package for it is not installed.
    """
    kind, text = recognise(path)
    if kind not in kinds:
        wanted = " or ".join(f"{KINDS[key]} ({detail})" for key, detail in kinds.items())
        raise UserError(f"{path} is {text or KINDS[kind]}; {what} is converted from {wanted}")
    arrays = _READERS[kind](path)
    if not arrays:
        raise UserError(f"{path} is {KINDS[kind]} without any arrays of a network")
    return Source(path, kind, arrays, what)


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
    if end == _TABLE_END or _prefix(path):
        return "tf_checkpoint", None
    if start[8:10] == b'{"':
        return None, "a safetensors file"
    for magic, text in _OTHER_STARTS:
        if start.startswith(magic):
            return None, text
    return None, f"of no kind that is known here (it starts with {start[:8]!r})"


def torch_conv(source, name, shuffle=1):
    """Take a PyTorch convolution as [kernel HWIO, bias].

    Args:
        source: a `Source`.
        name: of the layer: `name.weight` (O, I, H, W) and `name.bias`.
        shuffle: block size of the pixel shuffle that follows. Its channels are C-major in PyTorch
            (c*b*b + row*b + column) and C-minor in TensorFlow ((row*b + column)*C + c).
    """
    kernel, bias = source.take(f"{name}.weight"), source.take(f"{name}.bias")
    if kernel.ndim != 4 or bias.shape != kernel.shape[:1] or len(bias) % shuffle**2:
        raise source.unfit(f"{name} has arrays of {kernel.shape} and {bias.shape}")
    order = np.arange(len(bias)).reshape(-1, shuffle**2).T.ravel()
    return [kernel[order].transpose(2, 3, 1, 0), bias[order]]


# ---- the kinds ----------------------------------------------------------------------------------

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
    from common.keras_compat import tf

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
    from common.weights import read_arrays

    with _damaged(path):
        arrays = {f"{layer}/{i}": array for layer, group in read_arrays(path).items()
                  for i, array in enumerate(group)}
        if not arrays:  # save_weights of Keras 3
            with h5py.File(str(path), "r") as file:
                def keep(name, item):
                    if isinstance(item, h5py.Dataset) and name.startswith("layers/"):
                        arrays[name.replace("/vars/", "/")] = np.asarray(item)
                file.visititems(keep)
    return arrays


def _read_torch(path):
    try:
        import torch
    except ImportError as error:
        raise UserError(f"{path} is a PyTorch file, and reading it takes PyTorch; install it with "
                        "pip install torch") from error
    with _damaged(path):
        try:
            state = torch.load(str(path), map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            if "Unsupported" not in str(error):
                raise
            raise UserError(f"{path} holds Python objects beside arrays and is not opened, since "
                            "that could run code; save the network's state_dict alone") from error
    wrappers = ("params_ema", "params", "state_dict", "model_state_dict", "model")
    while isinstance(state, dict):
        inner = [state[key] for key in wrappers if isinstance(state.get(key), dict)]
        if not inner:
            break
        state = inner[0]
    if not isinstance(state, dict):
        return {}
    arrays = {name: tensor.float().numpy() for name, tensor in state.items()
              if isinstance(tensor, torch.Tensor)}
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
            "torch": _read_torch}
