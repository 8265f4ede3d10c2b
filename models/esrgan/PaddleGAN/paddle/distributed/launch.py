"""A program that a published description names; docs/commands.md says what it runs here."""

import os
import sys

if __name__ == "__main__":  # any Python, 2 too: scripts/start.sh looks for another where need be
    here = os.path.abspath(__file__)
    root = here[:here.rindex(os.path.join(os.sep, "models", ""))]
    os.environ["PYTHON"] = sys.executable
    os.execvp("bash", ["bash", os.path.join(root, "scripts", "start.sh"), here] + sys.argv[1:])
