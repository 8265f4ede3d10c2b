import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.cli import UserError
from common.training import lock
from common.training.lock import locked

ROOT = Path(__file__).resolve().parents[3]
HOLD = """
import sys
from common.training.lock import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE", 0.1)


def test_the_second_is_told_who_holds_the_folder(tmp_path):
    with locked(tmp_path / "run"):
        words = f"run is in use by process {os.getpid()} on {os.uname().nodename} since 20"
        with pytest.raises(UserError, match=words), locked(tmp_path / "run"):
            pass
        with locked(tmp_path / "other"):
            pass
    with locked(tmp_path / "run"):
        pass


@pytest.mark.process
def test_the_lock_dies_with_its_process(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert process.stdout.readline() == "held\n"
    with pytest.raises(UserError, match=f"process {process.pid} on"), locked(tmp_path):
        pass
    process.kill()
    process.communicate()
    with locked(tmp_path):
        pass


def test_a_file_system_without_locks_is_pointed_out(tmp_path, monkeypatch, caplog):
    flock, nowhere = lock.fcntl.flock, []

    def without(file, how):
        if nowhere or Path(file.name).parent == tmp_path:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        flock(file, how)

    monkeypatch.setattr(lock.fcntl, "flock", without)
    with locked(tmp_path):
        assert "has no locks (No locks available)" in caplog.text
        with pytest.raises(UserError, match=f"process {os.getpid()}"), locked(tmp_path):
            pass
    nowhere.append(True)
    with locked(tmp_path):
        pass
