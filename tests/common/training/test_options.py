"""What is said once of an option: its group, whether it is free to change, its stage."""

from dataclasses import fields

import pytest

import models
from common.device.chip_options import OPTIONS
from common.flags import about, group_of
from common.training.options import TrainOptions, chip_options


@pytest.mark.parametrize("name", models.available())
def test_every_option_has_a_help_text_and_only_a_models_own_have_no_group(name):
    options_class = models.model(name).recipe.options_class
    general = {field.name for field in fields(TrainOptions)}
    for field in fields(options_class):
        assert about(options_class, field.name, "help"), field.name
        if field.name in general:
            assert group_of(options_class, field.name), field.name
        if field.name in models.model(name).small:
            assert group_of(options_class, field.name) is None, field.name


def test_an_option_that_a_class_changes_stays_what_it_was():
    srgan = models.model("srgan").recipe.options_class
    assert group_of(srgan, "val_every") == "validation" and about(srgan, "val_every", "free")
    assert about(srgan, "val_every", "help") == about(TrainOptions, "val_every", "help")
    assert not about(srgan, "scale", "free") and not about(srgan, "loss", "stage")


@pytest.mark.parametrize("name", ["srgan", "esrgan", "srdrm"])
def test_what_the_first_stage_has_no_use_for(name):
    options_class = models.model(name).recipe.options_class
    gan = {field.name for field in fields(options_class)
           if about(options_class, field.name, "stage") == "gan"}
    assert {"adversarial_weight", "vgg_weights", "discriminator_clip"} <= gan
    assert not {"loss", "ema_decay", "scale", "beta1"} & gan
    assert ("discriminator" in gan) == (name == "esrgan")


def test_help_shows_the_models_own_options_first(capsys):
    from models.esrgan.train import main

    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    titles = ["the model's own options:", "stages:", "GAN stage:", "data:", "run:",
              "optimisation:", "validation:", "Ascend NPU:"]
    places = [out.index(f"\n{title}\n") for title in titles]
    assert places == sorted(places)
    assert places[0] < out.index("--num_growth") < places[1]
    assert places[-1] < out.index("--npu_dump_path")


def test_chip_options_are_those_that_are_set():
    options = TrainOptions(aoe_mode="2", deterministic=True, op_compiler_cache_dir=None)
    assert chip_options(options) == {"aoe_mode": "2", "deterministic": True}
    assert chip_options(TrainOptions()) == {} and "aoe_mode" in OPTIONS
