import os
import signal
import subprocess
import sys
import time

import pytest

from common.modelzoo.supervise import Child, Supervisor, last_lines

pytestmark = pytest.mark.process


def shell(text, **kwargs):
    return Child(["bash", "-c", text], **kwargs)


# Until it is told to end, which a child that is deaf does not hear.
STAYS = "trap 'echo ended; exit 143' TERM; echo waiting; for i in {1..600}; do sleep 0.05; done"
DEAF = "trap '' TERM; echo waiting; for i in {1..600}; do sleep 0.05; done"


def run(*children, **kwargs):
    with Supervisor() as supervisor:
        return supervisor.run(children, **kwargs)


def when_waiting(logs, *numbers):
    """A function that sends this process signals, one at a time, once all children wait."""
    left = list(numbers)

    def call():
        if left and all(log.exists() and "waiting" in log.read_text() for log in logs):
            os.kill(os.getpid(), left.pop(0))
    return call


@pytest.fixture
def logs(tmp_path):
    return [tmp_path / f"{i}.log" for i in range(2)]


@pytest.mark.parametrize("text, status", [("true", 0), ("exit 7", 7), ("kill -KILL $$", 137)])
def test_the_status_is_that_of_the_child(text, status):
    assert run(shell(text)) == status


def test_children_have_their_environment_no_input_and_a_session_of_their_own(logs):
    text = 'echo "$WORD $(ps -o sid= -p $$) $$"; cat'
    assert run(shell(text, environment={**os.environ, "WORD": "w"}, log=logs[0])) == 0
    word, session, process = logs[0].read_text().split()
    assert word == "w" and session == process


def test_when_one_fails_the_others_are_stopped_and_its_status_returned(logs, capfd):
    status = run(shell(STAYS, name="device 0", log=logs[0]), shell(
        f"until grep -q waiting {logs[0]}; do sleep 0.02; done; echo a; echo lost >&2; exit 9",
        name="device 1", log=logs[1]))
    assert status == 9 and logs[0].read_text() == "waiting\nended\n"
    assert capfd.readouterr().err == (
        f"a\nlost\nerror: device 1 ended with status 9; stopping the others; see {logs[1]}\n")


def test_one_that_does_not_stop_in_time_is_killed(logs, capfd):
    began = time.monotonic()
    status = run(shell(DEAF, name="device 0", log=logs[0]), shell(
        f"until grep -q waiting {logs[0]}; do sleep 0.02; done; kill -SEGV $$", name="device 1"),
        grace=0.3)
    assert status == 128 + signal.SIGSEGV and 0.3 < time.monotonic() - began < 10
    assert capfd.readouterr().err == (
        "error: device 1 was killed by SIGSEGV; stopping the others\n"
        "error: still running after 0.3 s, so killed: device 0\n")


def test_a_signal_is_passed_on_and_waited_for(logs, capfd):
    children = [shell(STAYS, name=f"device {i}", log=log) for i, log in enumerate(logs)]
    assert run(*children, call=when_waiting(logs, signal.SIGTERM), every=0.02, grace=0) == 143
    assert [log.read_text() for log in logs] == 2 * ["waiting\nended\n"]
    assert capfd.readouterr().err == ""  # it was asked for


def test_a_second_signal_kills(logs):
    call = when_waiting(logs[:1], signal.SIGTERM, signal.SIGINT)
    assert run(shell(DEAF, log=logs[0]), call=call, every=0.02) == 128 + signal.SIGKILL


def test_after_a_signal_nothing_is_started_and_it_is_handled_as_before_in_the_end(logs):
    before = signal.getsignal(signal.SIGTERM)
    with Supervisor() as supervisor:
        assert supervisor.run([shell("exit 0")]) == 0
        os.kill(os.getpid(), signal.SIGTERM)
        assert supervisor.run([shell("touch x", log=logs[0])]) == 128 + signal.SIGTERM
    assert not logs[0].exists() and signal.getsignal(signal.SIGTERM) is before


def test_a_command_that_does_not_exist_ends_those_that_were_started(logs):
    stays = shell(STAYS, log=logs[0])
    with pytest.raises(FileNotFoundError), Supervisor() as supervisor:
        supervisor.run([stays, Child(["/no/such/command"])])
    assert "waiting" not in last_lines(logs[0]) or "ended" in last_lines(logs[0])


def test_a_function_is_called_again_and_again(logs):
    times = []
    assert run(shell("sleep 0.5"), call=lambda: times.append(time.monotonic()), every=0.1) == 0
    assert 2 <= len(times) <= 5


def test_output_is_added_to_a_log_or_prefixed_line_by_line(logs, capfd):
    logs[0].write_text("before\n")
    assert run(shell("echo out; echo err >&2", log=logs[0])) == 0
    assert logs[0].read_text() == "before\nout\nerr\n" and last_lines(logs[0], 2) == "out\nerr"
    code = "import sys; sys.stdout.write('10%\\r20%\\n\\nend'); print('x', file=sys.stderr)"
    assert run(Child([sys.executable, "-c", code], prefix="[1] ")) == 0
    assert capfd.readouterr() == ("[1] 10%\n[1] 20%\n[1] end\n", "[1] x\n")


def test_it_needs_no_packages():
    code = ("import sys\nfrom common.modelzoo.supervise import Child, Supervisor\n"
            "with Supervisor() as s: print(s.run([Child(['true'])]))\n"
            "print([m for m in ('numpy', 'yaml', 'tensorflow') if m in sys.modules])")
    result = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True,
                            env={**os.environ, "PYTHONPATH": os.getcwd()})
    assert result.stdout == "0\n[]\n", result.stderr
