"""The Python that has the zoo's packages, for programs that run without them, and its variables."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SETUP = ("bash", str(ROOT / "scripts" / "setup.sh"), "--stack")
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
