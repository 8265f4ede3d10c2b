"""scripts/benchmark/gan.py: one tiny GAN step through both engines, and its parts."""

import argparse
import contextlib
import importlib.util
import io

import numpy as np
import pytest

from common.cli import UserError
from scripts.benchmark import gan as benchmark_gan
from scripts.benchmark import measuring as benchmark_measuring
from scripts.benchmark.networks import torch_chain
from scripts.benchmark.training import random_batch

TINY = {"scale": 4, "num_blocks": 1, "num_filters": 4, "num_growth": 3, "patch_size": 8,
        "batch_size": 4, "vgg_layers": ("conv2_2",)}
PARTS = {"generator", "discriminator", "adversarial", "perceptual"}


@pytest.fixture(scope="module")
def tiny():
    """A small step and no pauses; the precision policy of the session is put back."""
    from common.nn.keras_compat import policy_name, set_policy

    before = policy_name()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark_gan, "SETTING", TINY)
        patch.setattr(benchmark_measuring, "SETTLE_SECONDS", 0)
        # Normalised over four patches of one pixel, bfloat16 is coarse.
        patch.setitem(benchmark_measuring.MAX_LOSS_DIFFERENCE, "bfloat16", 0.1)
        yield argparse.Namespace(runs=2, threads=1, data_dir=None)
    set_policy(before)


@pytest.fixture(autouse=True)
def float32():
    """What a test builds is float32, whatever the one before has set."""
    from common.nn.keras_compat import set_policy

    set_policy("float32")


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory):
    """(options, the float32 step, its weights, a batch) of the tiny setting."""
    from common.nn.keras_compat import set_policy

    set_policy("float32")
    options = benchmark_gan._options(tmp_path_factory.mktemp("step"))
    step = benchmark_gan._step(options)
    batch = random_batch(options.batch_size, options.patch_size, options.scale)
    return options, step, benchmark_gan._weights(step), batch


@pytest.fixture(scope="module")
def measured(tiny):
    """(rows, what was printed, [(parts, step)] of each precision) of the measurement."""
    from common.nn.keras_compat import set_policy

    set_policy("float32")
    make_parts, build_step, kept, built, said = (benchmark_gan.zoo_parts, benchmark_gan._step, [],
                                                 [], io.StringIO())

    def step(*arguments):
        built.append(build_step(*arguments))
        return built[-1]

    def zoo_parts(*arguments):
        kept.append((make_parts(*arguments), built[-1]))
        return kept[-1][0]

    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.setattr(benchmark_gan, "_step", step)
        patch.setattr(benchmark_gan, "zoo_parts", zoo_parts)
        rows = benchmark_gan.gan_step("gan_step", tiny)
    return rows, said.getvalue(), kept


def test_the_step_its_parts_and_pytorch_have_rows(measured):
    from common.nn.keras_compat import IS_KERAS_3

    rows, printed, _ = measured
    timed = {(row["engine"], row["precision"]): row for row in rows if row["seconds"]}
    precisions = ("float32", "bfloat16") if IS_KERAS_3 else ("float32",)
    for precision in precisions:
        step, parts = timed["sr-zoo", precision], timed["parts", precision]
        assert step["ratio_to_parts"] == step["seconds"] / parts["seconds"]
        assert set(parts["parts"]) == PARTS
        # two turns: their median is their mean
        assert sum(parts["parts"].values()) == pytest.approx(parts["seconds"])
        assert "random" in step["vgg_weights"]
        assert "= generator 0." in benchmark_measuring.as_line(parts)
    assert ("sr-zoo", "bfloat16") in timed or not IS_KERAS_3
    assert "VGG19 has random values" in printed
    if importlib.util.find_spec("torch"):
        assert {("torch", "float32"), ("torch", "bfloat16")} <= set(timed)
        assert "ratio_to_torch" in timed["sr-zoo", "float32"]
        assert printed.count("check: ") == 2 + len(precisions)


def test_pytorch_that_is_not_installed_is_named(tiny, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec",
                        lambda module, *rest: None if module == "torch"
                        else find_spec(module, *rest))
    monkeypatch.setattr(benchmark_gan, "PRECISIONS", ("float32",))
    monkeypatch.setattr(benchmark_gan, "_zoo_step", lambda *_: lambda: (1.0, 1.0))
    monkeypatch.setattr(benchmark_gan, "zoo_parts", lambda *_: {"a part": lambda: None})
    rows = {row["engine"]: row for row in benchmark_gan.gan_step("gan_step", tiny)}
    assert rows["torch"]["note"] == "torch not installed"
    assert rows["sr-zoo"]["ratio_to_parts"] > 0


def test_a_step_in_pytorch_that_weighs_a_loss_otherwise_is_refused(torch, tiny, made, monkeypatch):
    """PyTorch's own step stands for the zoo's, with which it agrees (above)."""
    torch_gan_step = benchmark_gan.torch_gan_step
    options, step, _, batch = made
    features = benchmark_gan._features(options)

    def wrong(step, features, options, *rest):
        return torch_gan_step(step, features, argparse.Namespace(
            **{**vars(options), "adversarial_weight": 1.1 * options.adversarial_weight}), *rest)

    monkeypatch.setattr(benchmark_gan, "_zoo_step", lambda *_: torch_gan_step(
        step, features, options, batch, "float32", 1))
    monkeypatch.setattr(benchmark_gan, "zoo_parts", lambda *_: {})
    monkeypatch.setattr(benchmark_gan, "PRECISIONS", ("float32",))
    benchmark_gan.gan_step("gan_step", tiny)
    monkeypatch.setattr(benchmark_gan, "torch_gan_step", wrong)
    with pytest.raises(UserError, match="losses differ"):
        benchmark_gan.gan_step("gan_step", tiny)


def test_chains_in_pytorch_answer_as_those_of_keras(torch, made):
    options, step, _, (_, hr) = made
    draw, images = np.random.default_rng(0), hr.astype(np.float32)
    discriminator = step.discriminator
    discriminator.set_weights([draw.uniform(0.1, 0.3, w.shape) for w in
                               discriminator.get_weights()])
    for model in (discriminator, benchmark_gan._features(options).model):
        copy = torch_chain(model)
        for training in (False, True):
            with torch.no_grad():
                answer = copy.train(training)(torch.from_numpy(images).permute(0, 3, 1, 2))
            answer = answer.permute(0, 2, 3, 1) if answer.ndim == 4 else answer
            truth = model(images, training=training)
            assert np.std(truth) > 0
            np.testing.assert_allclose(answer, truth, rtol=1e-3, atol=1e-5)


def test_each_part_does_its_work(made, measured):
    from common.nn.keras_compat import tf
    from common.training.losses import l1, perceptual

    options, step, _, batch = made
    parts, built = measured[2][0]
    assert set(parts) == PARTS
    networks = built.trained, built.discriminator
    for part, learns in (("generator", 0), ("discriminator", 1)):
        before = [network.get_weights() for network in networks]
        assert parts[part]() is None
        for i, network in enumerate(networks):
            # The last bias moves all logits alike, of which a relativistic loss knows nothing.
            pairs = [(a, b) for a, b in zip(before[i], network.get_weights()) if a.ndim > 1]
            assert all(np.any(a != b) for a, b in pairs) == (i == learns)

    sr, hr = step.trained(batch[0].astype(np.float32)), tf.constant(batch[1], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(sr)
        loss = perceptual(benchmark_gan._features(options), l1, (1.0,))(sr, hr)
    truth = tape.gradient(loss, sr).numpy()
    assert np.linalg.norm(truth) > 0
    # Not to the last digit: the slope of L1 jumps where the difference is nothing.
    assert np.linalg.norm(parts["perceptual"]() - truth) < 0.05 * np.linalg.norm(truth)
    slope = parts["adversarial"]()
    assert slope.shape == hr.shape and np.all(np.any(slope.numpy() != 0, axis=(1, 2, 3)))
