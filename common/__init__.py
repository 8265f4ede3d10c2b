"""What every model of the zoo shares; it knows no model by name."""

import signal
import sys

# While `python -m` looks for a command of the zoo, argv[0] is "-m": until `run_command` takes over,
# Ctrl-C ends it without a traceback. Programs that import the zoo keep their own Ctrl-C.
_words = getattr(sys, "orig_argv", [])
if sys.argv[:1] == ["-m"] and _words[_words.index("-m") + 1].startswith(("models.", "scripts.")):
    signal.signal(signal.SIGINT, signal.SIG_DFL)
