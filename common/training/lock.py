"""A lock on a run's folder, which ends with its process however that ends."""

import contextlib
import fcntl
import hashlib
import logging
import os
import platform
import tempfile
import time
from pathlib import Path

from common.cli import UserError
from common.files import make_folder

PATIENCE = 1  # seconds that a child of a process that was killed may outlive it

log = logging.getLogger("sr_zoo")


@contextlib.contextmanager
def locked(folder):
    """Within `with`, no other process can lock the folder.

    On a file system without locks a file in the temporary folder takes its place, which only the
    processes of this machine see.

    Args:
        folder: made if missing.

    Raises:
        UserError: another process holds the lock; it says which. Or the folder cannot be made.
    """
    folder = make_folder(folder)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_held(folder / ".lock", folder))
        except OSError as error:
            log.warning("%s has no locks (%s): see to it that no other machine writes there",
                        folder, error.strerror)
            name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
            path = Path(tempfile.gettempdir(), f"sr-zoo-{name}.lock")
            with contextlib.suppress(OSError):
                stack.enter_context(_held(path, folder))
        yield


@contextlib.contextmanager
def _held(path, folder):
    with open(path, "a+", encoding="utf-8", errors="replace") as file:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > until:
                    file.seek(0)
                    holder = file.readline(200) or "another process"
                    raise UserError(f"{folder} is in use by {holder}; wait for its end, stop it, "
                                    "or choose another --output_dir") from error
            time.sleep(0.05)
        with contextlib.suppress(OSError):  # a full disk keeps no one from training
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()} since "
                       f"{time.strftime('%Y-%m-%d %H:%M:%S')}")
            file.flush()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                file.truncate(0)
