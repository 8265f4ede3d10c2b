"""Pickles of NumPy arrays, as PaddlePaddle's `.pdparams` are, read without running any code.

A pickle says which functions rebuild what it holds. Here the few names that arrays in dictionaries
need stand for the functions below, which only look at shapes and bytes, and others are refused.
That also reads the files of either NumPy, 1 or 2, with any of them.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from typing import BinaryIO

import numpy as np


class Refused(Exception):
    """The pickle names what is no part of an array; its text is that name."""


def load(file: BinaryIO) -> object:
    """The dictionaries, lists, numbers, texts and arrays in a pickle.

    Args:
        file: an open binary file.

    Raises:
        Refused: it holds other objects; nothing of theirs was run.
        Exception: of many kinds, for a damaged file.
    """
    return _plain(_Reader(file, encoding="latin1").load())


class _Type:
    """Stands for `numpy.dtype`."""

    def __init__(self, name, *_):
        self.dtype = np.dtype(name)
        if self.dtype.kind not in "biuf":
            raise Refused(f"an array of type {self.dtype}")

    def __setstate__(self, state):
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for an array that its state is still to be given to."""

    def __init__(self, *_):
        self.array = None

    def __setstate__(self, state):
        _, shape, kind, is_fortran, data = state
        self.array = _buffer(data, kind, shape, "F" if is_fortran else "C")


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


class _Reader(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in _KNOWN:
            raise Refused(f"{module}.{name}")
        return _KNOWN[module, name]


def _plain(value):
    """The same with arrays in place of what stood for them."""
    if isinstance(value, _Array):
        return value.array
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item) for item in value)
    return value
