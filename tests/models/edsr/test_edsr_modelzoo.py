"""The flags of ModelZoo's EDSR description."""

from pathlib import Path

import pytest
from PIL import Image

from common.cli import UserError
from common.flags import parse
from models.edsr import modelzoo, train

CONFIGS = Path(train.__file__).parent / "configs"


def read(*argv):
    return parse(train.EdsrOptions, modelzoo.translate(list(argv)), "train", CONFIGS,
                 [("train_steps", "epochs")])


def test_every_flag_of_the_description_arrives():
    options = read("--data_dir=edsr/cache/DIV2K", "--lr", "0.0002", "--num_blocks", "8",
                   "--num_filters=16", "--from_scrach=True", "--scale", "3", "--batch_size", "4",
                   "--save_step", "7", "--decay_step", "600", "--decay_rate", "0.8",
                   "--momentum", "0.9", "--chip", "cpu")
    assert options.data_dir == "edsr/cache/DIV2K"
    assert (options.learning_rate, options.num_blocks, options.num_filters) == (0.0002, 8, 16)
    assert (options.scale, options.batch_size, options.save_epochs) == (3, 4, 7)
    assert (options.lr_schedule, options.decay_step, options.decay_rate) == ("exponential", 600,
                                                                             0.8)
    assert (options.chip, options.resume) == ("cpu", "auto")


def test_resume_path_is_resume():
    assert read("--from_scrach", "False", "--resume_path", "run/checkpoints").resume == \
        "run/checkpoints"


@pytest.mark.parametrize("argv, words", [
    (["--from_scrach", "True", "--resume_path", "x"], "exclude each other"),
    (["--from_scrach", "False"], "--resume_path"),
    (["--from_scrach", "maybe"], "true or false"),
    (["--momentum", "0.5"], "0.9"),
    (["--preset", "seed"], "^--preset seed is now called --preset modelzoo$"),
])
def test_contradictions_are_named(argv, words):
    with pytest.raises(UserError, match=words):
        modelzoo.translate(argv)


def test_the_hundred_train_steps_of_the_description_are_epochs():
    options = read("--preset", "modelzoo")
    assert (options.epochs, options.train_steps) == (100, None)
    assert options.patches_per_image * 800 // options.batch_size == 800  # steps per DIV2K epoch


def test_train_steps_on_the_command_line_win_over_the_epochs_of_a_preset():
    options = read("--preset", "modelzoo", "--train_steps", "100")
    assert (options.epochs, options.train_steps) == (None, 100)


def test_the_descriptions_command_runs_as_written(run, call, tmp_path, photo):
    """One folder, told apart by train and valid in the names; the program is the file itself."""
    folder = tmp_path / "edsr" / "cache" / "DIV2K"
    folder.mkdir(parents=True)
    for i in range(5):
        image = Image.fromarray(photo()[30 * i:30 * i + 80, 50 * i:50 * i + 90])
        image.save(str(folder / f"DIV2K_{'train' if i < 4 else 'valid'}_{i:04d}.png"))
    program = Path(train.__file__)
    flags = ["--data_dir=edsr/cache/DIV2K", "--lr", "0.0001", "--num_blocks", "1", "--num_filters",
             "8", "--scale", "2", "--batch_size", "4", "--save_step", "1", "--decay_step", "500",
             "--decay_rate", "0.9", "--momentum", "0.9", "--chip", "cpu", "--patch_size", "16"]
    first = run(program, *flags, "--from_scrach", "True", "--epochs", "2", "--output_dir", "first",
                cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "Step nr: [2/2] - Loss: " in first.stdout and "Lr: 0.0001000" in first.stdout
    assert "Epoch nr: [2/2] - Loss: " in first.stdout
    second = call("models.edsr.train", *flags, "--from_scrach", "False", "--resume_path",
                  "first/checkpoints", "--epochs", "3", "--output_dir", "second", cwd=tmp_path)
    assert second.returncode == 0 and "resuming after step 2" in second.stdout, second.stderr
