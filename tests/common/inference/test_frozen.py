"""Frozen graphs: written on this stack, run on this one, on the other and on TensorFlow 1.15."""

import inspect
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

import models
from common.cli import UserError
from common.device import session as device
from common.images.files import read_image, write_image
from common.inference import frozen
from common.inference.upscaler import Upscaler
from common.nn.keras_compat import set_seed, tf
from scripts.export import export
from scripts.export import main as export_main
from scripts.npu_check.graphs import check_graph
from scripts.npu_check.support import read_support
from scripts.upscale import main

ROOT = Path(__file__).resolve().parents[3]
TILE = 88
SCALES = {"bsrn": 3, "edsr": 2, "esrgan": 2, "srcnn": 3, "srdrm": 2, "srgan": 4, "vdsr": 2}


@pytest.fixture(scope="module")
def networks():
    """A small network of every model, without a weight that is zero; x2 of ESRGAN works on blocks.

    What is zero could be folded away with the operation that it goes into.
    """
    set_seed(0)
    made = {name: models.create(name, scale, **models.model(name).small)
            for name, scale in SCALES.items()}
    for model in made.values():
        rng = np.random.default_rng(0)
        model.set_weights([w + rng.uniform(0.001, 0.01, w.shape) for w in model.get_weights()])
    return made


@pytest.fixture(scope="module")
def graphs(networks, tmp_path_factory):
    """The file of each."""
    folder = tmp_path_factory.mktemp("graphs")
    for name, model in networks.items():
        differences = export(model, "frozen_pb", folder / f"{name}.pb", TILE)
        assert differences["tensorflow"] < 0.005
    return {name: folder / f"{name}.pb" for name in networks}


def window(model):
    """A window and what Keras makes of it."""
    lr = np.random.default_rng(1).uniform(0, 255, (1, TILE, TILE, 3)).astype("float32")
    return lr, model(lr, training=False).numpy()


def definition(path):
    graph = tf.compat.v1.GraphDef()
    graph.ParseFromString(path.read_bytes())
    return graph


def test_every_model_is_here():
    assert set(SCALES) == set(models.available())


@pytest.mark.parametrize("name", SCALES)
def test_a_graph_has_one_input_of_fixed_size_and_neither_variables_nor_functions(
        name, networks, graphs):
    graph = definition(graphs[name])
    ops = [node.op for node in graph.node]
    assert ops.count("Placeholder") == 1 and not graph.library.function
    assert not {"VarHandleOp", "ReadVariableOp", "VariableV2", "PartitionedCall", "Shape",
                "StatefulPartitionedCall", "NoOp"} & set(ops)
    # Only what depends on the input is left to compute, and what does not is a constant.
    late = {"lr"}
    for node in graph.node:
        assert node.op in ("Placeholder", "Const") or late & set(node.input), node.name
        if node.op != "Const":
            late.add(node.name)
        assert not node.device
        assert [key for key in node.attr if key.startswith("_")] == (
            ["_sr_zoo"] if node.name == "lr" else [])
        # Defaults are written out: atc fails where LeakyRelu has no alpha.
        assert {"Conv2D": "data_format", "LeakyRelu": "alpha"}.get(node.op, "T") in node.attr or (
            node.op in ("Const", "Placeholder"))
    lr, expected = window(networks[name])
    with tf.Graph().as_default() as tf_graph:
        tf.import_graph_def(graph, name="")
    assert tf_graph.get_tensor_by_name("lr:0").shape == lr.shape
    assert tf_graph.get_tensor_by_name("sr:0").shape == expected.shape
    assert check_graph(tf_graph, read_support(environment={})) == []
    with tf.compat.v1.Session(graph=tf_graph) as session:
        np.testing.assert_allclose(session.run("sr:0", {"lr:0": lr}), expected, atol=0.005)


def test_tensorflow_1_15_runs_every_graph(networks, graphs, tf1_python, tmp_path, run):
    windows = {name: window(model) for name, model in networks.items()}
    np.savez(str(tmp_path / "lr.npz"), **{name: lr for name, (lr, _) in windows.items()})
    code = (
        "import sys, numpy as np, tensorflow as tf\n"
        "results = {}\n"
        "for name, lr in np.load('lr.npz').items():\n"
        "    graph = tf.GraphDef()\n"
        "    graph.ParseFromString(open(sys.argv[1] + '/' + name + '.pb', 'rb').read())\n"
        "    tf.reset_default_graph()\n"
        "    tf.import_graph_def(graph, name='')\n"  # refuses an operation or attribute not of 1.15
        "    with tf.Session() as session:\n"
        "        results[name] = session.run('sr:0', {'lr:0': lr})\n"
        "np.savez('sr.npz', **results)\n"
        "print(tf.__version__)\n")
    done = run("-c", code, graphs["edsr"].parent, cwd=tmp_path, python=tf1_python)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1.15.")
    results = np.load(str(tmp_path / "sr.npz"))
    for name, (_, expected) in windows.items():
        np.testing.assert_allclose(results[name], expected, atol=0.01, err_msg=name)


def upscale_all(argv):
    """`scripts.upscale` by the graphs of two models; argv: their folder, images."""
    for name in ("edsr", "bsrn"):
        assert not main(["--frozen", argv[0] + "/" + name + ".pb", "--chip", "cpu", *argv[1:],
                         "-o", name])


@pytest.mark.parametrize("stack", [
    "this", pytest.param("other", marks=pytest.mark.process),
    pytest.param("tf1", marks=pytest.mark.process)])
def test_upscale_gives_what_keras_gives_on_each_stack(stack, networks, graphs, photo, tmp_path,
                                                      call, request):
    colour = photo(150, 101)
    images = {"colour.png": colour, "grey16.png": np.uint16(photo(90, 170)[..., 0]) * 257,
              "alpha.png": np.dstack([colour, colour[..., :1]])}
    for name, image in images.items():
        write_image(tmp_path / name, image)
    arguments = graphs["edsr"].parent, *images
    if stack == "this":
        done = call(upscale_all, *arguments, cwd=tmp_path)
    else:
        code = (f"import sys\nfrom scripts.upscale import main\n{inspect.getsource(upscale_all)}"
                "upscale_all(sys.argv[1:])\n")
        done = request.getfixturevalue("run")(
            "-c", code, *arguments, cwd=tmp_path, python=request.getfixturevalue(f"{stack}_python"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("session: CPU (") == 2
    for name in ("edsr", "bsrn"):
        graph = frozen.read(graphs[name])
        assert f"{graph.path} holds {name} x{graph.scale}, tiles of {TILE}x{TILE}\n" in done.stdout
        keras = Upscaler(networks[name], TILE - 2 * graph.overlap, graph.overlap)
        for file, image in images.items():
            sr, _ = read_image(tmp_path / name / file.replace(".", f"_x{graph.scale}."))
            level = 1 if image.dtype == np.uint8 else 257
            expected = keras(image)
            assert (sr.dtype, sr.shape) == (expected.dtype, expected.shape)
            assert np.abs(np.int64(sr) - expected).max() <= level, (name, file)


@pytest.mark.parametrize("name, size", [("edsr", (20, 30)), ("esrgan", (17, 101))])
def test_an_image_smaller_than_the_window_is_continued_with_its_edge(name, size, networks, graphs,
                                                                     photo):
    graph, image = frozen.read(graphs[name]), photo(*size)
    height, width = max(TILE, size[0]), max(TILE, size[1])
    padded = np.pad(image, ((0, height - size[0]), (0, width - size[1]), (0, 0)), "edge")
    expected = Upscaler(networks[name], TILE - 2 * graph.overlap, graph.overlap).predict(
        padded.astype("float32"))[:size[0] * 2, :size[1] * 2]
    with frozen.FrozenUpscaler(graph, "cpu") as upscaler:
        np.testing.assert_allclose(upscaler.predict(image), expected, atol=0.005)
    with pytest.raises(RuntimeError, match="closed"):
        upscaler.predict(image)


def test_the_chip_and_precision_mode_reach_the_session(graphs, photo, tmp_path, monkeypatch):
    asked = []

    def session_config(*arguments):
        asked.append(arguments)
        return tf.compat.v1.ConfigProto()

    monkeypatch.setattr(device, "session_config", session_config)
    write_image(tmp_path / "a.png", photo(8, 8))
    assert not main(["--frozen", str(graphs["edsr"]), str(tmp_path / "a.png"), "-o",
                     str(tmp_path / "b.png"), "--chip", "npu", "--precision_mode", "must_keep"])
    assert asked == [("npu", "must_keep")]


@pytest.mark.parametrize("stack", ["this", "tf1"])
def test_the_adapter_is_loaded_first_and_the_graph_runs_in_its_session(
        stack, networks, graphs, photo, tmp_path, run, request):
    """With an adapter that does nothing, TensorFlow runs the session of an NPU on the CPU."""
    python = sys.executable if stack == "this" else request.getfixturevalue(f"{stack}_python")
    for path, text in (
            ("npu_device/__init__.py", "from npu_device import compat"),
            ("npu_device/compat.py", "import tensorflow as tf\n"
                                     "def enable_v1(): tf.compat.v1.disable_v2_behavior()"),
            ("npu_bridge/__init__.py", ""), ("npu_bridge/npu_init.py", "")):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    image = photo(100, 90)
    write_image(tmp_path / "a.png", image)
    done = run("-m", "scripts.upscale", "--frozen", graphs["bsrn"], "a.png", "-o", "b.png",
               "--chip", "npu", cwd=tmp_path, python=python,
               env={"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}", "ASCEND_DEVICE_ID": "3"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("session: NPU 3 (npu)\n")
    graph = frozen.read(graphs["bsrn"])
    keras = Upscaler(networks["bsrn"], TILE - 2 * graph.overlap, graph.overlap)
    sr, _ = read_image(tmp_path / "b.png")
    assert np.abs(np.int16(sr) - keras(image)).max() <= 1


def test_an_npu_that_is_not_there_is_an_error(graphs, photo, tmp_path, tf1_python, run):
    write_image(tmp_path / "a.png", photo(8, 8))
    arguments = ["--frozen", str(graphs["edsr"]), str(tmp_path / "a.png"), "-o",
                 str(tmp_path / "b.png"), "--chip", "npu"]
    with pytest.raises(UserError, match="--chip npu: "):
        main(arguments)
    done = run("-m", "scripts.upscale", *arguments, cwd=tmp_path, python=tf1_python)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("error: --chip npu: ")
    assert not (tmp_path / "b.png").exists()


@pytest.mark.parametrize("arguments, message", [
    (["--scale", "3"], "holds edsr x2, not x3"),
    (["--model", "bsrn"], "holds edsr x2, not bsrn"),
    (["--weights", "a.h5"], "--weights cannot change a frozen graph"),
    (["--tile", "64"], "--tile cannot change a frozen graph"),
    (["--precision", "mixed_float16"], "--precision cannot change a frozen graph"),
    (["--frozen", "other.pb"], "other.pb is not a frozen graph of the zoo"),
    (["--frozen", "a.png"], "a.png is not a frozen graph of the zoo"),
])
def test_what_does_not_fit_a_graph_is_refused(arguments, message, graphs, photo, tmp_path,
                                              monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_image(Path("a.png"), photo(8, 8))
    other = definition(graphs["edsr"])
    for node in other.node:
        node.attr.pop("_sr_zoo", None)
    Path("other.pb").write_bytes(other.SerializeToString())
    with pytest.raises(UserError, match=message):
        main(["--frozen", str(graphs["edsr"]), "a.png", "-o", "b.png", *arguments])
    assert not Path("b.png").exists()


@pytest.mark.parametrize("arguments, message", [
    (["--format", "frozen_pb", "--output", "m.onnx"], "m.onnx: the suffix must be .pb"),
    (["--format", "frozen_pb", "--output", "m.pb", "--tile", "5"],
     "--tile 5: edsr_x2 needs .* pixels around a tile, so the side must be at least"),
])
def test_what_cannot_be_exported_is_refused(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        export_main(arguments)
    assert not list(tmp_path.iterdir())


def test_the_window_follows_the_network(networks, graphs, tmp_path):
    graph = frozen.read(graphs["esrgan"])
    assert (graph.scale, graph.tile, graph.grid, graph.overlap % 2) == (2, TILE, 2, 0)
    with pytest.raises(UserError, match="at least .* and a multiple of 2"):
        frozen.write(networks["esrgan"], tmp_path / "m.pb", TILE + 1)
    export(networks["edsr"], "frozen_pb", tmp_path / "m.pb")
    assert frozen.read(tmp_path / "m.pb").tile == frozen.TILE
    far = models.create("esrgan", 1, num_blocks=2, num_filters=4, num_growth=2)
    frozen.write(far, tmp_path / "m.pb")
    graph = frozen.read(tmp_path / "m.pb")
    assert graph.grid == 4 and graph.tile == max(frozen.TILE, 4 * graph.overlap) > frozen.TILE


def test_what_tensorflow_1_15_cannot_is_refused():
    with tf.Graph().as_default() as graph:
        lr = tf.compat.v1.placeholder(tf.float32, (1, 8, 8, 3), name="lr")
        tf.raw_ops.MaxPool(input=lr, ksize=[1, 3, 3, 1], strides=[1, 1, 1, 1], padding="EXPLICIT",
                           explicit_paddings=[0, 0, 1, 1, 1, 1, 0, 0], name="pool")
    with pytest.raises(UserError, match="pool needs explicit_paddings of MaxPool"):
        frozen._folded(graph.as_graph_def(), "pool:0")


def test_the_guide_names_the_graph_as_it_is():
    text = (ROOT / "docs" / "ascend.md").read_text(encoding="utf-8")
    side = frozen.TILE
    assert f'--input_shape="{frozen.INPUT}:1,{side},{side},3"' in text
    assert f"`{frozen.INPUT}`, float32 RGB of shape\n(1, {side}, {side}, 3)" in text
    assert f"output `{frozen.OUTPUT}`" in text


def test_the_export_command(tmp_path, capsys):
    path = tmp_path / "m.pb"
    export_main(["--weights", "edsr-demo-x2", "--format", "frozen_pb", "--output", str(path),
                 "--tile", "48"])
    assert capsys.readouterr().out.startswith(
        f"{path}: edsr x2 as frozen_pb; largest difference from Keras on a photograph: 0.00")
    attributes = {node.name: node.attr for node in definition(path).node}
    metadata = json.loads(attributes["lr"]["_sr_zoo"].s.decode())
    assert metadata["tile"] == 48
    assert metadata["notes"]["licence"] == "Apache-2.0, this repository"
    assert frozen.read(path).notes == metadata["notes"]
    assert "sr" in attributes and list(tmp_path.iterdir()) == [path]


def add_write(graph, target):
    """Make a graph write a file before it answers."""
    for name, text in (("name", str(target)), ("content", "x")):
        node = graph.node.add(name=name, op="Const")
        node.attr["dtype"].type = node.attr["value"].tensor.dtype = tf.string.as_datatype_enum
        node.attr["value"].tensor.tensor_shape.SetInParent()
        node.attr["value"].tensor.string_val.append(text.encode())
    graph.node.add(name="write", op="WriteFile").input.extend(["name", "content"])
    next(node for node in graph.node if node.name == frozen.OUTPUT).input.append("^write")


def state_a_tile(graph, _):
    """Make a graph say that its window is larger than memory."""
    attribute = next(node for node in graph.node if node.name == frozen.INPUT).attr["_sr_zoo"]
    attribute.s = json.dumps({**json.loads(attribute.s), "tile": 60000}).encode()


@pytest.mark.parametrize("change, said", [(add_write, "has an operation WriteFile"),
                                          (state_a_tile, "it states the sizes .2, 60000")])
def test_a_graph_that_does_more_than_compute_is_refused(change, said, graphs, tmp_path):
    graph = definition(graphs["edsr"])
    change(graph, tmp_path / "written")
    (tmp_path / "bad.pb").write_bytes(graph.SerializeToString())
    with pytest.raises(UserError, match=said):
        frozen.read(tmp_path / "bad.pb")
    assert not (tmp_path / "written").exists()
