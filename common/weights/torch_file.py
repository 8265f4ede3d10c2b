"""Read PyTorch's files and safetensors without PyTorch, running no code of theirs.

Formats: PyTorch's `torch/serialization.py` (a zip since 1.6, before it pickles one after another);
safetensors' README.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections import namedtuple
from typing import Any, BinaryIO

import numpy as np

from common.weights.array_pickle import Reader, Refused, plain

_STORAGES = {"FloatStorage": "f4", "DoubleStorage": "f8", "HalfStorage": "f2", "LongStorage": "i8",
             "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1",
             "BoolStorage": "?", "BFloat16Storage": "bfloat16"}
_SAFE = {"F64": "f8", "F32": "f4", "F16": "f2", "BF16": "bfloat16", "I64": "i8", "I32": "i4",
         "I16": "i2", "I8": "i1", "U8": "u1", "BOOL": "?"}
_MAGIC = 0x1950A86A20F9469CFC6C
_HEADER = 100_000_000  # bytes of a safetensors header at most, as in its own reader


class _Storage:
    """The numbers behind tensors: their bytes are known once the file was read to its end."""

    def __init__(self, kind, count):
        self.kind, self.count, self.data, self.swapped = kind, count, None, False

    def numbers(self):
        """All numbers as a one-dimensional array; bfloat16 as float32."""
        order = ">" if self.swapped else "<"
        if self.kind == "bfloat16":
            words = np.frombuffer(self.data, f"{order}u2")
            return (words.astype(np.uint32) << 16).view(np.float32)
        return np.frombuffer(self.data, f"{order}{self.kind}")


class _Tensor(namedtuple("_Tensor", "storage offset shape strides")):
    """A view of a storage."""

    def value(self):
        """The tensor as an array."""
        numbers, count = self.storage.numbers(), int(np.prod(self.shape, dtype=np.int64))
        if min((*self.shape, *self.strides, self.offset, 0)) < 0:
            raise ValueError("a tensor has a negative size")
        last = self.offset + sum((size - 1) * stride
                                 for size, stride in zip(self.shape, self.strides))
        if count and (last >= len(numbers) or count > len(numbers)):
            raise ValueError(f"a tensor {tuple(self.shape)} is larger than its {len(numbers)} "
                             "numbers")
        return np.lib.stride_tricks.as_strided(
            numbers[self.offset:], self.shape,
            [stride * numbers.itemsize for stride in self.strides]).copy()


class _Type:
    """Stands for a storage's class in persistent ids."""

    def __init__(self, kind):
        self.kind = kind


def _tensor(storage, offset, shape, strides, *_):
    if not isinstance(storage, _Storage):
        raise Refused("a tensor without numbers")
    return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


def _first(value, *_):
    return value


_KNOWN = {("torch._utils", "_rebuild_tensor_v2"): _tensor, ("torch._utils", "_rebuild_tensor"):
          _tensor, ("torch._utils", "_rebuild_parameter"): _first, ("torch", "Size"): tuple,
          ("torch", "device"): _first,
          **{("torch", name): _Type(kind) for name, kind in _STORAGES.items()}}


class _TorchReader(Reader):
    def __init__(self, file):
        super().__init__(file)
        self.storages = {}

    def find_class(self, module, name):
        if (module, name) in _KNOWN:
            return _KNOWN[module, name]
        return super().find_class(module, name)

    def persistent_load(self, pid):
        what, kind, key, _, count, *view = pid
        if what != "storage" or not isinstance(kind, _Type) or view not in ([], [None]):
            raise Refused(f"a reference to {what}")
        return self.storages.setdefault(str(key), _Storage(kind.kind, int(count)))


def load(path: str) -> Any:
    """The dictionaries, lists, numbers, texts and arrays of a `.pth`, `.pt` or `.safetensors`.

    Raises:
        Refused: it holds other objects; none of their code was run.
        Exception: of various types, for a damaged file.
    """
    if zipfile.is_zipfile(path):
        return _load_zip(path)
    with open(path, "rb") as file:
        safe = is_safetensors(file.read(16))
        file.seek(0)
        return _load_safetensors(file) if safe else _load_legacy(file)


def _load_zip(path):
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        folder = name[:-len("data.pkl")]
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{entry.filename} in it is compressed, as PyTorch never does")
        with archive.open(name) as file:
            reader = _TorchReader(file)
            content = reader.load()
        names = set(archive.namelist())
        swapped = (f"{folder}byteorder" in names
                   and archive.read(f"{folder}byteorder").strip() == b"big")
        for key, storage in reader.storages.items():
            storage.data, storage.swapped = archive.read(f"{folder}data/{key}"), swapped
    return plain(content)


def _load_legacy(file):
    if _TorchReader(file).load() != _MAGIC:
        raise ValueError("it is no file of torch.save")
    _TorchReader(file).load()  # the version of the protocol
    machine = _TorchReader(file).load()
    reader = _TorchReader(file)
    content = reader.load()
    for key in _TorchReader(file).load():
        storage = reader.storages[str(key)]
        count = int.from_bytes(file.read(8), "little")
        width = 2 if storage.kind == "bfloat16" else np.dtype(storage.kind).itemsize
        storage.data = _exactly(file, count * width)
        storage.swapped = not machine.get("little_endian", True)
    return plain(content)


def is_safetensors(start: bytes) -> bool:
    """Whether a file that starts so may be a safetensors file: the header's size, then JSON."""
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= _HEADER


def _load_safetensors(file: BinaryIO):
    header = json.loads(_exactly(file, int.from_bytes(file.read(8), "little")))
    data = file.read()
    state = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        shape = entry["shape"]
        storage = _Storage(_SAFE[entry["dtype"]], None)
        storage.data = data[begin:end]
        count = int(np.prod(shape, dtype=np.int64))
        if len(storage.numbers()) != count or len(storage.data) != end - begin:
            raise ValueError(f"{name} has not the bytes of {shape}")
        state[name] = storage.numbers().reshape(shape)
    return state


def _exactly(file, count):
    data = file.read(count) if count < 2**40 else b""
    if len(data) != count:
        raise pickle.UnpicklingError("the file ends too early")
    return data
