"""Exports against Keras, and what the command says."""

import importlib.util
import json

import numpy as np
import pytest

import models
from common import weights
from common.cli import UserError
from common.inference import exports
from common.inference.footprint import footprint, needed_overlap
from common.nn.keras_compat import set_seed, tf
from scripts import export as module
from scripts.export import FORMATS, check, export

# That every model gives what Keras gives at any size: see test_matrix.
HAS_OPENVINO = importlib.util.find_spec("openvino") is not None
OPENVINO = pytest.param("openvino", marks=pytest.mark.skipif(not HAS_OPENVINO,
                                                             reason="openvino is not installed"))


def written(folder, format):
    """The path of an export, and all that it consists of."""
    path = folder / f"edsr{FORMATS[format].suffix or ''}"
    return path, {path, path.with_suffix(".bin")} if format == "openvino" else {path}


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


@pytest.mark.parametrize("format", [OPENVINO if name == "openvino" else name for name in FORMATS])
@pytest.mark.parametrize("wrong", [
    lambda sr: sr + 0.06, lambda sr: sr * np.nan, lambda sr: sr[:, :-1]])
def test_an_export_that_differs_leaves_the_older_one(edsr, format, wrong, tmp_path, monkeypatch):
    path, files = written(tmp_path, format)
    assert max(export(edsr, format, path).values()) < 0.001
    other = models.create("edsr", 2, num_blocks=1, num_filters=4)
    entry = FORMATS[format]
    name, (package, opened) = list(entry.runtimes.items())[-1]  # any of them is enough
    if importlib.util.find_spec(package) is None:
        name, (package, opened) = list(entry.runtimes.items())[0]
    runtimes = {**entry.runtimes, name: (package, lambda path: lambda lr: wrong(opened(path)(lr)))}
    monkeypatch.setitem(FORMATS, format, entry._replace(runtimes=runtimes))
    with pytest.raises(UserError, match=f"differs from Keras by .* under {name}.* was not written"):
        export(other, format, path)
    monkeypatch.undo()
    assert max(check(edsr, format, path).values()) < 0.001
    assert set(tmp_path.iterdir()) == files


def test_a_runtime_that_cannot_read_it_fails_the_command(edsr, tmp_path, monkeypatch, call):
    def cannot(path):
        raise RuntimeError("no such\noperation")

    weights.save(edsr, tmp_path / "edsr.h5")
    monkeypatch.setitem(FORMATS, "litert", FORMATS["litert"]._replace(
        runtimes={"tensorflow": ("tensorflow", cannot)}))
    done = call(module.main, "--weights", "edsr.h5", "--format", "litert", "--output", "m.tflite",
                cwd=tmp_path)
    assert done.returncode == 2
    assert "tensorflow cannot run the litert of edsr_x2: no such operation" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["edsr.h5"]


def test_a_process_killed_between_its_two_files_leaves_none_that_could_be_wrong(tmp_path,
                                                                               monkeypatch):
    def killed(temporary, path):
        raise KeyboardInterrupt

    path = tmp_path / "m.xml"
    for name in ("m.xml", "m.bin"):
        (tmp_path / name).write_text("older")
    monkeypatch.setattr(exports, "put_in_place", killed)
    with pytest.raises(KeyboardInterrupt), exports.atomic_pair(path) as temporary:
        temporary.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["m.bin"]


# ---- what a file says, and the size that it takes ------------------------------------------------

# Each reads an export as its users would: the notes, and the shape of the input.

def read_saved_model(path):
    module = tf.saved_model.load(str(path))
    notes = json.loads((path / "assets.extra" / "sr_zoo.json").read_text())
    return notes, module.signatures["serving_default"].inputs[0].shape.as_list()


def read_onnx(path):
    import onnx

    network = onnx.load(str(path))
    shape = network.graph.input[0].type.tensor_type.shape.dim
    return ({entry.key: entry.value for entry in network.metadata_props},
            [side.dim_param or side.dim_value for side in shape])


def read_openvino(path):
    import openvino

    network = openvino.Core().read_model(str(path))
    return ({name: network.get_rt_info(["sr_zoo", name]).astype(str)
             for name in network.get_rt_info(["sr_zoo"]).astype(dict)},
            list(network.inputs[0].get_shape()))


def read_litert(path):
    from tensorflow.lite.python import schema_py_generated as schema

    network = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(path.read_bytes(), 0))
    buffer = {entry.name: entry.buffer for entry in network.metadata}[b"sr_zoo"]
    shape = tf.lite.Interpreter(str(path)).get_input_details()[0]["shape"]
    return json.loads(bytes(network.buffers[buffer].data)), shape.tolist()


@pytest.mark.parametrize("format, read", [
    ("saved_model", read_saved_model), ("onnx", read_onnx), ("litert", read_litert),
    pytest.param("openvino", read_openvino, marks=OPENVINO.marks)])
def test_a_file_says_what_it_holds_and_takes_the_size_that_was_asked(edsr, format, read, photo,
                                                                     tmp_path, open_export):
    path, _ = written(tmp_path, format)
    export(edsr, format, path, tile=64, licence="CC0")
    notes, shape = read(path)
    assert shape == [1, 64, 64, 3]
    assert notes == {
        "model": "edsr", "scale": "2", "input": "lr: RGB, float32, NHWC, 0 to 255",
        "output": "sr: RGB, float32, NHWC, 0 to 255, not clipped", "licence": "CC0",
        "tile": "64", "overlap": str(needed_overlap(footprint(edsr)))}
    lr = photo(64, 64)[None].astype("float32")
    np.testing.assert_allclose(open_export(format, path)(lr), edsr(lr).numpy(), atol=1e-3)


@pytest.mark.parametrize("format", ["onnx", OPENVINO, "litert", "saved_model"])
def test_a_tile_that_is_too_small_is_refused(edsr, format, tmp_path):
    path, _ = written(tmp_path, format)
    with pytest.raises(UserError, match="--tile 8: edsr_x2 needs .* at least"):
        export(edsr, format, path, tile=8)
    assert not list(tmp_path.iterdir())


def test_a_saved_model_also_takes_levels(edsr, photo, tmp_path):
    export(edsr, "saved_model", tmp_path / "edsr")
    module = tf.saved_model.load(str(tmp_path / "edsr"))
    lr = photo(21, 30)[None]
    sr = module.signatures["uint8"](lr=tf.constant(lr))["sr"]
    assert sr.dtype == tf.uint8
    expected = np.clip(np.rint(edsr(lr.astype("float32")).numpy()), 0, 255)
    assert np.abs(sr.numpy() - expected).max() <= 1  # halfway between levels it may fall otherwise


@pytest.mark.skipif(not HAS_OPENVINO, reason="openvino is not installed")
def test_openvino_reads_the_onnx_of_a_network_that_repeats_its_edges(photo, tmp_path, open_export):
    """tf2onnx ends slices with a number that OpenVINO took for the image's side."""
    srcnn = build("srcnn", 3)
    assert set(export(srcnn, "onnx", tmp_path / "m.onnx")) == {"onnxruntime", "openvino"}
    lr = photo(31, 20)[None].astype("float32")
    sr = open_export("openvino", tmp_path / "m.onnx")(lr)
    np.testing.assert_allclose(sr, srcnn(lr).numpy(), atol=1e-2)


@pytest.mark.parametrize("format, path, message", [
    ("saved_modle", "m", "unknown format 'saved_modle' .did you mean 'saved_model'"),
    ("onnx", "m.pb", "m.pb: the suffix must be .onnx"),
    ("onnx", "folder.onnx", "is a folder; name a file"),
    ("saved_model", "folder.onnx", "exists and is not a saved_model"),
    ("saved_model", "file", "exists and is not a saved_model"),
    ("litert", "m.lite", "m.lite: the suffix must be .tflite"),
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
    first, second, *third = done.stdout.splitlines()
    assert first.startswith(start) and first.endswith(" of 255")
    assert second.startswith("run by onnxruntime: 0.00")
    assert ("openvino: 0.00" in second) == HAS_OPENVINO
    assert third == ([] if HAS_OPENVINO else ["not installed and not tried: openvino"])
    assert read_onnx(tmp_path / "new/m.onnx")[0]["licence"] == "not stated"
    assert open_export("onnx", tmp_path / "new/m.onnx")(np.ones((1, 4, 5, 3), "float32")).shape == (
        1, 12, 15, 3)

    with pytest.raises(UserError, match="holds vdsr x2 x3; choose one with --scale"):
        module.main(["--weights", str(tmp_path / "vdsr_x23.h5"), "--format", "onnx", "--output",
                     str(tmp_path / "n.onnx")])
