"""Files that are whole or absent: written to a temporary name beside the target, then renamed."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from common.cli import UserError


@contextlib.contextmanager
def atomic_path(path):
    """Give a temporary path of the same suffix; it becomes `path` when the block ends well.

    The folder is made if missing. After an error nothing is left and an older file stays as it was.
    """
    path = Path(path)
    make_folder(path.parent)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem[:40]}.", suffix=path.suffix,
                                    dir=str(path.parent))
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
    beside = Path(tempfile.mkdtemp(prefix=f".{path.name[:40]}.", dir=str(path.parent)))
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


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
