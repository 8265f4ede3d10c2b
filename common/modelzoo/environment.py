"""The Python that has the zoo's packages, for programs that run without them, and its variables."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from common.device.machine import usual_stack

ROOT = Path(__file__).resolve().parents[2]
SETUP = ("bash", str(ROOT / "scripts" / "setup.sh"), "--stack")
# The modules that no command of the zoo runs without.
MODULES = ("cv2", "h5py", "jsonargparse", "matplotlib", "numpy", "PIL", "scipy", "skimage",
           "tensorflow", "tifffile", "tqdm", "yaml")
# What the adapter reads, of a process that trains alone.
ONE_DEVICE = {"JOB_ID": "10087", "ASCEND_DEVICE_ID": "0", "RANK_SIZE": "1", "RANK_ID": "0"}


def with_defaults(variables: dict) -> dict:
    """The environment, with these variables where it has none or empty ones of these names."""
    return {**os.environ, **{name: os.environ.get(name) or value
                             for name, value in variables.items()}}


def zoo_python(stack: str, base: str = "") -> str:
    """The Python of a stack; `scripts/setup.sh` makes its environment if need be.

    Where that fails setup.sh says why, and the process ends with its status.

    Args:
        stack: main or ascend.
        base: the interpreter to build on, in place of what setup.sh would choose.
    """
    setup = subprocess.run([*SETUP, stack, "--python"], stdout=subprocess.PIPE,
                           env={**os.environ, "PYTHON": base} if base else None)
    if setup.returncode:
        sys.exit(setup.returncode)
    return os.fsdecode(setup.stdout).strip()


def find_python(stack: str) -> str:
    """The Python that `zoo_python` would use or build on, "" for none; nothing is installed."""
    setup = subprocess.run([*SETUP, stack, "--find"], stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL)
    return os.fsdecode(setup.stdout).strip()


def enter() -> None:
    """Go on in the zoo's environment where this Python cannot run a program started as a file.

    That is in place of this process. Nothing is installed: where there is no environment, one line
    on stderr says how to make it, and the process ends with status 2.
    """
    python = program_python()
    if python != sys.executable:
        os.execv(python, [python, *sys.argv])


def program_python() -> str:
    """This Python if it can run the zoo, else that of an environment which setup.sh has made."""
    lacking = [name for name in MODULES if importlib.util.find_spec(name) is None]
    why = "is older than Python 3.7"
    if sys.version_info >= (3, 7):  # noqa: UP036 - this module runs on any Python 3
        if not lacking:
            return sys.executable
        why = f"lacks {', '.join(lacking)}"
    stacks = {"main": ".venv", "ascend": ".venv-ascend"}
    preferred = usual_stack()
    for stack in sorted(stacks, key=lambda stack: stack != preferred):
        folder = ROOT / stacks[stack]
        if (folder / ".sr-zoo").is_file():  # what setup.sh writes last
            return str(folder / "bin" / "python")
    flags = " --stack ascend" if preferred == "ascend" else ""
    sys.stderr.write(f"error: {sys.executable} {why}; make the zoo's environment once, and this "
                     f"command finds it: bash {SETUP[1]}{flags}\n")
    sys.exit(2)
