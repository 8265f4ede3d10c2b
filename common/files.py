"""Files that are whole or absent: written to a temporary name beside the target, then renamed."""

import contextlib
import functools
import hashlib
import os
import platform
import re
import shutil
import tempfile
import time
from pathlib import Path

from common.cli import UserError

ABANDONED = 86400  # seconds since the last change after which nobody is taken to be writing

# .<name>.tmp-<machine>-<process>-<random>, what `temporary_prefix` begins.
_TEMPORARY = re.compile(r"\..*\.tmp-([0-9a-f]{12})-(\d+)-\w+(\.[^.]*)?", re.DOTALL)
_swept = set()


@contextlib.contextmanager
def atomic_path(path):
    """Give a temporary path of the same suffix; it becomes `path` when the block ends well.

    The folder is made if missing. After an error nothing is left and an older file stays as it was.
    """
    path = Path(path)
    make_folder(path.parent)
    handle, name = tempfile.mkstemp(prefix=temporary_prefix(path.parent, path.stem),
                                    suffix=path.suffix, dir=str(path.parent))
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        if temporary.exists():
            temporary.unlink()


@contextlib.contextmanager
def atomic_folder(path):
    """Give a temporary folder; it becomes `path` when the block ends well.

    It takes the place of an older folder as a whole; after an error that stays as it was.
    """
    path = Path(path)
    make_folder(path.parent)
    beside = Path(tempfile.mkdtemp(prefix=temporary_prefix(path.parent, path.name),
                                   dir=str(path.parent)))
    temporary, older = beside / "new", beside / "old"
    try:
        temporary.mkdir()
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                with open(file, "rb+") as opened:
                    os.fsync(opened.fileno())
        if path.exists():
            os.replace(path, older)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def temporary_prefix(folder, name):
    """The first part of a temporary's name in a folder: hidden, and it tells whose it is.

    The first call for a folder removes what killed processes left there.
    """
    if str(folder) not in _swept:
        _swept.add(str(folder))
        remove_leftovers(folder)
    return f".{name[:40]}.tmp-{_machine()}-{os.getpid()}-"


def remove_leftovers(folder):
    """Remove the temporaries that killed processes left in a folder; those in use stay.

    Several machines may write in the folder: what belongs to one of the others, or to a process
    that goes on here, is removed when nothing in it has changed for a day.
    """
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(str(folder))):
            match = _TEMPORARY.fullmatch(entry.name)
            if match is None or not _is_left(entry.path, match.group(1), int(match.group(2))):
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):  # another process may sweep as well
                    os.unlink(entry.path)


def write_text(path, text):
    """Write a text file whole (UTF-8)."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def make_folder(path):
    """Make a folder and its parents and return it as a Path.

    Raises:
        UserError: it cannot be made or written in.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {path}: {error.strerror}; "
                        "choose one that can be written") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise UserError(f"cannot write in the folder {path}; choose one that can be written")
    return path


def existing_folder(path) -> Path:
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


def _is_left(path, machine, process):
    if machine == _machine():
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):  # it is another user's, or no process's number
            pass
    paths = [path, *(os.path.join(folder, name) for folder, folders, files in os.walk(path)
                     for name in folders + files)]
    with contextlib.suppress(OSError):  # it has just become a file, or is being removed
        return time.time() - max(os.lstat(p).st_mtime for p in paths) > ABANDONED
    return False


@functools.lru_cache(1)
def _machine():
    """Twelve digits of what shares this process's numbers: the boot, and the container if any."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
