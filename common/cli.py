"""The frame around every command: one clear line and status 2 for a user's mistake."""

import difflib
import os
import signal
import sys

_at_once = False


class UserError(Exception):
    """A mistake the user can correct; its text says what, where and what to do."""


def did_you_mean(word, known):
    """" (did you mean 'x'?)" for a misspelt word, or nothing; flags go without quotation marks."""
    match = difflib.get_close_matches(word, list(known), 1, 0.5)
    if not match:
        return ""
    return f" (did you mean {match[0] if match[0].startswith('-') else repr(match[0])}?)"


def one_line(text):
    """Fold a message of another library to a single line."""
    return " ".join(str(text).split())


def run_command(main, argv=None):
    """Run `main(argv)` as a command and exit the process with its status.

    `main` returns None or an exit status. A `UserError`, and an `OSError` of the system (a file
    that is not there, a full disk), become one line on stderr and status 2; Ctrl-C is status 130; a
    closed pipe ends quietly.
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
        # A write to a full disk does not say which file it was.
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


def end_at_once():
    """Let `run_command` end the process without Python's clearing up.

    Where TensorFlow's servers have threads of their own, these may still call Python, and then
    abort the process that was done.
    """
    global _at_once
    _at_once = True


def _fail(message):
    sys.stdout.flush()
    print(f"error: {one_line(message)}", file=sys.stderr)
    return 2
