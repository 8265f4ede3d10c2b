"""Engines: they compute what Keras does at any size, and refuse what they cannot do."""

import importlib.util

import numpy as np
import pytest

import models
from common.cli import UserError
from common.inference import engines, exports
from common.nn.keras_compat import set_seed

WRITE = {"openvino": exports.write_openvino, "onnxruntime": exports.write_onnx,
         "litert": exports.write_litert}


@pytest.fixture(scope="module")
def edsr():
    set_seed(0)
    return models.create("edsr", 2, **models.model("edsr").small)


@pytest.mark.parametrize("name", engines.ENGINES)
def test_every_engine_gives_what_keras_gives_at_any_size(edsr, photo, tmp_path, name):
    pytest.importorskip(engines.ENGINES[name].package)
    path = tmp_path / f"edsr{engines.ENGINES[name].suffix}"
    WRITE[name](edsr, path)
    run = engines.open_engine(name, path)
    for height, width in ((40, 30), (21, 64), (40, 30)):
        lr = photo(height, width)[None].astype("float32")
        np.testing.assert_allclose(run(lr), edsr(lr, training=False).numpy(), atol=1e-3)


def test_openvino_reads_nearest_enlargements_and_onnx(photo, tmp_path):
    pytest.importorskip("openvino")
    pytest.importorskip("tf2onnx")
    set_seed(0)
    esrgan = models.create("esrgan", 4, **models.model("esrgan").small)
    lr = photo(20, 30)[None].astype("float32")
    for write, name in ((exports.write_openvino, "m.xml"), (exports.write_onnx, "m.onnx")):
        write(esrgan, tmp_path / name)
        sr = engines.open_engine("openvino", tmp_path / name)(lr)
        np.testing.assert_allclose(sr, esrgan(lr, training=False).numpy(), atol=1e-3)


def test_what_is_not_installed_is_named_with_the_command(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="litert needs ai_edge_litert: pip install ai-edge-litert"):
        engines.open_engine("litert", tmp_path / "none.tflite")


def test_unknown_engines_and_precisions_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    with pytest.raises(UserError, match="did you mean 'openvino'"):
        engines.open_engine("openvin", tmp_path / "none.xml")
    with pytest.raises(UserError, match="onnxruntime computes in float32, not in mixed_bfloat16"):
        engines.open_engine("onnxruntime", tmp_path / "none.onnx", "mixed_bfloat16")


def test_openvino_is_imported_without_its_converter(run, tmp_path):
    pytest.importorskip("openvino")
    code = ("import sys; from common.inference.engines import import_openvino; import_openvino()\n"
            "print([m for m in sys.modules if 'telemetry' in m or 'ovc' in m or m == 'tensorflow'])"
            "\nfrom openvino.tools.ovc import convert_model")
    done = run("-c", code, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
