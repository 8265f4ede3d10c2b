"""Running a command: a user's mistake ends with one line on stderr and status 2."""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Sequence

GRACE = 20  # seconds that a command may take to end after a signal

_at_once = False


class UserError(Exception):
    """A mistake the user can correct; its text says what is wrong, where, and what to do."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for a misspelt word, else ""; flags are not quoted."""
    match = difflib.get_close_matches(word, list(known), 1, 0.5)
    if not match:
        return ""
    return f" (did you mean {match[0] if match[0].startswith('-') else repr(match[0])}?)"


def unknown(what: str, word: str, known: Iterable[str]) -> UserError:
    """Build the error for a word that is not one of the known ones."""
    return UserError(f"unknown {what} {word!r}{did_you_mean(word, known)}; "
                     f"choose one of {', '.join(known)}")


def require_packages(purpose: str, packages: Sequence[str], install: str | None = None) -> None:
    """Check that packages can be imported, without importing them.

    Args:
        purpose: what needs them, for the message.
        packages: their import names.
        install: what to install; default: the missing packages.

    Raises:
        UserError: some are missing.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"{purpose} needs {' and '.join(missing)}: "
                        f"pip install {install or ' '.join(missing)}")


def one_line(text: object) -> str:
    """Join the lines of another library's message."""
    return " ".join(str(text).split())


def run_command(main: Callable, argv: Sequence[str] | None = None) -> None:
    """Run `main(argv)` as a command and exit the process with its status.

    `main` returns None or an exit status. A `UserError` or an `OSError` of the operating system
    (missing file, full disk) prints one line on stderr and exits with 2; SIGTERM and Ctrl-C end
    with 143 and 130 and without a word; a closed pipe ends silently.
    """
    with _ended_by_signals() as received:
        try:
            status = main(sys.argv[1:] if argv is None else argv)
        except BaseException as error:
            # Libraries turn the exception of a signal, which they do not expect, into others.
            status = None if received else _status(error)
        if received:
            status = 128 + received[0]
        if _at_once:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status or 0)
    sys.exit(status or 0)


def _status(error):
    """The status that an error ends with, which is told; others are raised again."""
    if isinstance(error, UserError):
        return _fail(error)
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    if isinstance(error, OSError) and error.strerror:
        # A failed write to a full disk does not name the file.
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT
    if isinstance(error, SystemExit) and _at_once and isinstance(error.code, int):
        return error.code
    raise error


@contextlib.contextmanager
def _ended_by_signals():
    """Within `with`, SIGTERM and Ctrl-C raise SystemExit; yields the list of those received.

    A second one ends the process at once, as does the first where it is not done after `GRACE`
    seconds. Afterwards Ctrl-C ends the process without a traceback from Python's shutdown.
    """
    received, timers, process = [], [], os.getpid()

    def end(number, _):
        if os.getpid() != process:  # a fork that has not begun its own work
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if received:
            os._exit(128 + number)
        received.append(number)
        sys.unraisablehook = threading.excepthook = lambda *_: None
        timers.append(threading.Timer(GRACE, os._exit, [128 + number]))
        timers[0].daemon = True
        timers[0].start()
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for timer in timers:
            timer.cancel()
        if before[signal.SIGINT] is signal.default_int_handler:
            before[signal.SIGINT] = signal.SIG_DFL
        for number, handler in before.items():
            signal.signal(number, handler)


def end_at_once() -> None:
    """Make `run_command` end the process without Python's shutdown.

    Threads of TensorFlow's servers may still call Python during shutdown, which would abort a
    process that has finished its work.
    """
    global _at_once
    _at_once = True


def _fail(message):
    sys.stdout.flush()
    print(f"error: {one_line(message)}", file=sys.stderr)
    return 2
