from pathlib import Path

import pytest

import models
from common.cli import UserError
from common.modelzoo.job import job_command


def command(mode, *passed, name="edsr", data="D", folder="T"):
    return job_command(models.model(name), mode, data and Path(data), Path(folder), list(passed))


def test_a_training_writes_into_the_results():
    assert command("train", "--scale", "3") == [
        "models.edsr.train", "--data_dir", "D", "--output_dir", "T", "--scale", "3"]
    assert command("train", data=None) == ["models.edsr.train", "--output_dir", "T"]


@pytest.mark.parametrize("name, passed, quick", [
    ("edsr", [], []), ("srgan", [], ["--psnr_steps", "1"]), ("srgan", ["--epochs=2"], None),
    ("srgan", ["-e", "2"], None)])
def test_speed_is_measured_anew_in_few_steps_of_the_last_stage(name, passed, quick):
    words = command("perf", *passed, name=name)
    assert words[3:7] == ["--output_dir", "T/perf", "--resume", "no"]
    assert ("--train_steps" in words) == (quick is not None)
    if quick is not None:
        assert words[-len(quick) - 2:] == ["--log_every", "20", *quick]


def test_the_results_weights_are_evaluated_and_exported(tmp_path):
    (tmp_path / "edsr_x2.h5").touch()
    (tmp_path / "edsr_x2_last.h5").touch()
    weights = ["--model", "edsr", "--weights", str(tmp_path / "edsr_x2.h5")]
    assert command("evaluate", "--channel=y", folder=tmp_path) == [
        "scripts.evaluate", *weights, "--data_dir", "D", "--json", str(tmp_path / "evaluate.json"),
        "--save_images", str(tmp_path / "images"), "--channel=y"]
    for kind, name in (("saved_model", "edsr_x2_saved_model"), ("onnx", "edsr_x2.onnx")):
        assert command("export", f"--format={kind}", data=None, folder=tmp_path) == [
            "scripts.export", *weights, "--format", kind, "--output", str(tmp_path / name),
            f"--format={kind}"]


def test_of_several_scales_one_is_chosen(tmp_path):
    for scale in (2, 3):
        (tmp_path / f"edsr_x{scale}.h5").touch()
    with pytest.raises(UserError, match="holds edsr_x2.h5, edsr_x3.h5; choose one with --scale"):
        command("evaluate", folder=tmp_path)
    assert str(tmp_path / "edsr_x3.h5") in command("evaluate", "--scale=3", folder=tmp_path)
    assert command("evaluate", "--weights", "w.h5", folder=tmp_path)[4] == "w.h5"
