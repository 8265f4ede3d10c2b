"""The flags of ModelZoo's SRGAN description."""

import json
import re

import pytest
from PIL import Image

import models
from common.cli import UserError
from common.modelzoo.flags import boolean, pairs, words
from models.srgan import modelzoo

COMMAND = ["--input_dir=photos", "--output_dir=out", "--batch_size=16", "--epochs=500",
           "--number_of_images=8000", "--train_test_ratio=0.8", "--model_save_dir=./model/"]


def flags(*argv):
    return dict(pairs(modelzoo.translate(list(argv))))


def test_the_descriptions_command():
    assert flags(*COMMAND) == {
        "--preset": "coco", "--dataset": "coco", "--data_dir": "photos", "--output_dir": "out",
        "--batch_size": "16", "--epochs": "500", "--number_of_images": "8000",
        "--train_test_ratio": "0.8", "--model_save_dir": "./model/"}


@pytest.mark.parametrize("spelling", [
    "-i photos -o out -b 16 -e 500 -n 8000 -r 0.8 -m ./model/",
    "-i=photos -o=out -b=16 -e=500 -n=8000 -r=0.8 -m=./model/",
    "-iphotos -oout -b16 -e500 -n8000 -r0.8 -m./model/",
])
def test_short_flags_are_the_long_ones(spelling):
    assert flags(*spelling.split()) == flags(*COMMAND)


def test_a_named_recipe_or_data_set_stays():
    assert "--preset" not in flags("--input_dir", "d", "-c", "mine.yaml")
    assert flags("--input_dir", "d", "--preset", "paper")["--preset"] == "paper"
    assert flags("--model_save_dir", "m", "--dataset", "demo") == {
        "--preset": "coco", "--dataset": "demo", "--model_save_dir": "m"}
    assert flags("--input_dir", "d", "--dataset", "folder")["--dataset"] == "folder"


def test_the_zoos_own_command_passes_through():
    argv = ["--data_dir", "d", "--stage=psnr", "--evaluate_only", "--chip", "cpu", "--resume", "no"]
    assert flags(*argv) == dict(pairs(argv))


def test_input_dir_and_data_dir_exclude_each_other():
    with pytest.raises(UserError, match="--input_dir and --data_dir"):
        flags("--input_dir", "a", "--data_dir", "b")


def test_flags_and_words_are_one_another():
    argv = ["--a", "-1", "--b", "-c", "x", "--d", "p=1", "q=2", "--e"]
    found = pairs(argv, {"-c": "--config"}, ("--d",))
    assert found == [("--a", "-1"), ("--b", None), ("--config", "x"), ("--d", "p=1"),
                     ("--d", "q=2"), ("--e", None)]
    assert pairs(words(found)) == found
    assert pairs(["word", "--empty="]) == [(None, "word"), ("--empty", "")]
    assert boolean("--x", "False") is False and boolean("--x", None) is True


def test_the_descriptions_command_runs_as_written(call, tmp_path, photo, vgg_file):
    """On a few photographs and with small numbers; VGG19's file lies where the description says."""
    (tmp_path / "photos").mkdir()
    for i in range(10):
        image = Image.fromarray(photo()[10 * i:10 * i + 120, 20 * i:20 * i + 160])
        image.save(str(tmp_path / "photos" / f"{i:012}.jpg"))
    (tmp_path / "h5").mkdir()
    (tmp_path / "h5" / vgg_file.name).symlink_to(vgg_file)
    done = call("models.srgan.train", *COMMAND, "--batch_size=4", "--epochs=2", "--resize", "96",
                "--patch_size", "24", "--num_filters", "8", "--num_blocks", "2", "--chip", "cpu",
                cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "8 training and 2 validation images (coco), steps 1 to 4" in done.stdout
    number = r"[-+.\de]+"
    for epoch in (1, 2):
        assert re.search(rf"^-{{15}} Epoch {epoch} -{{15}}\n"
                         rf"discriminator_loss : {number}\n"
                         rf"gan_loss : \[{number}, {number}, {number}\]$", done.stdout,
                         re.MULTILINE), done.stdout
    assert "2/2 [" in done.stderr  # a bar for each epoch
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"gen_model2.h5",
                                                                      "dis_model2.h5"}
    model = models.load(tmp_path / "model" / "gen_model2.h5")
    assert json.loads(model.zoo_metadata)["options"]["variant"] == "keras"
