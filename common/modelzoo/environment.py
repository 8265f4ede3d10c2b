"""The Python that has the zoo's packages, for programs that run without them, and its variables."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What the adapter reads, of a process that trains alone.
ONE_DEVICE = {"JOB_ID": "10087", "ASCEND_DEVICE_ID": "0", "RANK_SIZE": "1", "RANK_ID": "0"}


def with_defaults(variables: dict) -> dict:
    """The environment, with these variables where it has none or empty ones of these names."""
    return {**os.environ, **{name: os.environ.get(name) or value
                             for name, value in variables.items()}}


def zoo_python(stack: str, *flags: str, quiet: bool = False, python: str = "") -> str:
    """The path of the Python of a stack; `scripts/setup.sh` makes its environment if need be.

    Where that fails the process ends with its status, as it has said why.

    Args:
        stack: main or ascend.
        flags: of setup.sh in place of --python.
        quiet: return "" where it fails, and hide why.
        python: the interpreter to build on in place of what setup.sh would choose.
    """
    setup = subprocess.run(
        ["bash", str(ROOT / "scripts" / "setup.sh"), "--stack", stack, *(flags or ["--python"])],
        env={**os.environ, "PYTHON": python} if python else None, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if quiet else None)
    if setup.returncode and not quiet:
        sys.exit(setup.returncode)
    return os.fsdecode(setup.stdout).strip()
