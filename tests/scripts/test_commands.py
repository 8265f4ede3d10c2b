"""Every command as `python -m` runs it: its help and a mistake, both without TensorFlow."""

import json
import re

import pytest

from .conftest import ROOT

COMMANDS = sorted(".".join(path.relative_to(ROOT).with_suffix("").parts).replace(".__main__", "")
                  for path in ROOT.glob("scripts/**/*.py")
                  if re.search(r"^\s*run_command\(main\)$", path.read_text(), re.MULTILINE)
                  # What only thin files call: see test_start.py and test_described.py.
                  and path.name not in ("start.py", "described.py"))

# All in one process: what none of them loads, no one does.
CODE = """
import contextlib, io, json, runpy, sys
commands, told = sys.argv[1:], {}
for command in commands:
    for flag in ("--help", "--no_such_option"):
        sys.modules.pop(command, None)  # where another command has imported it
        sys.argv = [command, flag]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                runpy.run_module(command, run_name="__main__", alter_sys=True)
            except SystemExit as end:
                told[command + " " + flag] = [end.code, out.getvalue(), err.getvalue()]
    heavy = {"tensorflow", "keras", "torch", "scipy", "onnx", "pyiqa", "moxing"} & set(sys.modules)
    assert not heavy, (command, heavy)
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(run, tmp_path_factory):
    """{command and flag: [status, stdout, stderr]}."""
    done = run("-c", CODE, *COMMANDS, cwd=tmp_path_factory.mktemp("cwd"))
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_the_commands_are_found():
    assert {"scripts.benchmark", "scripts.evaluate", "scripts.export", "scripts.npu_check",
            "scripts.upscale"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_and_a_mistake(command, told):
    status, out, err = told[f"{command} --help"]
    assert status in (0, None) and err == "" and len(out) > 200
    status, out, err = told[f"{command} --no_such_option"]
    assert (status, out) == (2, "")
    assert re.search("^(.*: )?error: ", err.splitlines()[-1]) and "Traceback" not in err
