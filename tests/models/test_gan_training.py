"""The perceptual models trained in their two stages.

VGG19 has random values here: its code runs as with ImageNet's, and the pictures mean nothing.
"""

import functools
import importlib
import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from common.cli import UserError
from common.training import loop
from common.training.events import read_metrics
from common.training.turns import Turns
from common.weights import read_arrays, read_metadata

pytestmark = pytest.mark.usefixtures("no_curves")
ROOT = Path(__file__).resolve().parents[2]
# SRGAN with all that a checkpoint of a GAN can hold.
MORE = {
    "esrgan": ["--scale", "4", "--patch_size", "8", "--discriminator", "unet"],
    "srdrm": ["--patch_size", "16"],
    "srgan": ["--patch_size", "16", "--scale", "2", "--discriminator_learning_rate", "0.0005",
              "--ema_decay", "0.9", "--label_noise", "0.2"],
}
GAN = ["--preset", "demo", "--chip", "cpu", "--batch_size", "4", "--psnr_steps", "10",
       "--train_steps", "30", "--val_every", "10", "--val_images", "1", "--log_every", "5",
       "--save_every", "5"]


@pytest.fixture(scope="module")
def flags(vgg_file, tiny, small_flags):
    """The flags of a short training in both stages: `flags(name, output, *more)`."""
    def of(name, output, *more):
        return [*GAN, *small_flags(name), *MORE[name], "--data_dir", str(tiny),
                "--perceptual_weight", "0.1", "--vgg_layers", "[conv2_1,conv3_1]",
                "--vgg_layer_weights", "[0.5,1]", "--vgg_weights", str(vgg_file),
                "--output_dir", str(output), *more]
    return of


@pytest.fixture(scope="module")
def finish(call, flags):
    """Run such a training to its end: `finish(name, output, *more)`; its standard output."""
    def run_to_end(name, output, *more):
        done = call(f"models.{name}.train", *flags(name, output, *more), cwd=output.parent)
        assert done.returncode == 0, done.stderr
        return done.stdout
    return run_to_end


@pytest.fixture(scope="module")
def whole(finish, tmp_path_factory):
    """The folder of a run that was never stopped: `whole(name)`."""
    @functools.cache
    def of(name):
        folder = tmp_path_factory.mktemp("whole") / name
        finish(name, folder)
        return folder
    return of


@pytest.mark.parametrize("name", MORE)
def test_both_stages_train(name, whole):
    logged = [row for row in read_metrics(whole(name) / "metrics.jsonl") if "loss" in row]
    assert [row["step"] for row in logged] == list(range(5, 31, 5))
    wanted = {"loss", "pixel", "perceptual", "adversarial", "discriminator", "d_real", "d_fake"}
    for row in logged:
        assert wanted <= set(row) and np.isfinite([row[key] for key in wanted]).all()
    assert np.mean([row["d_real"] - row["d_fake"] for row in logged[3:]]) > 0
    first, second = (json.loads((whole(name) / part / "summary.json").read_text())
                     for part in ("psnr", "."))
    psnr = [summary["images"][0]["psnr"] for summary in (first, second)]
    assert np.isfinite(psnr).all() and psnr[1] > psnr[0] - 3
    assert read_metadata(second["weights"])["model"] == second["model"] == name
    # The last weights are the result, so that no best checkpoint is kept; both stages have a cache.
    assert not (whole(name) / "checkpoints" / "best").exists()
    assert not (whole(name) / "psnr" / "cache").exists()
    assert (whole(name) / "cache").is_dir()


# The other stack restores the same state bit for bit in test_gan.
@pytest.mark.stack("main")
def test_a_killed_run_ends_as_one_that_is_not(whole, flags, finish, fork, tmp_path):
    folder = tmp_path / "broken"
    broken = fork("-m", "models.srgan.train", *flags("srgan", folder), cwd=tmp_path)
    while broken.poll() is None:
        if any(row["step"] >= 15 for row in read_metrics(folder / "metrics.jsonl")):
            broken.kill()
        time.sleep(0.01)
    assert broken.returncode == -signal.SIGKILL
    text = finish("srgan", folder)
    assert "holds a finished run of 10 steps" in text and "resuming after step 1" in text
    ours, theirs = (read_arrays(path / "srgan_x2_last.h5") for path in (whole("srgan"), folder))
    assert ours and all((a == b).all() for layer in ours
                        for a, b in zip(ours[layer], theirs[layer]))


def test_the_second_stage_starts_from_weights_that_are_named(tmp_path, finish):
    short = ["--train_steps", "5"]
    finish("srgan", tmp_path / "first", *short, "--stage", "psnr")
    first, second = tmp_path / "first" / "srgan_x2.h5", tmp_path / "second"
    assert not any("d_fake" in row for row in read_metrics(first.parent / "metrics.jsonl"))
    text = finish("srgan", second, *short, "--stage", "gan", "--load", str(first))
    assert f"start from {first}" in text
    assert any("d_fake" in row for row in read_metrics(second / "metrics.jsonl"))
    text = finish("srgan", tmp_path / "first", *short, "--stage", "psnr", "--evaluate_only",
                  "--load", str(second / "srgan_x2.h5"))
    summary = json.loads((second / "summary.json").read_text())
    assert f"{summary['images'][0]['psnr']:.2f} dB" in text


@pytest.mark.parametrize("name, more, words", [
    ("srgan", ["--vgg_weights", "none.h5"], "no VGG19 weights at none.h5; correct --vgg_weights"),
    ("srgan", ["--vgg_weights", str(ROOT / "README.md")], "README.md"),
    ("esrgan", ["--discriminator", "vgg", "--patch_size", "10"], "multiple of 32"),
    ("esrgan", ["--lr_schedule", "cosine", "--periods", "[2,1]"], "add up to 3, not to the 30"),
])
def test_mistakes_in_the_second_stage_are_met_before_the_first(name, more, words, tmp_path, flags,
                                                               monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        importlib.import_module(f"models.{name}.train").main(flags(name, "run", *more))
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "psnr" / "config.yaml").exists()


def test_a_run_of_both_stages_may_move_and_keeps_its_first_stage(whole, tmp_path, flags,
                                                                 monkeypatch):
    train = importlib.import_module("models.srdrm.train").main
    monkeypatch.chdir(tmp_path)
    shutil.copytree(str(whole("srdrm")), "moved")
    first = (tmp_path / "moved" / "psnr" / "srdrm_x2.h5").read_bytes()
    last = (tmp_path / "moved" / "srdrm_x2_last.h5").read_bytes()
    for folder in ("moved", tmp_path / "moved"):  # finished, and known to be
        train(flags("srdrm", folder))
    assert (tmp_path / "moved" / "srdrm_x2_last.h5").read_bytes() == last
    more = ["--adversarial_weight", "0.01", "--train_steps", "4"]
    with pytest.raises(UserError) as caught:
        train(flags("srdrm", "moved", *more))
    advice = re.search(r"or (--stage gan --load moved/psnr/srdrm_x2.h5 --resume no) to start the "
                       r"second stage over", str(caught.value)).group(1)
    train(flags("srdrm", "moved", *more, *advice.split()))
    assert (tmp_path / "moved" / "psnr" / "srdrm_x2.h5").read_bytes() == first
    config = yaml.safe_load((tmp_path / "moved" / "config.yaml").read_text())
    assert config["adversarial_weight"] == 0.01


def test_a_signal_after_the_last_step_keeps_the_second_stage_from_beginning(tmp_path, flags,
                                                                            monkeypatch):
    measure = loop.measure

    def signalled(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return measure(*arguments)

    monkeypatch.setattr(loop, "measure", signalled)
    with pytest.raises(SystemExit) as caught:
        importlib.import_module("models.srdrm.train").main(flags(
            "srdrm", tmp_path / "run", "--psnr_steps", "4", "--val_every", "4",
            "--perceptual_weight", "0"))
    assert caught.value.code == 128 + signal.SIGTERM
    assert (tmp_path / "run" / "psnr" / "summary.json").is_file()
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(tmp_path, flags,
                                                                               call):
    # The rate grows a hundredfold every two steps.
    growing = ["--stage", "gan", "--lr_schedule", "exponential", "--decay_rate", "100",
               "--decay_step", "2", "--val_every", "1000"]
    done = call("models.srgan.train", *flags("srgan", "run", *growing), cwd=tmp_path)
    kept = int(re.search(r"^error: a loss is not finite by step \d+: .*; the checkpoint of step "
                         r"(\d+) is kept", done.stderr, re.MULTILINE).group(1))
    assert done.returncode == 2 and kept >= 5
    assert (tmp_path / "run" / "checkpoints" / f"step-{kept}.index").is_file()
    arrays = read_arrays(tmp_path / "run" / "srgan_x2_last.h5")
    assert all(np.isfinite(array).all() for layer in arrays.values() for array in layer)


def test_what_a_model_writes_beside_is_made_again(tmp_path, finish, flags):
    short = ["--stage", "gan", "--train_steps", "4", "--val_every", "4", "--perceptual_weight", "0",
             "--model_save_dir", str(tmp_path / "models")]
    finish("srgan", tmp_path / "run", *short)
    names = ["gen_model1.h5", "dis_model1.h5"]
    before = [read_arrays(tmp_path / "models" / name) for name in names]
    (tmp_path / "models" / names[0]).unlink()
    data = (tmp_path / "models" / names[1]).read_bytes()
    (tmp_path / "models" / names[1]).write_bytes(data[:-100])
    text = finish("srgan", tmp_path / "run", *short)
    assert "made again: " in text and all(name in text for name in names)
    for arrays, name in zip(before, names):
        again = read_arrays(tmp_path / "models" / name)
        assert again.keys() == arrays.keys() and all(
            (a == b).all() for layer in again for a, b in zip(again[layer], arrays[layer]))
    assert "made again" not in finish("srgan", tmp_path / "run", *short)


def test_a_rolled_back_gan_can_be_resumed(tmp_path, finish, flags, call, monkeypatch):
    take, taken = Turns.__call__, []

    def poisoned(self, *arguments):
        take(self, *arguments)
        taken.append(arguments)
        if len(taken) == 7:
            variable = self._step.discriminator.trainable_variables[0]
            variable.assign(variable * float("nan"))

    monkeypatch.setattr(Turns, "__call__", poisoned)
    short = ["--stage", "gan", "--train_steps", "12", "--val_every", "12", "--save_every", "4",
             "--perceptual_weight", "0", "--on_nan", "rollback"]
    text = finish("srgan", tmp_path / "whole", *short)
    assert "going on with the weights of step 4" in text
    save = loop.Loop._save

    def killed(self, done):
        save(self, done)
        if done == 8:
            raise KeyboardInterrupt

    del taken[:]
    with monkeypatch.context() as patch:
        patch.setattr(loop.Loop, "_save", killed)
        done = call("models.srgan.train", *flags("srgan", tmp_path / "run", *short), cwd=tmp_path)
        assert done.returncode == 130
    taken[:] = [()] * 8
    assert "resuming after step 8" in finish("srgan", tmp_path / "run", *short)
    assert len(taken) == 12
    ours, theirs = (read_arrays(tmp_path / name / "srgan_x2_last.h5") for name in ("run", "whole"))
    assert ours and all((a == b).all() and np.isfinite(a).all() for layer in ours
                        for a, b in zip(ours[layer], theirs[layer]))
