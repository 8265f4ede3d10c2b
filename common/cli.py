"""Running a command: a user's mistake ends with one line on stderr and status 2."""

from __future__ import annotations

import difflib
import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence

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
    (missing file, full disk) prints one line on stderr and exits with 2, Ctrl-C with 130; a closed
    pipe ends silently.
    """
    try:
        status = main(sys.argv[1:] if argv is None else argv)
    except UserError as error:
        status = _fail(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 128 + signal.SIGPIPE
    except OSError as error:
        if not error.strerror:
            raise
        # A failed write to a full disk does not name the file.
        status = _fail(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except SystemExit as end:
        if not (_at_once and isinstance(end.code, int)):
            raise
        status = end.code
    if _at_once:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status or 0)
    sys.exit(status or 0)


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
