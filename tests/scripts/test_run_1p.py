"""models/edsr/scripts/run_1p.sh: what it hands to the training. A stand-in takes its place."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

RECORDER = r"""#!/usr/bin/env bash
printf '%s\n' "$PWD" "$PYTHONPATH" "$RANK_SIZE-$RANK_ID-$JOB_ID-$ASCEND_DEVICE_ID" "$@"
exit "${STATUS:-0}"
"""


@pytest.fixture
def checkout(tmp_path):
    root = tmp_path / "a check out"
    for name in ("models/edsr/scripts/run_1p.sh", "scripts/train_1p.sh",
                 "scripts/run_module.sh"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(str(ROOT / name), str(root / name))
    (root / "scripts" / "setup.sh").write_text(
        '[ -z "${BROKEN:-}" ] || { echo "error: no Python" >&2; exit 2; }\n'
        f'[ "$*" = --python ] && echo "{root}/python"\n')
    (root / "python").write_text(RECORDER)
    (root / "python").chmod(0o755)
    return root


def run(checkout, cwd, *arguments, **env):
    return subprocess.run(
        ["bash", str(checkout / "models" / "edsr" / "scripts" / "run_1p.sh"), *arguments],
        cwd=str(cwd), env={"PATH": "/usr/local/bin:/usr/bin:/bin", **env}, capture_output=True,
        text=True)


def test_bare_it_trains_the_demo_in_the_callers_folder(checkout, tmp_path):
    result = run(checkout, tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        str(tmp_path), str(checkout), "1-0-10087-0", "-m", "models.edsr.train", "--preset", "demo"]


@pytest.mark.parametrize("arguments", [
    ("--preset", "paper"), ("--preset=paper",), ("--config", "a.yaml"), ("--config=a.yaml",),
    ("-c", "a.yaml", "--scale", "4"),
])
def test_a_given_preset_or_config_replaces_the_demo(checkout, tmp_path, arguments):
    assert run(checkout, tmp_path, *arguments).stdout.splitlines()[4:] == [
        "models.edsr.train", *arguments]


def test_every_flag_is_passed_as_it_is(checkout, tmp_path):
    arguments = ["--output_dir", "out put/x", "--train_steps=3", "--data_dir", "*", ""]
    assert run(checkout, tmp_path, *arguments).stdout.splitlines()[5:] == [
        "--preset", "demo", *arguments]


def test_what_the_caller_has_set_stays(checkout, tmp_path):
    result = run(checkout, tmp_path, PYTHONPATH="/mine", RANK_SIZE="8", ASCEND_DEVICE_ID="3")
    assert result.stdout.splitlines()[1:3] == [f"{checkout}:/mine", "8-0-10087-3"]


def test_the_status_is_the_trainings(checkout, tmp_path):
    assert run(checkout, tmp_path, STATUS="7").returncode == 7


def test_without_an_environment_nothing_is_started(checkout, tmp_path):
    result = run(checkout, tmp_path, BROKEN="1")
    assert (result.returncode, result.stdout, result.stderr) == (2, "", "error: no Python\n")
