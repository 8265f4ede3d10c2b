"""A copy of the checkout whose Python is a stand-in, to see what the shell scripts make of it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STARTS = ("common", "models/__init__.py", "models/edsr/scripts", "models/edsr/test",
          "scripts/__init__.py", "scripts/cann.sh", "scripts/modelzoo_run.py", "scripts/start.py",
          "scripts/start.sh")


class Checkout:
    """A folder with a space in its name, holding scripts and a stand-in for Python.

    Args:
        root: the folder.
        names: of the files and folders to copy into it.
    """

    def __init__(self, root, names):
        self.root = root
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_dir():
                shutil.copytree(str(ROOT / name), str(root / name),
                                ignore=shutil.ignore_patterns("__pycache__", "*.h5"))
            else:
                shutil.copy(str(ROOT / name), str(root / name))
        (root / "scripts" / "setup.sh").write_text(
            '[ -z "${BROKEN:-}" ] || { echo "error: no Python" >&2; exit 2; }\n'
            f'echo "$*" >>"{root}/setup.log"\necho "{root}/python"\n')

    def python(self, text):
        """Make the stand-in: a bash script, in which $REAL is the interpreter of the tests."""
        path = self.root / "python"
        path.write_text(f'#!/usr/bin/env bash\nREAL="{sys.executable}"\n{text}')
        path.chmod(0o755)

    def asked(self):
        """What setup.sh was called with, one list for each time."""
        return (self.root / "setup.log").read_text().splitlines()

    def environment(self, **env):
        """Without the machine's own devices and settings."""
        return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(self.root),
                "PYTHON": sys.executable, "SR_ZOO_NPU_DEVICES": "",
                "SR_ZOO_NVIDIA_TRACES": "", **env}

    def start(self, script, cwd, *arguments, **env):
        """Start a script of the copy as a process."""
        return subprocess.Popen(["bash", str(self.root / script), *map(str, arguments)],
                                cwd=str(cwd), env=self.environment(**env), text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run(self, script, cwd, *arguments, **env):
        """Run a script of the copy to its end."""
        process = self.start(script, cwd, *arguments, **env)
        try:
            out, err = process.communicate(timeout=300)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture
def checkout(tmp_path):
    """The scripts that start trainings."""
    return Checkout(tmp_path / "a check out", STARTS)


@pytest.fixture
def npu(tmp_path):
    """`npu(2)`: the environment of a machine with two NPUs."""
    def devices(count):
        for i in range(count):
            (tmp_path / f"davinci{i}").touch()
        return {"SR_ZOO_NPU_DEVICES": f"{tmp_path}/davinci[0-9]*"}
    return devices
