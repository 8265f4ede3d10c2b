import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from common.cli import UserError, require_packages, run_command, unknown

ROOT = Path(__file__).resolve().parents[2]


def status_of(main):
    with pytest.raises(SystemExit) as stop:
        run_command(main, [])
    return stop.value.code


def test_a_users_mistake_is_one_line_and_status_2(capsys):
    def main(argv):
        raise UserError("no folder\nx")

    assert status_of(main) == 2
    assert capsys.readouterr().err == "error: no folder x\n"


def test_a_file_that_cannot_be_opened_is_named(capsys, tmp_path):
    assert status_of(lambda argv: (tmp_path / "missing").read_text()) == 2
    assert "missing: No such file" in capsys.readouterr().err


def test_a_full_disk_is_one_line(capsys):
    def main(argv):
        with open("/dev/full", "w") as file:
            file.write("x")

    assert status_of(main) == 2
    assert capsys.readouterr().err == "error: No space left on device\n"


def test_an_error_that_is_not_the_systems_keeps_its_traceback():
    def main(argv):
        raise OSError("a library's own")

    with pytest.raises(OSError, match="own"):
        run_command(main, [])


def test_other_errors_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        run_command(lambda argv: 1 / 0, [])


def test_success_is_status_0_and_ctrl_c_130():
    def interrupted(argv):
        raise KeyboardInterrupt

    assert status_of(lambda argv: None) == 0
    assert status_of(interrupted) == 130


@pytest.mark.process
def test_a_closed_pipe_ends_quietly(tmp_path):
    script = ("from common.cli import run_command\n"
              "def main(argv):\n"
              "    for i in range(100000):\n"
              "        print(i)\n"
              "run_command(main)\n")
    result = subprocess.run(f"{sys.executable} -c '{script}' | head -n 1", shell=True,
                            capture_output=True, text=True, cwd=str(tmp_path),
                            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"})
    assert result.stdout == "0\n" and result.stderr == ""


@pytest.fixture
def stopped(tmp_path):
    """Run a command whose import of a module is met by a signal: (status, stderr)."""
    def run(module, number, *command):
        (tmp_path / f"{module}.py").write_text(
            f"import os, time\nos.kill(os.getpid(), {int(number)})\ntime.sleep(9)\n")
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True,
                              cwd=str(tmp_path), env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
                              preexec_fn=lambda: signal.signal(signal.SIGINT,
                                                               signal.default_int_handler))
        return done.returncode, done.stderr
    return run


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_command_silently_at_any_moment(number, stopped):
    train = "-m", "models.edsr.train", "--data_dir", str(ROOT / "tests")
    assert stopped("jsonargparse", number, *train) == (-number, "")  # before `run_command`
    library = ("from common.cli import run_command\n"
               "def main(argv):\n"
               "    try:\n"
               "        import slow\n"
               "    except BaseException:\n"
               "        raise ImportError('as a C extension would')\n"
               "run_command(main)\n")
    assert stopped("slow", number, "-c", library) == (128 + number, "")


def test_signals_are_handled_as_before_afterwards():
    before = signal.getsignal(signal.SIGTERM)
    assert status_of(lambda argv: os.kill(os.getpid(), signal.SIGTERM)) == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before
    # What would end a command that hangs after its signal does not end who called it.
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)
                and not thread.finished.is_set()]


def test_an_unknown_word_gets_the_nearest_and_all_known_ones():
    assert str(unknown("chip", "gpuu", ("gpu", "cpu"))) == (
        "unknown chip 'gpuu' (did you mean 'gpu'?); choose one of gpu, cpu")
    assert str(unknown("chip", "what", ("gpu", "cpu"))) == (
        "unknown chip 'what'; choose one of gpu, cpu")


def test_missing_packages_are_named_with_what_to_install():
    require_packages("this", ["json", "pytest"])
    with pytest.raises(UserError) as error:
        require_packages("onnx", ["json", "no_such", "nor_this"])
    assert str(error.value) == "onnx needs no_such and nor_this: pip install no_such nor_this"
    with pytest.raises(UserError, match="^lpips needs no_such_one: pip install pyiqa$"):
        require_packages("lpips", ["no_such_one"], install="pyiqa")
