"""Atomic files and folders: written under a temporary name beside the target, then renamed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import hashlib
import json
import math
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.cli import UserError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
ABANDONED = 86400  # seconds without a change after which a temporary counts as left behind

# .<name>.tmp-<machine>-<process>-<random>; see `temporary_prefix`.
_TEMPORARY = re.compile(r"\..*\.tmp-([0-9a-f]{12})-(\d+)-\w+(\.[^.]*)?", re.DOTALL)
_swept = set()


class NoRoom(UserError):
    """A full disk, a quota or a limit on file sizes keeps a file from being written."""


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path with the same suffix, renamed to `path` if the block succeeds.

    A missing folder is created. The file is on the disk before it gets its name. After an error the
    temporary is gone and an older file unchanged.

    Raises:
        UserError: the disk is full, or the file cannot be put there.
    """
    path = Path(path)
    make_folder(path.parent)
    with full_disk(path):
        handle, name = tempfile.mkstemp(prefix=temporary_prefix(path.parent, path.stem),
                                        suffix=path.suffix, dir=str(path.parent))
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            os.chmod(temporary, 0o666 & ~_umask())
            put_in_place(temporary, path)
        finally:
            if temporary.exists():
                temporary.unlink()


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder, renamed to `path` if the block succeeds.

    It replaces an older folder completely; after an error the older one is unchanged.

    Raises:
        UserError: the disk is full.
    """
    path = Path(path)
    with temporary_folder(path) as beside, full_disk(path):
        temporary, older = beside / "new", beside / "old"
        temporary.mkdir()
        yield temporary
        for entry in [*temporary.rglob("*"), temporary]:
            _sync(entry)
        try:
            if path.exists():
                os.replace(path, older)
            os.replace(temporary, path)
        except BaseException:  # also of a signal
            if older.exists() and not path.exists():
                os.replace(older, path)
            raise
        _sync(path.parent)


@contextlib.contextmanager
def temporary_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`, which is removed at the end."""
    path = Path(path)
    make_folder(path.parent)
    with full_disk(path):
        beside = Path(tempfile.mkdtemp(prefix=temporary_prefix(path.parent, path.name),
                                       dir=str(path.parent)))
    try:
        yield beside
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def put_in_place(temporary: str | Path, path: str | Path) -> None:
    """Give a file that is written its name, once it is on the disk.

    Raises:
        UserError: the disk is full, or something else of that name is in the way.
    """
    with full_disk(path):
        _sync(temporary)
    try:
        os.replace(temporary, path)
    except OSError as error:
        why = "a folder of that name is there; move it" if os.path.isdir(path) else error.strerror
        raise UserError(f"cannot write {path}: {why}") from error
    _sync(Path(path).parent)


@contextlib.contextmanager
def full_disk(path: str | Path) -> Iterator[None]:
    """Name the file whose writing a full disk, a quota or a limit on file sizes ends in the block.

    Raises:
        NoRoom: in place of that error.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise NoRoom(f"cannot write {path}: {error.strerror}; make room and repeat the "
                     "command") from error


def _sync(path):
    """Wait until a file or a folder's list of names is on the disk."""
    if not os.path.isdir(path):
        with open(path, "rb+") as file:
            os.fsync(file.fileno())
        return
    with contextlib.suppress(OSError):  # not all file systems can
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def only_process(lock: str | Path, doing: str) -> Iterator[None]:
    """Within `with`, no other process has the same lock; one that waits says so on stderr.

    Args:
        lock: a file, which stays.
        doing: what the other process is doing, for the message.
    """
    with open(lock, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process that is {doing}", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def temporary_prefix(folder: str | Path, name: str) -> str:
    """Return the prefix of a temporary's name: hidden, with machine and process of its owner.

    The first call for a folder removes what killed processes left there.
    """
    if str(folder) not in _swept:
        _swept.add(str(folder))
        remove_leftovers(folder)
    return f".{name[:40]}.tmp-{_machine()}-{os.getpid()}-"


def remove_leftovers(folder: str | Path) -> None:
    """Remove the temporaries that killed processes left in a folder; those in use stay.

    Other machines may write to the same folder: a temporary of theirs, or of a process that still
    runs here, is removed only when nothing in it has changed for a day.
    """
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(str(folder))):
            match = _TEMPORARY.fullmatch(entry.name)
            if match is None or not _is_left(entry.path, match.group(1), int(match.group(2))):
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):  # another process may remove it first
                    os.unlink(entry.path)


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a binary file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON atomically; numbers that are not finite become null, see `finite`."""
    write_text(path, json.dumps(finite(value), indent=2, allow_nan=False) + "\n")


def finite(value: Any) -> Any:
    """A value for JSON: infinite numbers and NaN, which JSON does not have, become None."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def sha256(path: str | Path) -> str | None:
    """The SHA-256 of a file in hexadecimal digits; None where there is no such file."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    return digest.hexdigest()


def make_folder(path: str | Path) -> Path:
    """Create a folder and its parents if missing, and return it as a Path.

    Raises:
        UserError: it cannot be created or is not writable.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create the folder {path}: {error.strerror}; "
                        "choose a writable one") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise UserError(f"cannot write to the folder {path}; choose a writable one")
    return path


def cache_folder(environ=os.environ) -> Path:
    """The user's cache of the zoo: `$XDG_CACHE_HOME/sr-zoo`, by default ~/.cache/sr-zoo."""
    return Path(environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "sr-zoo"


def existing_folder(path: str | Path) -> Path:
    """Return a folder as a Path.

    Raises:
        UserError: it does not exist, or is a file.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"no such folder: {path}")
    if not path.is_dir():
        raise UserError(f"{path} is a file; name a folder")
    return path


def check_suffix(path: str | Path, suffix: str) -> None:
    """Raise a `UserError` if the name of a file that is to be written has another suffix."""
    if Path(path).suffix != suffix:
        raise UserError(f"cannot write {path}: the suffix must be {suffix}")


def check_is_no_folder(path: str | Path) -> None:
    """Raise a `UserError` if the file that is to be written is a folder."""
    if Path(path).is_dir():
        raise UserError(f"{path} is a folder; name a file")


def _is_left(path, machine, process):
    if machine == _machine():
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):  # another user's process, or not a process id
            pass
    paths = [path, *(os.path.join(folder, name) for folder, folders, files in os.walk(path)
                     for name in folders + files)]
    with contextlib.suppress(OSError):  # it was renamed or removed meanwhile
        return time.time() - max(os.lstat(p).st_mtime for p in paths) > ABANDONED
    return False


@functools.lru_cache(1)
def _machine():
    """Twelve hex digits that identify this boot and container, within which process ids hold."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
