"""scripts/setup.sh with stand-ins for Python and pip, and what scripts/probe_python.py tells it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("bash", "cat", "cksum", "cp", "dirname", "env", "flock", "grep", "ls", "mkdir", "mv", "rm",
         "sed", "sleep", "tail", "tr")
LOCKS = shutil.which("flock") is not None

# Answers the five ways in which setup.sh calls a Python, from a file of settings beside it.
STUB = r"""#!/usr/bin/env bash
set -e
executable="$0"
version=3.11.7 prefix=/usr packages=- venv=yes tensorflow=- fits=no missing="" pip_status=0
pip_says="" pip_seconds=0
. "$0.settings"
echo "$0 $*" >>"$STUB_CALLS"
case "$*" in
  *probe_python.py\ --constraints) echo numpy==1.19.2 ;;
  *probe_python.py*)
    for key in version executable prefix packages venv tensorflow fits missing; do
      echo "$key ${!key}"
    done ;;
  "-m venv "*)
    folder="${@: -1}"
    mkdir -p "$folder/bin" "$folder/lib/python3.11/site-packages"
    cp "$0" "$folder/bin/python"
    { cat "$0.settings"; echo "prefix='$folder'"; } >"$folder/bin/python.settings" ;;
  "-m pip "*)
    sleep "$pip_seconds"
    echo "$pip_says"
    exit "$pip_status" ;;
  "-m common.device.onednn") echo "oneDNN off: it crashes on this processor" ;;
esac
"""


class Machine:
    """A checkout under a folder with a space, and a PATH of little more than the given Pythons."""

    def __init__(self, folder):
        self.root = folder / "a check out"
        self.bin = folder / "bin"
        self.calls_file = folder / "calls"
        (self.root / "scripts").mkdir(parents=True)
        for name in ("scripts/setup.sh", "scripts/probe_python.py", "requirements.txt",
                     "requirements-npu.txt", "requirements-tf1.txt", "requirements-test.txt"):
            shutil.copy(str(ROOT / name), str(self.root / name))
        self.bin.mkdir()
        for tool in TOOLS:
            path = shutil.which(tool)
            if path:
                (self.bin / tool).symlink_to(path)
        self.tool("uname", 'case "$1" in -s) echo Linux ;; *) echo x86_64 ;; esac')
        self.env = {"PATH": str(self.bin), "HOME": str(folder / "home"), "LC_ALL": "C",
                    "STUB_CALLS": str(self.calls_file), "SR_ZOO_NVIDIA_TRACES": ""}

    @property
    def venv(self):
        return self.root / ".venv"

    def tool(self, name, text):
        path = self.bin / name
        path.write_text("#!/usr/bin/env bash\n" + text + "\n")
        path.chmod(0o755)

    def python(self, name="python3", folder=None, **settings):
        """Add a Python; the settings are the variables of STUB."""
        path = (folder or self.bin) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(STUB)
        path.chmod(0o755)
        lines = [f"{key}='{value}'" for key, value in settings.items()]
        path.with_name(name + ".settings").write_text("\n".join(lines) + "\n")
        return path

    def start(self, *arguments, **env):
        return subprocess.Popen(
            ["bash", str(self.root / "scripts" / "setup.sh"), *arguments], cwd="/",
            env={**self.env, **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, start_new_session=True)

    def run(self, *arguments, **env):
        process = self.start(*arguments, **env)
        process.out, process.err = process.communicate(timeout=60)
        return process

    def interpreter(self, *arguments, **env):
        """The one line that --python prints."""
        process = self.run("--python", *arguments, **env)
        assert process.returncode == 0, process.err
        assert process.out.count("\n") == 1
        return process.out.rstrip("\n")

    def refuses(self, *arguments, **env):
        """The one line on stderr with which it ends, and status 2."""
        process = self.run("--python", *arguments, **env)
        assert (process.returncode, process.out) == (2, "")
        errors = [line for line in process.err.splitlines() if not line.startswith("setup: ")]
        assert len(errors) == 1
        assert errors[0].startswith("error: ")
        return errors[0]

    def calls(self, contains=""):
        """The calls of Pythons so far that contain a text; they are forgotten."""
        if not self.calls_file.exists():
            return []
        lines = self.calls_file.read_text().splitlines()
        self.calls_file.unlink()
        return [line for line in lines if contains in line]


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_makes_the_environment_once(machine):
    machine.python()
    process = machine.run("--python")
    assert process.out == f"{machine.venv}/bin/python\n"
    assert "tensorflow-cpu==2.21.0" in process.err
    installed = (machine.venv / "requirements.txt").read_text()
    assert "\ntensorflow-cpu==2.21.0\n" in installed
    assert installed.count("==") == (ROOT / "requirements.txt").read_text().count("==")
    site = machine.venv / "lib" / "python3.11" / "site-packages"
    assert (site / "sr_zoo.pth").read_text() == f"{machine.root}\n"
    assert len(machine.calls("-m pip install")) == 1

    assert machine.interpreter() == f"{machine.venv}/bin/python"
    assert machine.run().err == f"setup: ready: {machine.venv}/bin/python\n"
    assert machine.calls() == []  # no Python is started when there is nothing to do


def test_takes_cuda_with_an_nvidia_driver_and_remakes_for_it(machine):
    machine.python()
    machine.interpreter()
    machine.interpreter(SR_ZOO_NVIDIA_TRACES="/dev/null")
    assert "\ntensorflow[and-cuda]==2.21.0\n" in (machine.venv / "requirements.txt").read_text()
    assert len(machine.calls("-m venv")) == 2


def test_takes_plain_tensorflow_on_another_platform(machine):
    machine.tool("uname", 'case "$1" in -s) echo Linux ;; *) echo aarch64 ;; esac')
    machine.python()
    machine.interpreter()
    assert "\ntensorflow==2.21.0\n" in (machine.venv / "requirements.txt").read_text()


def test_ascend_stack_is_another_environment(machine):
    machine.python()
    machine.python("python3.9", version="3.9.18")
    process = machine.run("--python", "--stack", "ascend")
    assert process.out == f"{machine.root}/.venv-ascend/bin/python\n"
    assert "setup: oneDNN off: it crashes on this processor" in process.err
    assert "\ntensorflow-cpu==2.6.5\n" in (
        machine.root / ".venv-ascend" / "requirements.txt").read_text()
    assert not machine.venv.exists()


@pytest.mark.parametrize("version, takes", [("3.10.4", "no"), ("3.9.2", "ascend"),
                                            ("3.8.18", "ascend"), ("3.7.5", "ascend ascend37"),
                                            ("3.6.15", "no")])
def test_the_ascend_stack_takes_python_37_to_39(machine, version, takes):
    machine.python(version=version)
    for stack in ("ascend", "ascend37"):
        if stack in takes.split():
            assert machine.run(f"--stack={stack}", "--find").out == f"{machine.bin}/python3\n"
        else:
            wanted = "3.7, 3.8 or 3.9" if stack == "ascend" else "3.7"
            assert f"no Python {wanted} found ({version} " in machine.refuses(f"--stack={stack}")


def test_tf1_stack_is_one_for_tests_with_the_tensorflow_that_is_asked_for(machine):
    machine.python()
    assert f"no Python 3.7 found (3.11.7 ({machine.bin}/python3))" in machine.refuses("--stack=tf1")
    machine.python("python3.7", version="3.7.16")
    assert machine.run("--stack=tf1", "--find").out == f"{machine.bin}/python3.7\n"
    assert machine.interpreter("--stack=tf1") == f"{machine.root}/.venv-tf1/bin/python"
    installed = (machine.root / ".venv-tf1" / "requirements.txt").read_text()
    assert "\ntensorflow==1.15.5\n" in installed  # 1.15.5 has no wheel named tensorflow-cpu
    assert not machine.venv.exists()
    assert "tf1 has no test packages" in machine.refuses("--stack=tf1", "--test")


def test_finds_pyenv_versions_that_are_not_on_the_path(machine):
    folder = Path(machine.env["HOME"]) / ".pyenv" / "versions" / "3.12.1" / "bin"
    python = machine.python(folder=folder, version="3.12.1")
    machine.python(version="3.8.2")
    assert machine.run("--find").out == f"{python}\n"
    assert not machine.venv.exists()
    machine.interpreter()
    assert [c.split(" ")[0] for c in machine.calls("-m venv")] == [str(python)]


def test_the_callers_python_comes_first(machine):
    machine.python()
    other = machine.python("python3.12", version="3.12.0")
    assert machine.run("--find", PYTHON=str(other)).out == f"{other}\n"
    old = machine.python("python3.8", version="3.8.0")
    process = machine.run("--find", PYTHON=str(old))
    assert process.out == f"{machine.bin}/python3\n"
    assert "python3.8 is Python 3.8.0" in process.err


def test_uses_an_active_python_that_has_everything(machine):
    python = machine.python(fits="yes", tensorflow="2.21.0", version="3.10.4")
    assert machine.interpreter() == str(python)
    assert not machine.venv.exists()
    assert machine.calls("-m") == []


def test_adds_only_what_is_missing_to_an_active_python(machine):
    machine.python(version="3.7.5", fits="yes", tensorflow="2.6.2", missing="jsonargparse pyyaml",
                   packages="/image/site-packages")
    assert machine.interpreter("--stack=ascend") == f"{machine.root}/.venv-ascend/bin/python"
    venv, _, pip, onednn = machine.calls("/")[-4:]
    assert "-m venv --system-site-packages" in venv
    assert pip.endswith("constraints.txt jsonargparse pyyaml")
    site = machine.root / ".venv-ascend" / "lib" / "python3.11" / "site-packages"
    assert (site / "sr_zoo_base.pth").read_text() == "/image/site-packages\n"
    constraints = (machine.root / ".venv-ascend" / "constraints.txt").read_text()
    assert constraints == "numpy==1.19.2\n"
    machine.interpreter("--stack=ascend")
    assert machine.calls() == []


def test_says_that_there_is_no_python(machine):
    assert "no Python 3.11, 3.12 or 3.13 found (no Python at all)" in machine.refuses()
    machine.python(version="3.14.0")
    error = machine.refuses()
    assert f"(3.14.0 ({machine.bin}/python3))" in error
    assert not machine.venv.exists()


def test_says_that_the_venv_module_is_missing(machine):
    machine.python(venv="no")
    assert "apt-get install python3-venv" in machine.refuses()


@pytest.mark.parametrize("says, error", [
    ("WARNING: Retrying after NewConnectionError(...)\nERROR: No matching distribution found for a",
     "the package index cannot be reached"),
    ("ERROR: No matching distribution found for keras==3.15.1",
     "the package index has no keras==3.15.1 for Python 3.11.7 on x86_64"),
    ("ERROR: [Errno 28] No space left on device", "no space left on the disk"),
    ("Traceback\nERROR: the wheel is\n  broken", "the wheel is"),
])
def test_says_why_pip_failed_and_mends_it_next_time(machine, says, error):
    machine.python(pip_status=1, pip_says=says)
    line = machine.refuses()
    assert error in line
    assert f"see {machine.venv}/setup.log" in line
    assert says.splitlines()[0] in (machine.venv / "setup.log").read_text()
    machine.python()
    machine.calls()
    assert machine.interpreter() == f"{machine.venv}/bin/python"
    assert len(machine.calls("-m venv")) == 1


def test_says_what_it_was_called_with_wrongly(machine):
    assert "--fast" in machine.refuses("--fast")
    assert "choose main, ascend, ascend37 or tf1" in machine.refuses("--stack", "npu")
    assert "needs a value" in machine.refuses("--stack")


def test_leaves_a_folder_alone_that_it_did_not_make(machine):
    machine.python()
    machine.venv.mkdir()
    (machine.venv / "precious").write_text("mine")
    assert "was not made by setup.sh" in machine.refuses()
    assert (machine.venv / "precious").read_text() == "mine"


def test_mends_an_environment_whose_python_is_gone(machine):
    machine.python()
    machine.interpreter()
    (machine.venv / "bin" / "python").unlink()
    machine.interpreter()
    assert (machine.venv / "bin" / "python").exists()


def test_is_made_anew_after_being_killed(machine):
    machine.python(pip_seconds=30)
    process = machine.start("--python")
    deadline = time.time() + 20
    while not (machine.calls_file.exists() and "pip" in machine.calls_file.read_text()):
        assert time.time() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (machine.venv / "half").write_text("")
    machine.python()
    machine.calls()
    assert machine.interpreter() == f"{machine.venv}/bin/python"
    assert not (machine.venv / "half").exists()
    assert len(machine.calls("-m venv")) == 1


@pytest.mark.skipif(not LOCKS, reason="no flock command here")
def test_two_at_once_make_it_once(machine):
    machine.python(pip_seconds=0.5)
    first, second = machine.start("--python", "--test"), machine.start("--python", "--test")
    outputs = {first.communicate(timeout=60)[0], second.communicate(timeout=60)[0]}
    assert outputs == {f"{machine.venv}/bin/python\n"}
    assert (first.returncode, second.returncode) == (0, 0)
    assert len(machine.calls("-m pip install")) == 1


def test_changed_requirements_are_installed_into_it(machine):
    machine.python()
    machine.interpreter()
    (machine.venv / "mine").write_text("")
    machine.interpreter("--test")
    assert machine.calls("-m pip")[-1].endswith("requirements-test.txt")
    with open(str(machine.root / "requirements.txt"), "a") as file:
        file.write("more==1.0\n")
    machine.interpreter()
    assert machine.calls("-m pip")[-1].endswith("requirements-test.txt")  # what it has it keeps
    assert "more==1.0" in (machine.venv / "requirements.txt").read_text()
    assert (machine.venv / "mine").exists()
    machine.interpreter("--test")
    assert machine.calls() == []


def test_another_python_in_front_changes_nothing(machine):
    machine.python()
    machine.interpreter()
    front = machine.bin.parent / "front"
    machine.python(folder=front, version="3.13.0")
    machine.calls()
    path = f"{front}:{machine.bin}"
    assert machine.interpreter(PATH=path) == f"{machine.venv}/bin/python"
    assert machine.calls("-m") == []
    activated = f"{machine.venv}/bin:{machine.bin}"
    assert machine.interpreter(PATH=activated) == f"{machine.venv}/bin/python"
    assert machine.interpreter(PYTHON=f"{machine.venv}/bin/python") == f"{machine.venv}/bin/python"
    assert machine.calls("-m") == []


def probe(*arguments):
    command = [sys.executable, str(ROOT / "scripts" / "probe_python.py"), *arguments]
    return subprocess.check_output(command, text=True)


def probed(*arguments):
    return dict(line.split(" ", 1) for line in probe(*arguments).splitlines())


@pytest.mark.process
def test_probe_knows_the_stack_it_runs_on():
    from common.nn.keras_compat import IS_KERAS_3, tf

    here, there = ("main", "ascend") if IS_KERAS_3 else ("ascend", "main")
    found = probed(here)
    assert found["fits"] == "yes"
    assert found["tensorflow"] == tf.__version__
    assert found["executable"] == sys.executable
    assert found["version"] == ".".join(str(n) for n in sys.version_info[:3])
    assert probed(there)["fits"] == probed("tf1")["fits"] == "no"


@pytest.mark.process
def test_probe_lists_requirements_that_are_not_here(tmp_path):
    file = tmp_path / "requirements.txt"
    file.write_text("# text\n\ntensorflow==9\nnumpy==1.0  # old\nno-such-package==1.2\npillow==1\n")
    for stack in ("main", "tf1"):
        assert probed(stack, str(file))["missing"] == "no-such-package==1.2"


@pytest.mark.process
def test_probe_heeds_which_python_a_requirement_is_for(tmp_path):
    file = tmp_path / "requirements.txt"
    file.write_text('no-such-a==1; python_version >= "3.7"  # all\n'
                    "no-such-b==1; python_version < '3.7'\n"
                    'no-such-c==1; python_version < "4.0"\n')
    assert probed("main", str(file))["missing"] == "no-such-a==1 no-such-c==1"


@pytest.mark.process
def test_probe_finds_every_requirement_by_its_module():
    from importlib import metadata

    for name in ("requirements.txt", "requirements-npu.txt", "requirements-test.txt"):
        for spec in probed("main", str(ROOT / name))["missing"].split():
            with pytest.raises(metadata.PackageNotFoundError):
                metadata.version(spec.split("==")[0])


@pytest.mark.process
def test_probe_constrains_to_the_installed_versions():
    import numpy

    assert f"numpy=={numpy.__version__}" in probe("--constraints").splitlines()
