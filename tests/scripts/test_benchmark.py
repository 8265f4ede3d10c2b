"""scripts/benchmark: its arithmetic, its turns, and one tiny run through every engine here."""

import argparse
import importlib.util

import numpy as np
import pytest

import models
from common.cli import UserError
from scripts.benchmark import command, forms, inference, loop, training
from scripts.benchmark import engines as benchmark_engines
from scripts.benchmark import measuring as benchmark_measuring
from scripts.benchmark.networks import torch_network

TINY = {"num_blocks": 1, "num_filters": 4, "res_scale": 1.0}
TINY_BSRN = {"num_features": 6, "num_states": 4, "num_recursions": 3}
TINY_RRDBNET = {"num_blocks": 2, "num_filters": 4, "num_growth": 3}
MEASUREMENTS = {"inference_16": inference.inference, "train_step": training.train_step,
                "train_step_bsrn": training.train_step}


@pytest.fixture
def tiny(monkeypatch):
    """Small networks and no pauses; the precision policy of the session is put back."""
    from common.nn.keras_compat import policy_name, set_policy

    before = policy_name()
    monkeypatch.setattr(inference, "BASELINE", TINY)
    monkeypatch.setitem(training.TRAIN_STEPS, "train_step", ("edsr", TINY, 2, 8))
    monkeypatch.setitem(training.TRAIN_STEPS, "train_step_bsrn", ("bsrn", TINY_BSRN, 2, 8))
    monkeypatch.setattr(benchmark_measuring, "SETTLE_SECONDS", 0)
    yield argparse.Namespace(runs=2, threads=1, data_dir=None)
    set_policy(before)


def test_engines_take_turns(monkeypatch):
    monkeypatch.setattr(benchmark_measuring, "SETTLE_SECONDS", 0)
    calls = []
    seconds = benchmark_measuring.take_turns(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, runs=3)
    assert calls == list("aabb" + "ab" * 3)  # two each to warm up
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3}


def test_rows_hold_medians_and_ratios():
    rows = benchmark_measuring.timed_rows(
        "n", "float32", {"sr-zoo": [9.0, 1.0, 2.0], "torch": [4.0] * 3},
        {"openvino": "openvino not installed"})
    assert rows[0] == {"name": "n", "engine": "sr-zoo", "precision": "float32", "seconds": 2.0,
                       "min_seconds": 1.0, "max_seconds": 9.0, "runs": 3, "ratio_to_torch": 0.5}
    assert rows[1]["ratio_to_torch"] == 1.0
    assert (rows[2]["seconds"], rows[2]["note"]) == (None, "openvino not installed")
    assert benchmark_measuring.as_line(rows[2]).endswith("openvino not installed")
    assert "0.500 of torch" in benchmark_measuring.as_line(rows[0])


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_a_peer_that_is_not_installed_is_named(tiny, monkeypatch, name):
    find_spec = importlib.util.find_spec
    peers = ("torch", "onnx", "onnxruntime", "openvino")
    monkeypatch.setattr(importlib.util, "find_spec",
                        lambda module, *rest: None if module in peers else find_spec(module, *rest))
    for module in (inference, training):
        monkeypatch.setattr(module, "PRECISIONS", ("float32",))
    rows = MEASUREMENTS[name](name, tiny)
    notes = {(row["engine"], row["precision"]): row.get("note", "") for row in rows}
    assert "torch not installed" in notes["torch", "float32"]
    assert notes["sr-zoo", "float32"] == ""


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_every_engine_here_agrees_and_has_a_row(tiny, capsys, name):
    from common.nn.keras_compat import IS_KERAS_3

    rows = MEASUREMENTS[name](name, tiny)
    timed = {(row["engine"], row["precision"]) for row in rows if row["seconds"]}
    assert ("sr-zoo", "float32") in timed
    assert (("sr-zoo", "bfloat16") in timed) == IS_KERAS_3
    if importlib.util.find_spec("torch"):
        assert {("torch", "float32"), ("torch", "bfloat16")} <= timed
    assert capsys.readouterr().out.count("check: ") == len(timed)


@pytest.mark.parametrize("name, rules", [
    ("srdrm", {"-fold_affine", "-before_repeats", "-sum_of_parts"}), ("edsr", {"-fold_affine"})])
def test_a_form_is_timed_beside_its_model_and_without_each_rule(tiny, monkeypatch, name, rules):
    network = {**models.model(name).small, "num_filters": 32}
    monkeypatch.setitem(forms.NETWORKS, name, (2, network, 8))
    rows = forms.form(f"form_{name}", tiny)
    engines = [row["engine"] for row in rows if row["precision"] == "float32"]
    assert engines[:2] == ["keras", "form"] and rules <= set(engines)
    assert all(row["ratio_to_keras"] > 0 for row in rows if row["seconds"])
    assert [row["engine"] for row in rows if row["precision"] == "bfloat16"
            and row["seconds"]] in (["keras", "form"], [])


@pytest.mark.parametrize("model, scale, options", [
    ("edsr", 3, TINY), ("bsrn", 2, TINY_BSRN), ("bsrn", 3, TINY_BSRN),
    ("esrgan", 4, TINY_RRDBNET)])
def test_the_network_in_pytorch_answers_as_the_zoo_does(torch, tiny, model, scale, options):
    from common.nn.keras_compat import set_policy, set_seed
    from models.bsrn.network import intermediate_outputs

    set_policy("float32")
    set_seed(0)
    network = models.create(model, scale, **options)
    draw = np.random.default_rng(0)
    network.set_weights([draw.normal(0, 0.1, w.shape) for w in network.get_weights()])
    image = draw.uniform(0, 255, (1, 7, 9, 3)).astype(np.float32)
    copy = torch_network(network)
    with torch.no_grad():
        x = torch.from_numpy(image).permute(0, 3, 1, 2)
        answer, images = copy(x), copy.images(x)
    np.testing.assert_allclose(answer.permute(0, 2, 3, 1), network(image), rtol=1e-4, atol=1e-2)
    parts = intermediate_outputs(network, scale)(image) if model == "bsrn" else [network(image)]
    assert len(images) == len(parts)
    for part, truth in zip(images, parts):
        np.testing.assert_allclose(part.permute(0, 2, 3, 1), truth, rtol=1e-4, atol=1e-2)


def test_pytorch_clips_each_gradient_where_the_zoo_does(torch, tiny, monkeypatch):
    seen = []
    clip = torch.nn.utils.clip_grad_norm_

    def spy(parameter, bound):
        clip(parameter, bound)
        seen.append((bound, float(parameter.grad.norm())))

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", spy)
    monkeypatch.setattr(training, "PRECISIONS", ("float32",))
    training.train_step("train_step", tiny)
    assert not seen
    training.train_step("train_step_bsrn", tiny)
    assert {bound for bound, _ in seen} == {5.0}
    assert max(norm for _, norm in seen) == pytest.approx(5, rel=1e-2)


def test_an_engine_that_disagrees_is_refused(capsys):
    truth = np.zeros((4, 4, 3), np.float32)
    with pytest.raises(UserError, match="nothing was timed"):
        benchmark_measuring.check_images("x", truth + 0.1, truth, "float32")
    with pytest.raises(UserError, match="nothing was timed"):
        benchmark_measuring.check_images("x", truth + 5, truth, "bfloat16")
    with pytest.raises(UserError, match="losses differ"):
        benchmark_measuring.check_losses("x", {"a": lambda: 1.0, "b": lambda: 1.001}, "float32")
    with pytest.raises(UserError, match="losses differ"):
        benchmark_measuring.check_losses(
            "x", {"a": lambda: (1.0, 2.0), "b": lambda: (1.0, 2.1)}, "bfloat16")


def test_onnx_runtime_is_not_asked_for_bfloat16(monkeypatch):
    monkeypatch.setattr(benchmark_engines, "require", lambda *modules: None)
    with pytest.raises(benchmark_engines.Unavailable, match="bfloat16"):
        benchmark_engines.onnxruntime_inference(None, np.zeros((4, 4, 3)), "bfloat16", 1)


def test_the_loop_and_the_bare_step_are_timed_side_by_side(monkeypatch):
    class Step:
        model = "the network"
        calls = 0

        def __call__(self, batch, rates):
            Step.calls += 1
            clock[0] += 2.0

        def turns(self, window, most):
            return lambda batches, scale, count: self(batches, None)

    clock = [100.0]
    monkeypatch.setattr(loop.time, "perf_counter", lambda: clock[0])
    step = loop.WithBareSteps(Step(), 2, argparse.Namespace(
        patch_size=4, batch_size=1, learning_rate=0.1))
    take = step.turns("window", 1)
    for _ in range(5):
        clock[0] += 0.5  # what the loop does besides
        take("batches", 2, 1)
    assert step.model == "the network"
    assert Step.calls == 2 + 5 + 4
    # the clock of the loop: 4 turns of 2.5 s and 4 bare steps of 2 s
    shares = step.share_out({"seconds_per_step": 18 / 4, "data_wait": 1 / 18}, 4)
    assert shares == {"seconds": 2.5, "bare_seconds": 2.0, "overhead_percent": 25.0,
                      "data_wait_percent": pytest.approx(10.0)}


@pytest.mark.parametrize("flags, error", [
    (["--only", "speed"], "no such measurement; choose from inference_128"),
    (["--runs", "0"], "--runs must be 1 or more, got 0"),
    (["--rnus", "3"], "did you mean --runs"),
])
def test_wrong_flags_are_named(flags, error):
    with pytest.raises(UserError, match=error):
        command.main(flags)
