"""Exports against Keras, and what the command says."""

import importlib.util

import numpy as np
import pytest

import models
from common import weights
from common.cli import UserError
from common.nn.keras_compat import set_seed
from scripts import export as module
from scripts.export import FORMATS, check, export

# That every model gives what Keras gives at any size: see test_matrix.
SUFFIX = {"saved_model": "", "onnx": ".onnx", "frozen_pb": ".pb"}


def build(name, scale):
    set_seed(0)
    return models.create(name, scale, **models.model(name).small)


@pytest.fixture(scope="module")
def edsr():
    return build("edsr", 2)


def test_the_onnx_file_has_names_free_sizes_and_no_needless_transpositions(tmp_path):
    import onnx

    export(build("bsrn", 2), "onnx", tmp_path / "m.onnx")
    graph = onnx.load(str(tmp_path / "m.onnx")).graph
    sizes = [[d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
             for value in (*graph.input, *graph.output)]
    assert [value.name for value in (*graph.input, *graph.output)] == ["lr", "sr"]
    assert sizes == [["batch", "height", "width", 3], ["batch", "sr_height", "sr_width", 3]]
    # To channels first and back, and one more to start the state.
    assert sum(node.op_type == "Transpose" for node in graph.node) <= 3


def test_a_saved_model_opens_without_the_zoo(edsr, photo, tmp_path, run):
    export(edsr, "saved_model", tmp_path / "edsr")
    np.save(str(tmp_path / "lr.npy"), photo(20, 30)[None].astype("float32"))
    code = ("import numpy as np, tensorflow as tf\n"
            "module = tf.saved_model.load('edsr')\n"
            "lr = tf.constant(np.load('lr.npy'))\n"
            "sr = module.signatures['serving_default'](lr=lr)['sr']\n"
            "np.save('sr.npy', sr.numpy())")
    done = run("-c", code, cwd=tmp_path, env={"PYTHONPATH": ""})
    assert done.returncode == 0, done.stderr
    expected = edsr(np.load(str(tmp_path / "lr.npy"))).numpy()
    np.testing.assert_allclose(np.load(str(tmp_path / "sr.npy")), expected, atol=1e-3)


@pytest.mark.parametrize("format, wrong", zip(FORMATS, (
    lambda sr: sr + 0.06, lambda sr: sr * np.nan, lambda sr: sr[:, :-1])))
def test_an_export_that_differs_leaves_the_older_one(edsr, format, wrong, tmp_path, monkeypatch):
    path = tmp_path / f"edsr{SUFFIX[format]}"
    assert export(edsr, format, path) < 0.001
    other = models.create("edsr", 2, num_blocks=1, num_filters=4)
    entry = FORMATS[format]
    monkeypatch.setitem(FORMATS, format, entry._replace(
        open=lambda path: lambda lr: wrong(entry.open(path)(lr))))
    with pytest.raises(UserError, match="differs from Keras by .* was not written"):
        export(other, format, path)
    monkeypatch.undo()
    assert check(edsr, format, path) < 0.001
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("format, path, message", [
    ("saved_modle", "m", "unknown format 'saved_modle' .did you mean 'saved_model'"),
    ("onnx", "m.pb", "m.pb: the suffix must be .onnx"),
    ("onnx", "folder.onnx", "is a folder; name a file"),
    ("saved_model", "folder.onnx", "exists and is not a saved_model"),
    ("saved_model", "file", "exists and is not a saved_model"),
])
def test_targets_that_cannot_be_are_refused(edsr, format, path, message, tmp_path):
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=message):
        export(edsr, format, tmp_path / path)
    assert (tmp_path / "file").read_text() == "mine"


def test_missing_packages_and_joint_models_are_told(edsr, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="several scales"):
        export(build("vdsr", (2, 3)), "onnx", tmp_path / "m.onnx")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install tf2onnx onnx onnxruntime"):
        export(edsr, "onnx", tmp_path / "m.onnx")


def test_the_command(tmp_path, call, open_export):
    weights.save(build("vdsr", (2, 3)), tmp_path / "vdsr_x23.h5")
    done = call(module.main, "--weights", "vdsr_x23.h5", "--format", "onnx", "--output",
                "new/m.onnx", "--scale", 3, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    start = "new/m.onnx: vdsr x3 as onnx; largest difference from Keras on a photograph: 0.00"
    assert done.stdout.startswith(start) and done.stdout.endswith(" of 255\n")
    assert open_export("onnx", tmp_path / "new/m.onnx")(np.ones((1, 4, 5, 3), "float32")).shape == (
        1, 12, 15, 3)

    with pytest.raises(UserError, match="holds vdsr x2 x3; choose one with --scale"):
        module.main(["--weights", str(tmp_path / "vdsr_x23.h5"), "--format", "onnx", "--output",
                     str(tmp_path / "n.onnx")])
