"""Recognise weight files of other programs by their content."""

from __future__ import annotations

import os
import re
import struct
import zipfile
from pathlib import Path

import h5py

from common.cli import UserError
from common.hdf5 import read_hdf5
from common.weights.ncnn import is_ncnn
from common.weights.torch_file import is_safetensors

KINDS = {
    "matlab": "a MATLAB 5 file",
    "tf_checkpoint": "a TensorFlow checkpoint",
    "keras": "a Keras HDF5 file",
    "torch": "a PyTorch file",
    "paddle": "a Python pickle",
    "ncnn": "an ncnn network",
}

_TABLE_END = bytes.fromhex("57fb808b247547db")  # the last bytes of a checkpoint's index
_TORCH_START = bytes.fromhex("80028a0a6cfc9c46f9206aa85019")  # before PyTorch 1.6; now a zip
_OTHER_STARTS = (
    (b"\x89PNG", "a PNG image"), (b"\xff\xd8\xff", "a JPEG image"), (b"\x1f\x8b", "a gzip archive"),
    (b"\x93NUMPY", "a NumPy array"), (b"{", "a text file"), (b"<", "a text file"),
    (b"version https://git-lfs", "a Git LFS pointer"),
)


def recognise(path: str | os.PathLike) -> tuple[str | None, str | None]:
    """Tell what a file is: (a key of `KINDS`, None), or (None, what else it is in words).

    Raises:
        UserError: there is no such file.
    """
    path = Path(path)
    if path.is_dir():
        if (path / "saved_model.pb").exists():
            return None, "a TensorFlow SavedModel"
        if checkpoint_prefix(path):
            return "tf_checkpoint", None
        return None, "a folder without a checkpoint"
    if not path.exists():
        if checkpoint_prefix(path):
            return "tf_checkpoint", None
        raise UserError(f"no such file: {path}")
    if is_ncnn(path):
        return "ncnn", None
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
        return read_hdf5(path, _recognise_hdf5)
    if start.startswith(b"PK\x03\x04"):
        return _recognise_zip(path)
    if start.startswith(_TORCH_START):
        return "torch", None
    if re.match(rb"\x80[\x02-\x05]", start):
        return "paddle", None
    if end == _TABLE_END or checkpoint_prefix(path):
        return "tf_checkpoint", None
    if is_safetensors(start):
        return "torch", None
    for magic, text in _OTHER_STARTS:
        if start.startswith(magic):
            return None, text
    return None, f"of an unknown kind (it starts with {start[:8]!r})"


def checkpoint_prefix(path: str | os.PathLike) -> str | None:
    """The prefix of the TensorFlow checkpoint that a prefix, one of its files or a folder names."""
    path = Path(path)
    if path.is_dir():
        found = sorted(path.glob("*.index"), key=lambda index: index.stat().st_mtime)
        return str(found[-1])[:-len(".index")] if found else None
    prefix = re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", str(path))
    return prefix if Path(prefix + ".index").is_file() else None


def _recognise_hdf5(file):
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
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error, OSError):
        return None, "a zip archive that is cut off or damaged"
    if any(name.endswith("/constants.pkl") for name in names):
        return None, "a TorchScript archive (save the network's state_dict)"
    if any(name.endswith("/data.pkl") for name in names):
        return "torch", None
    if "model.weights.h5" in names:
        return None, "a .keras archive (save the model as .h5)"
    return None, f"a zip archive of {', '.join(names[:2]) or 'nothing'}"
