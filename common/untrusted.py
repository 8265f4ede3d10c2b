"""Read a file that anyone may have made in a child process, which may die of it.

HDF5, MATLAB's and TensorFlow's readers can crash on damaged files, hang, or believe a size that no
honest file has. The child is bounded in memory and time; the file's reader stays as it is.
"""

from __future__ import annotations

import contextlib
import faulthandler
import glob
import os
import pickle
import select
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from common.cli import UserError, one_line

MEMORY = 2**29  # bytes beyond the honest size of the contents, for the result and its copy each
SECONDS = 8  # beyond what the contents need
_in_child = False
_TIMES, _RATE = 8, 20_000_000  # copies of the contents that readers make; bytes they read a second


@contextlib.contextmanager
def damaged(path: str | os.PathLike) -> Iterator[None]:
    """Turn whatever a library raises for a broken file in the block into one `UserError`."""
    try:
        yield
    except UserError:
        raise
    except MemoryError:
        raise UserError(f"{path} is damaged: it asks for more memory than its contents can "
                        "need") from None
    except Exception as error:
        reason = one_line(error)[:120] or type(error).__name__
        raise UserError(f"{path} is damaged or cut off: {reason}") from error


def isolated(read: Callable, path: str | os.PathLike, *arguments: Any) -> Any:
    """`read(path, *arguments)`, computed in a child process.

    Args:
        read: any function; it changes nothing, and its result can be pickled. What it imports of
            a gigabyte or more (TensorFlow) is imported before, as it would count as the file's.
        path: the file.

    Raises:
        UserError: the file is damaged: the reader raised something, crashed, or took more than
            `MEMORY` and `SECONDS` allow.
    """
    if _in_child:
        with damaged(path):
            return read(path, *arguments)
    size = _size(path)
    receiver, sender = os.pipe()
    with _memory_file() as result_file:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of threads, which the child does not use
            process = os.fork()
        if not process:
            _child(sender, result_file, read, path, arguments,
                   _memory_used() + MEMORY + _TIMES * size)
        os.close(sender)
        try:
            done = _received(receiver, time.monotonic() + SECONDS + size / _RATE)
        finally:
            os.close(receiver)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            _, status = os.waitpid(process, 0)
        if done is None:
            raise UserError(f"{path} is damaged: reading it takes more than "
                            f"{SECONDS + size / _RATE:.0f} s")
        if not done:
            raise UserError(f"{path} is damaged: reading it ends its process "
                            f"({signal.Signals(os.WTERMSIG(status)).name})"
                            if os.WIFSIGNALED(status)
                            else f"{path} is damaged: reading it ends its process")
        result_file.seek(0)
        error, result = pickle.load(result_file)
    if error is not None:
        raise UserError(error)
    return result


def _memory_file():
    """A file in memory where the system has them: what a child returns may be large."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("result"), "w+b")
    return tempfile.TemporaryFile()


def _child(sender, result_file, read, path, arguments, memory):
    global _in_child
    _in_child = True
    try:
        import resource

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        faulthandler.disable()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):  # what crashing libraries print
            os.dup2(nowhere, stream)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        try:
            with damaged(path):
                answer = None, read(path, *arguments)
        except UserError as error:
            answer = str(error), None
        pickle.dump(answer, result_file, protocol=pickle.HIGHEST_PROTOCOL)
        result_file.flush()
        os.write(sender, b"done")
    finally:
        os._exit(0)


def _received(pipe, deadline):
    """What a pipe delivers, b"" where its other end closes; None after the deadline."""
    if not select.select([pipe], [], [], max(0, deadline - time.monotonic()))[0]:
        return None
    return os.read(pipe, 16)


def _size(path):
    """The bytes of a file, of ncnn's two, or of a checkpoint named by prefix, index or folder."""
    path = Path(path)
    files = [path]
    if path.is_dir():
        files = path.iterdir()
    elif path.suffix in (".index", ".param", ".bin") or not path.exists():
        stem = path.name if not path.exists() else path.stem
        files = path.parent.glob(f"{glob.escape(stem)}.*")
    with contextlib.suppress(OSError):
        return sum(file.stat().st_size for file in files if file.is_file())
    return 0


def _memory_used():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
