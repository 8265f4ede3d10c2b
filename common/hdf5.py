"""Read HDF5 files that anyone may have made: damage and hostile contents are one line."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from common.cli import UserError
from common.untrusted import MEMORY, isolated

EXPANSION = 16  # how many times its file an array may be large beyond `MEMORY`: gzip's on weights
OBJECTS = 100_000


def read_hdf5(path: str | os.PathLike, read: Callable, *arguments: Any) -> Any:
    """`read(file, *arguments)` of an open HDF5 file, in a child process; see `common.untrusted`.

    Raises:
        UserError: no such file, not HDF5, damaged, larger than it can honestly be, or with links
            and arrays that lie in other files; or what `read` raises.
    """
    if not os.path.isfile(path):
        raise UserError(f"no such file: {path}")
    return isolated(_read, path, read, arguments)


def _read(path, read, arguments):
    import h5py

    try:
        file = h5py.File(str(path), "r")
    except OSError as error:
        raise UserError(f"{path} is not an HDF5 file, or is cut off") from error
    with file:
        _check(file, path, max(MEMORY, EXPANSION * os.path.getsize(path)))
        return read(file, *arguments)


def _check(file, path, most):
    """Refuse links to other files, arrays in other files, and sizes that no honest file has."""
    import h5py

    ahead, seen, total = [file], set(), 0
    while ahead:
        group = ahead.pop()
        for name in group:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise UserError(f"{path} is not read: {name} is a link to another file")
            if isinstance(link, h5py.SoftLink):
                continue  # its target has a name of its own
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            if len(seen) > OBJECTS:
                raise UserError(f"{path} is not read: it holds more than {OBJECTS:,} objects")
            if isinstance(item, h5py.Group):
                ahead.append(item)
            elif isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    raise UserError(f"{path} is not read: its array {name} lies in another file")
                total += item.size * item.dtype.itemsize
                if total > most:
                    raise UserError(f"{path} is not read: its arrays ask for more than "
                                    f"{most / 1e9:.1f} GB, the file has "
                                    f"{os.path.getsize(path):,} bytes")
