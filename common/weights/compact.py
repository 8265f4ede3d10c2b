"""Weights in half the space: 16-bit numbers, compressed, wherever the arrays allow it."""

from __future__ import annotations

import os

import h5py
import numpy as np

from common.cli import UserError
from common.files import check_suffix, write_bytes
from common.hdf5 import in_memory, read_hdf5
from common.weights.h5 import read_metadata


def compact(source: str | os.PathLike, output: str | os.PathLike) -> None:
    """Copy a zoo `.h5` with its float32 arrays as gzip-compressed float16.

    Every reader of the zoo and Keras itself turn the arrays back into float32.

    Raises:
        UserError: not a zoo `.h5`, source and output are one file, or a value that float16 cannot
            hold.
    """
    check_suffix(output, ".h5")
    read_metadata(source)
    if os.path.realpath(source) == os.path.realpath(output):
        raise UserError(f"{output} is the source; name another file")
    write_bytes(output, read_hdf5(source, _halved, source))


def _halved(whole, source):
    """The bytes of a file with its arrays in half the space."""
    with in_memory(libver="latest") as (half, close):
        _copy(whole, half, source)
        return close()


def _copy(group, target, source):
    target.attrs.update(group.attrs)
    for name, item in group.items():
        if isinstance(item, h5py.Group):
            _copy(item, target.create_group(name), source)
            continue
        values = item[()]
        if values.dtype == np.float32 and values.size > 1:
            with np.errstate(over="ignore"):
                values = values.astype(np.float16)
            if not np.isfinite(values).all():
                raise UserError(f"{source}: {item.name} holds values beyond 16 bits (65,504); "
                                "these weights cannot be stored so")
            stored = target.create_dataset(name, data=values, shuffle=True, compression="gzip",
                                           compression_opts=9)
        else:
            stored = target.create_dataset(name, data=values)
        stored.attrs.update(item.attrs)
