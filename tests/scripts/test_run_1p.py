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


@pytest.mark.parametrize("arguments", [
    ("--preset", "paper"), ("--preset=paper",), ("--config", "a.yaml"), ("--config=a.yaml",),
    ("-c", "a.yaml", "--scale", "4"), ("--config-file", "a.yaml"),
])
def test_a_given_preset_or_config_replaces_the_demo(run, arguments):
    assert run(*arguments).stdout.splitlines()[4:] == ["models.edsr.train", *arguments]


def test_every_flag_is_passed_as_it_is(run):
    arguments = ["--output_dir", "out put/x", "--train_steps=3", "--data_dir", "*", ""]
    assert run(*arguments).stdout.splitlines()[5:] == ["--preset=demo", *arguments]


def test_what_the_caller_has_set_stays(checkout, run):
    result = run(PYTHONPATH="/mine", RANK_SIZE="8", ASCEND_DEVICE_ID="3")
    assert result.stdout.splitlines()[1:3] == [f"{checkout.root}:/mine", "8-0-10087-3"]


def test_of_several_gpus_the_first_or_the_callers(checkout, tmp_path):
    checkout.python('echo "GPU $CUDA_VISIBLE_DEVICES"')
    script = "models/edsr/scripts/run_1p.sh"
    assert checkout.run(script, tmp_path).stdout == "GPU 0\n"
    assert checkout.run(script, tmp_path, CUDA_VISIBLE_DEVICES="2,3").stdout == "GPU 2,3\n"


def test_the_status_is_the_trainings(run):
    assert run(STATUS="7").returncode == 7


def test_without_an_environment_nothing_is_started(run):
    result = run(BROKEN="1")
    assert (result.returncode, result.stdout, result.stderr) == (2, "", "error: no Python\n")


def test_the_boot_form_of_modelarts(run):
    result = run("/home/work/code", "my data", "/cache/result", "obs://bucket/out",
                 "--train_steps=3")
    lines = result.stdout.splitlines()
    assert result.returncode == 0, result.stderr
    assert "obs://bucket/out" in lines[0] and "boot code" in lines[0]
    assert lines[6:] == ["--preset=demo", "--data_dir=my data", "--output_dir=/cache/result",
                         "--train_steps=3"]


@pytest.mark.parametrize("arguments", [("code", "data", "result"), ("code",),
                                       ("code", "data", "--scale", "2", "x")])
def test_half_a_boot_form_is_refused(run, arguments):
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == ("error: without flags in front, run_1p.sh takes CODE_DIR DATA_DIR "
                             "RESULT_DIR OBS_URL\n")


def test_where_an_npu_is_it_is_used_unless_another_chip_is_named(checkout, run, npu):
    on_npu = run("code", "data", "result", "obs://x", **npu(1))
    assert on_npu.stdout.splitlines()[4:] == [
        "-m", "models.edsr.train", "--chip=npu", "--preset=demo", "--data_dir=data",
        "--output_dir=result"]
    assert checkout.asked() == ["--stack ascend --python"]
    assert run("--chip", "cpu", **npu(1)).stdout.splitlines()[5:] == [
        "--preset=demo", "--chip", "cpu"]
