"""What every model of the zoo shares; it knows no model by name."""

import signal
import sys

if sys.argv[:1] == ["-m"]:  # while `python -m` looks for its module
    # Until `run_command` takes over, Ctrl-C ends a command of the zoo without a traceback. Programs
    # that import the zoo keep their own Ctrl-C.
    try:
        with open("/proc/self/cmdline", encoding="utf-8", errors="replace") as _file:
            _words = _file.read().split("\0")
        if _words[_words.index("-m") + 1].startswith(("models.", "scripts.")):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
    except (OSError, ValueError):  # no /proc
        pass
