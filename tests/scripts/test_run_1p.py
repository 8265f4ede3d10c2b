"""models/edsr/scripts/run_1p.sh: what it hands to the training. A stand-in takes its place."""

import pytest

RECORDER = r"""
printf '%s\n' "$PWD" "$PYTHONPATH" "$RANK_SIZE-$RANK_ID-$JOB_ID-$ASCEND_DEVICE_ID" "$@"
exit "${STATUS:-0}"
"""


@pytest.fixture
def run(checkout, tmp_path):
    checkout.python(RECORDER)

    def run_1p(*arguments, **env):
        return checkout.run("models/edsr/scripts/run_1p.sh", tmp_path, *arguments, **env)
    return run_1p


def test_bare_it_trains_the_demo_in_the_callers_folder(checkout, tmp_path, run):
    result = run()
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        str(tmp_path), str(checkout.root), "1-0-10087-0", "-m", "models.edsr.train",
        "--preset=demo"]
    assert checkout.asked() == ["--stack main --python"]


def test_every_flag_is_passed_as_it_is(run):
    arguments = ["--output_dir", "out put/x", "--train_steps=3", "--data_dir", "*", ""]
    assert run(*arguments).stdout.splitlines()[5:] == ["--preset=demo", *arguments]


def test_the_status_is_the_trainings(run):
    assert run(STATUS="7").returncode == 7


def test_without_an_environment_nothing_is_started(run):
    result = run(BROKEN="1")
    assert (result.returncode, result.stdout, result.stderr) == (2, "", "error: no Python\n")
