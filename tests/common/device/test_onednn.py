"""Whether oneDNN is used: decided by a child process once, remembered, and said."""

import json
import os
import signal
import subprocess
import sys

import pytest

from common.device import onednn
from common.device.open import open_device
from common.device.session import session_config
from common.nn.keras_compat import tf

DIES = "import os, signal; os.kill(os.getpid(), signal.SIGFPE)"


class Child:
    """Stands in for the child process; counts how often it is asked."""

    def __init__(self, code="pass"):
        self.code, self.asked = code, 0

    def __call__(self):
        self.asked += 1
        return subprocess.run([sys.executable, "-S", "-c", self.code]).returncode


@pytest.fixture
def old(tmp_path, monkeypatch):
    """The variables of a TensorFlow 2.6.5 outside setup.sh's environments, with an empty cache."""
    monkeypatch.setattr(onednn, "tensorflow_version", lambda: "2.6.5")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    return {"XDG_CACHE_HOME": str(tmp_path / "cache")}


def answers(folder):
    return list(json.loads((folder / "onednn.json").read_text()).values())


def test_it_is_off_where_the_child_dies_and_that_is_remembered(old, tmp_path):
    child = Child(DIES)
    for _ in range(2):
        environ = dict(old)
        onednn.choose(environ, child)
        assert environ["TF_ENABLE_ONEDNN_OPTS"] == "0"
        assert onednn.note(environ) == "oneDNN off: it crashes on this processor"
    assert child.asked == 1
    assert answers(tmp_path / "cache" / "sr-zoo") == [False]


def test_it_is_on_where_the_child_lives_and_that_is_remembered(old, tmp_path):
    child = Child()
    for _ in range(2):
        environ = dict(old)
        onednn.choose(environ, child)
        assert environ["TF_ENABLE_ONEDNN_OPTS"] == "1" and onednn.note(environ) is None
    assert child.asked == 1
    assert answers(tmp_path / "cache" / "sr-zoo") == [True]


def test_another_processor_or_tensorflow_is_asked_anew(old, monkeypatch, tmp_path):
    child = Child()
    onednn.choose(dict(old), child)
    monkeypatch.setattr(onednn, "processor", lambda: "another processor")
    environ = dict(old)
    onednn.choose(environ, Child(DIES))
    assert environ["TF_ENABLE_ONEDNN_OPTS"] == "0"
    monkeypatch.setattr(onednn, "tensorflow_version", lambda: "2.7.0")
    onednn.choose(dict(old), child)
    assert child.asked == 2
    assert answers(tmp_path / "cache" / "sr-zoo") == [True, False, True]


def test_an_environment_of_setup_keeps_its_own_answer(old, tmp_path):
    (tmp_path / "prefix").mkdir()
    (tmp_path / "prefix" / ".sr-zoo").touch()
    onednn.choose(dict(old), Child(DIES))
    assert answers(tmp_path / "prefix") == [False] and not (tmp_path / "cache").exists()
    environ = dict(old)
    onednn.choose(environ, Child())
    assert environ["TF_ENABLE_ONEDNN_OPTS"] == "0"


@pytest.mark.parametrize("value", ["0", "1"])
def test_a_value_of_the_user_wins_without_a_child(old, value):
    environ, child = {**old, "TF_ENABLE_ONEDNN_OPTS": value}, Child(DIES)
    onednn.choose(environ, child)
    assert environ == {**old, "TF_ENABLE_ONEDNN_OPTS": value} and child.asked == 0
    assert onednn.note(environ) is None


def test_a_child_process_inherits_the_choice_unless_its_tensorflow_is_another(old, monkeypatch):
    onednn.choose(old, Child(DIES))
    inherited, child = dict(old), Child()
    onednn.choose(inherited, child)
    assert inherited == old and child.asked == 0 and onednn.note(inherited)
    monkeypatch.setattr(onednn, "tensorflow_version", lambda: "2.21.0")
    onednn.choose(inherited, child)
    assert inherited["TF_ENABLE_ONEDNN_OPTS"] == "1" and onednn.note(inherited) is None
    monkeypatch.setattr(onednn, "tensorflow_version", lambda: "2.6.5")
    onednn.choose(inherited, child)  # a test of the main stack that runs the ascend stack
    assert inherited["TF_ENABLE_ONEDNN_OPTS"] == "0"


@pytest.mark.parametrize("version", ["1.15.5", "2.4.4", "2.9.0", "2.21.0"])
def test_a_tensorflow_without_the_fault_is_not_tried(old, monkeypatch, version):
    monkeypatch.setattr(onednn, "tensorflow_version", lambda: version)
    child = Child(DIES)
    onednn.choose(old, child)
    assert old["TF_ENABLE_ONEDNN_OPTS"] == "1" and child.asked == 0


def test_a_tensorflow_of_no_known_version_is_left_alone(old, monkeypatch):
    monkeypatch.setattr(onednn, "tensorflow_version", lambda: None)
    onednn.choose(old, Child(DIES))
    assert "TF_ENABLE_ONEDNN_OPTS" not in old


@pytest.mark.parametrize("code", [
    "raise ImportError", DIES.replace("SIGFPE", "SIGKILL")])
def test_what_says_nothing_about_the_processor_is_not_remembered(old, tmp_path, code):
    environ = dict(old)
    onednn.choose(environ, Child(code))
    assert environ["TF_ENABLE_ONEDNN_OPTS"] == "0"
    assert onednn.note(environ) == "oneDNN off: it could not be tried"
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_used_costs_another_try(old, tmp_path):
    (tmp_path / "cache").write_text("a file in place of the folder")
    child = Child(DIES)
    for _ in range(2):
        environ = dict(old)
        onednn.choose(environ, child)
        assert environ["TF_ENABLE_ONEDNN_OPTS"] == "0"
    assert child.asked == 2


@pytest.mark.parametrize("text", ["", "[1]", "{\"half"])
def test_a_cache_that_is_broken_is_written_anew(old, tmp_path, text):
    folder = tmp_path / "cache" / "sr-zoo"
    folder.mkdir(parents=True)
    (folder / "onednn.json").write_text(text)
    onednn.choose(dict(old), Child())
    assert answers(folder) == [True]


def test_the_lines_of_a_cpu_say_it(caplog, monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    monkeypatch.setenv("SR_ZOO_ONEDNN", "2.6.5 0 it crashes on this processor")
    with caplog.at_level("INFO", "sr_zoo"):
        open_device("cpu")
        session_config("cpu")
    device, session = caplog.messages
    assert "precision float32 (oneDNN off: it crashes on this processor)" in device
    assert session == "session: CPU (oneDNN off: it crashes on this processor)"


def test_the_tests_themselves_have_a_choice():
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] in ("0", "1")
    assert onednn.tensorflow_version() == tf.__version__


def test_as_a_command_it_prints_its_answer(old, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", old["XDG_CACHE_HOME"])
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")  # of the shell in which setup.sh was started
    monkeypatch.setattr(onednn, "run_probe", Child(DIES))
    onednn.main()
    assert capsys.readouterr().out == "oneDNN off: it crashes on this processor\n"
    assert answers(tmp_path / "cache" / "sr-zoo") == [False]


@pytest.mark.stack("ascend")  # no other TensorFlow is tried
@pytest.mark.process
def test_a_real_try_gives_what_the_tests_run_with():
    status = onednn.run_probe()
    assert status in (0, -signal.SIGFPE)
    if "SR_ZOO_ONEDNN" in os.environ:  # else the user has chosen
        assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == ("1" if status == 0 else "0")
