"""Networks kept for engines: the answers of Keras, no TensorFlow, and what is made anew."""

import importlib.util
import json

import numpy as np
import pytest
from PIL import Image

import models
from common import weights
from common.cli import UserError
from common.device import machine
from common.inference import exports
from common.inference.engines import ENGINES
from common.nn.keras_compat import set_seed
from models import engine_exports
from scripts.upscale import main

# A process in which whatever would import TensorFlow or Keras fails.
WITHOUT = """
import sys
sys.modules.update(tensorflow=None, keras=None)
from common.cli import run_command
from scripts.upscale import main
run_command(main)
"""


@pytest.fixture(params=ENGINES)
def engine(request):
    """The name of an installed engine."""
    for package in (ENGINES[request.param].package,
                    *engine_exports._PACKAGES.get(request.param, ())):
        pytest.importorskip(package)
    return request.param


@pytest.fixture
def any_engine(tmp_path, monkeypatch):
    """The name of the first installed engine, with an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, needed in ENGINES.items():
        packages = (needed.package, *engine_exports._PACKAGES.get(name, ()))
        if all(importlib.util.find_spec(package) for package in packages):
            return name
    return pytest.skip("no engine is installed")


@pytest.fixture(scope="module")
def edsr(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "edsr.h5"
    set_seed(0)
    weights.save(models.create("edsr", 2, **models.model("edsr").small), path)
    return path


@pytest.fixture
def enlarge(tmp_path, photo, capsys):
    """`enlarge("--weights", path, ...)`: a small photograph's result and what was said."""
    Image.fromarray(photo(40, 30)).save(tmp_path / "a.png")

    def command(*arguments):
        assert main([*map(str, arguments), str(tmp_path / "a.png"), "-o",
                     str(tmp_path / "b.png")]) == 0
        return np.array(Image.open(tmp_path / "b.png")).astype(int), capsys.readouterr().out
    return command


def kept(tmp_path):
    return sorted((tmp_path / "cache/sr-zoo/engines").glob("*/facts.json"))


def test_an_engine_gives_the_answer_of_keras_and_then_imports_no_tensorflow(
        edsr, engine, enlarge, run, tmp_path):
    options = ("--weights", edsr, "--tile", 16, "--tile_overlap", 8, "--self_ensemble")
    expected, said = enlarge(*options, "--engine", "keras")
    assert said.endswith("s with keras\n")
    for _ in range(2):
        sr, said = enlarge(*options, "--engine", engine)
        assert np.abs(sr - expected).max() <= 1 and said.endswith(f"s with {engine}\n")
    done = run("-c", WITHOUT, *options, "--engine", engine, "a.png", "-o", "c.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "c.png")), sr)


def test_each_set_of_weights_and_options_has_its_own(any_engine, enlarge, tmp_path):
    names = ["bsrn.h5", "other.h5"]
    for name in names:
        weights.save(models.create("bsrn", 2, **models.model("bsrn").small), tmp_path / name)
    for number, options in enumerate(([], ["--recursions", 1], ["--interpolate", 0.5,
                                      "--to_weights", tmp_path / names[1]]), 1):
        options = ["--weights", tmp_path / names[0], *options]
        sr, _ = enlarge(*options, "--engine", any_engine)
        assert np.abs(sr - enlarge(*options)[0]).max() <= 1
        assert len(kept(tmp_path)) == number
    weights.save(models.create("bsrn", 2, **models.model("bsrn").small), tmp_path / names[1])
    enlarge(*options, "--engine", any_engine)
    assert len(kept(tmp_path)) == 4


def test_two_processes_make_one(edsr, any_engine, enlarge, fork, tmp_path):
    expected, _ = enlarge("--weights", edsr)
    processes = [fork("-m", "scripts.upscale", "--weights", edsr, "--engine", any_engine, "a.png",
                      "-o", f"{n}.png", cwd=tmp_path) for n in range(2)]
    for n, process in enumerate(processes):
        process.communicate()
        assert process.returncode == 0
        assert np.abs(np.array(Image.open(tmp_path / f"{n}.png")) - expected).max() <= 1
    folder = kept(tmp_path)[0].parent
    assert len(kept(tmp_path)) == 1
    assert {path.name for path in folder.parent.iterdir()} == {folder.name, f".{folder.name}.lock"}


@pytest.mark.parametrize("damage", [
    lambda folder: next(folder.glob("network.*")).write_bytes(b"half"),
    lambda folder: (folder / "facts.json").write_text("{"),
    lambda folder: [path.unlink() for path in folder.glob("network.*")]])
def test_what_is_damaged_is_made_anew(edsr, any_engine, enlarge, tmp_path, damage):
    sr, _ = enlarge("--weights", edsr, "--engine", any_engine)
    damage(kept(tmp_path)[0].parent)
    again, said = enlarge("--weights", edsr, "--engine", any_engine)
    np.testing.assert_array_equal(again, sr)
    assert any_engine in said and json.loads(kept(tmp_path)[0].read_text())["problem"] is None


def of_others(write):
    def write_others(model, path):
        set_seed(1)
        write(models.another(model), path)
    return write_others


def broken(write):
    def fail(model, path):
        raise RuntimeError("no such operation")
    return fail


@pytest.mark.parametrize("change, words", [(of_others, "differs from Keras by .* grey levels"),
                                           (broken, "cannot run edsr_x2: no such operation")])
def test_an_engine_that_does_not_agree_is_not_used(
        edsr, enlarge, tmp_path, monkeypatch, fastest_engine, change, words):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(engine_exports, "FASTEST", "onnxruntime")
    monkeypatch.setattr(exports, "write_onnx", change(exports.write_onnx))
    for _ in range(2):
        with pytest.raises(UserError, match=f"{words}.*; use --engine keras"):
            enlarge("--weights", edsr, "--engine", "onnxruntime")
        assert enlarge("--weights", edsr, "--chip", "cpu")[1].endswith("with keras\n")
        monkeypatch.setattr(exports, "write_onnx", None)  # it is remembered


def test_auto_takes_the_fastest_on_a_cpu_alone(monkeypatch, fastest_engine):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "openvino" or None)
    monkeypatch.setattr(machine, "gpu_driver", lambda: False)
    choose = engine_exports.choose_engine
    for chip, precision, expected in (
            ("auto", "auto", "openvino"), ("cpu", "mixed_bfloat16", "openvino"),
            ("auto", "mixed_float16", "keras"), ("gpu", "auto", "keras"), ("npu", "auto", "keras")):
        assert choose("auto", chip, precision) == expected
    monkeypatch.setattr(machine, "gpu_driver", lambda: True)
    assert choose("auto", "auto", "auto") == "keras" and choose("auto", "cpu", "auto") == "openvino"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert choose("auto", "cpu", "auto") == "keras"


@pytest.mark.parametrize("options, words", [
    (["--engine", "litert"], "litert needs ai_edge_litert: pip install ai-edge-litert"),
    (["--engine", "onnxruntime", "--chip", "gpu"], "onnxruntime runs on the CPU; leave out --chip"),
    (["--engine", "openvino", "--precision", "mixed_float16"], "not in mixed_float16; use that"),
    (["--engine", "openvino", "--frozen", "m.pb"], "--engine cannot change a frozen graph")])
def test_what_an_engine_cannot_do_is_one_line(edsr, enlarge, monkeypatch, options, words):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: (
        None if name == "ai_edge_litert" else True if name == "openvino" else find(name, *rest)))
    with pytest.raises(UserError, match=words):
        enlarge("--weights", edsr, *options)


def test_a_cache_that_cannot_be_written_leaves_keras(edsr, any_engine, enlarge, tmp_path,
                                                     monkeypatch, fastest_engine):
    monkeypatch.setattr(engine_exports, "FASTEST", any_engine)
    (tmp_path / "cache").write_text("a file")
    assert enlarge("--weights", edsr, "--chip", "cpu")[1].endswith("with keras\n")
    with pytest.raises(UserError, match="cannot create the folder"):
        enlarge("--weights", edsr, "--engine", any_engine)
