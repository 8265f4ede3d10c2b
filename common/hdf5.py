"""HDF5 files: written in memory with a checksum; read although anyone may have made them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from common.cli import UserError
from common.untrusted import MEMORY, isolated

if TYPE_CHECKING:
    import h5py

EXPANSION = 16  # how many times its file an array may be large beyond `MEMORY`: gzip's on weights
OBJECTS = 100_000
CHECKSUM = "sr_zoo_sha256"  # attribute of the files of `in_memory`


@contextlib.contextmanager
def in_memory(**options: Any) -> Iterator[tuple[h5py.File, Callable[[], bytes]]]:
    """Yield (an empty HDF5 file in memory, a function to its bytes, which carry their checksum).

    The bytes are to be written plainly: on a full disk a file that HDF5 writes itself can crash
    the process.
    """
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w", **options) as file:
        def close():
            file.attrs[CHECKSUM] = _checksum(file)
            file.close()
            return buffer.getvalue()

        yield file, close


def check(file: h5py.File) -> None:
    """Compare a file with its checksum; one without is taken as it is.

    Raises:
        ValueError: an array, an attribute or a name has changed.
    """
    if CHECKSUM in file.attrs and file.attrs[CHECKSUM] != _checksum(file):
        raise ValueError("its content does not match its checksum")


def _checksum(file):
    """SHA-256 of all names, attributes and arrays, however they are stored."""
    digest, names = hashlib.sha256(), []
    file.visit(names.append)
    for item in [file, *(file[name] for name in sorted(names))]:
        told = {key: _plain(value) for key, value in item.attrs.items() if key != CHECKSUM}
        digest.update(repr((item.name, sorted(told.items()))).encode())
        if hasattr(item, "shape"):
            digest.update(repr(_plain(item[()])).encode() if item.dtype.hasobject
                          else f"{item.dtype.str} {item.shape}".encode() + item[()].tobytes())
    return digest.hexdigest()


def _plain(value):
    """A value of an attribute as Python's own, the same with every h5py and NumPy."""
    return value.tolist() if hasattr(value, "tolist") else value


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
