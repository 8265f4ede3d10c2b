"""Read pickles of NumPy arrays, such as PaddlePaddle's `.pdparams`, without running any code.

A pickle names the functions that rebuild its contents. Here the few names that arrays in
dictionaries need are mapped to the functions below, which only handle shapes and bytes; any other
name is refused. So the files of NumPy 1 and 2 can be read with either.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from typing import BinaryIO

import numpy as np


class Refused(Exception):
    """The pickle names an object that is not part of an array; the text is that name."""


def load(file: BinaryIO) -> object:
    """Read the dictionaries, lists, numbers, texts and arrays of a pickle.

    Args:
        file: an open binary file.

    Raises:
        Refused: it holds other objects; none of their code was run.
        Exception: of various types, for a damaged file.
    """
    return plain(Reader(file).load())


class _Type:
    """Stands for `numpy.dtype`."""

    def __init__(self, name, *_):
        self.dtype = np.dtype(name)
        if self.dtype.kind not in "biuf":
            raise Refused(f"an array of type {self.dtype}")

    def __setstate__(self, state):
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for an array until its state is set."""

    def __init__(self, *_):
        self.array = None

    def __setstate__(self, state):
        _, shape, kind, is_fortran, data = state
        self.array = _buffer(data, kind, shape, "F" if is_fortran else "C")

    def value(self):
        """The array."""
        return self.array


def _buffer(data, kind, shape, order):
    data = data.encode("latin1") if isinstance(data, str) else data  # text of a Python 2 pickle
    return np.frombuffer(data, kind.dtype).reshape(shape, order=order)


def _scalar(kind, data):
    return _buffer(data, kind, (), "C")[()]


def _encode(text, encoding="latin1"):
    return text.encode(encoding)


_KNOWN = {("numpy", "dtype"): _Type, ("numpy", "ndarray"): None, ("_codecs", "encode"): _encode,
          ("collections", "OrderedDict"): OrderedDict}
for _module in ("builtins", "__builtin__"):
    _KNOWN.update({(_module, "tuple"): tuple, (_module, "bytes"): bytes})
for _module in ("numpy.core", "numpy._core"):
    _KNOWN.update({(f"{_module}.multiarray", "_reconstruct"): _Array,
                   (f"{_module}.multiarray", "scalar"): _scalar,
                   (f"{_module}.numeric", "_frombuffer"): _buffer})


class Reader(pickle.Unpickler):
    """An unpickler that knows only these names."""

    def __init__(self, file: BinaryIO):
        super().__init__(file, encoding="latin1")

    def find_class(self, module, name):
        """What a name in the pickle stands for; a `Refused` for all that are not listed."""
        if (module, name) not in _KNOWN:
            raise Refused(f"{module}.{name}")
        return _KNOWN[module, name]


def plain(value: object, _known: dict | None = None) -> object:
    """The value with arrays instead of their stand-ins; what occurs twice is converted once."""
    known = {} if _known is None else _known
    if id(value) not in known:
        known[id(value)] = None  # of a container that holds itself
        known[id(value)] = _converted(value, known)
    return known[id(value)]


def _converted(value, known):
    if hasattr(value, "value"):
        return value.value()
    if isinstance(value, dict):
        return {key: plain(item, known) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([plain(item, known) for item in value])
    return value
