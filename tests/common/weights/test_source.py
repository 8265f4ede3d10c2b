import io
import os
import pickle
import zipfile
from collections import OrderedDict

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from common.cli import UserError
from common.nn.keras_compat import tf
from common.weights import array_pickle
from common.weights.kinds import KINDS, recognise
from common.weights.source import Source, read, torch_conv


def zip_of(path, *names):
    with zipfile.ZipFile(str(path), "w") as archive:
        for name in names:
            archive.writestr(name, b"content")


def write(path, kind):
    """A small file of a kind, under a name that says nothing."""
    if kind == "matlab":
        savemat(str(path), {"a": np.ones(3)}, appendmat=False)
    elif kind == "matlab 7.3":
        with h5py.File(str(path), "w", userblock_size=512) as file:
            file["a"] = np.ones(3)
        with open(path, "rb+") as file:
            file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512))
    elif kind == "keras":
        with h5py.File(str(path), "w") as file:
            file.attrs["layer_names"] = [b"conv"]
    elif kind == "hdf5":
        with h5py.File(str(path), "w") as file:
            file["lr"] = np.ones(3)
    elif kind == "zoo":
        with h5py.File(str(path), "w") as file:
            file.attrs["sr_zoo"] = "{}"
    elif kind == "torch":
        zip_of(path, "archive/data.pkl", "archive/version")
    elif kind == "old torch":
        path.write_bytes(pickle.dumps(0x1950a86a20f9469cfc6c, 2) + pickle.dumps(1001, 2))
    elif kind == "torchscript":
        zip_of(path, "net/data.pkl", "net/constants.pkl")
    elif kind == ".keras":
        zip_of(path, "config.json", "model.weights.h5")
    elif kind == "zip":
        zip_of(path, "one.txt")
    elif kind == "cut zip":
        zip_of(path, "archive/data.pkl")
        path.write_bytes(path.read_bytes()[:40])
    elif kind == "pickle":
        path.write_bytes(pickle.dumps({"a": 1}, 2))
    elif kind == "png":
        Image.new("RGB", (4, 4)).save(str(path), "PNG")
    elif kind == "safetensors":
        path.write_bytes((15).to_bytes(8, "little") + b'{"a":{"b":"c"}}')
    else:
        path.write_bytes({"empty": b"", "json": b'{"a": 1}', "noise": b"\x05\x06\x07\x08"}[kind])


@pytest.mark.parametrize("kind, told", [
    ("matlab", "matlab"), ("keras", "keras"), ("torch", "torch"), ("old torch", "torch"),
    ("matlab 7.3", "MATLAB 7.3"), ("hdf5", "HDF5 file without"), ("zoo", "of this zoo already"),
    ("torchscript", "TorchScript"), (".keras", ".keras archive"), ("zip", "zip archive of one.txt"),
    ("cut zip", "cut off"), ("pickle", "paddle"), ("png", "PNG"), ("safetensors", "torch"),
    ("empty", "empty"), ("json", "text"), ("noise", "an unknown kind"),
])
def test_a_file_is_recognised_by_its_content(kind, told, tmp_path):
    path = tmp_path / "weights.bin"
    write(path, kind)
    key, text = recognise(path)
    assert key == told if text is None else told in text


def test_a_file_of_another_kind_is_named_with_what_was_expected(tmp_path):
    write(tmp_path / "net.pt", "matlab")
    with pytest.raises(UserError, match=r"net.pt is a MATLAB 5 file; edsr is converted from a "
                                        r"PyTorch file \(EDSR\)"):
        read(tmp_path / "net.pt", {"torch": "EDSR"}, "edsr")
    with pytest.raises(UserError, match="no such file: .*absent.mat"):
        read(tmp_path / "absent.mat", {"matlab": ""}, "vdsr")


def test_matlab_structs_and_cells_become_names(tmp_path):
    cell = np.empty((1, 2), object)
    cell[0, 0], cell[0, 1] = np.ones((3, 2)), np.zeros((1, 1))
    savemat(str(tmp_path / "m.mat"), {"model": {"weight": cell, "note": "text"}, "x": np.arange(3)})
    arrays = read(tmp_path / "m.mat", {"matlab": ""}, "net").arrays
    assert {name: array.shape for name, array in arrays.items()} == {
        "model.weight.0": (3, 2), "model.weight.1": (1, 1), "x": (1, 3)}


@pytest.mark.parametrize("kind", [
    "matlab", "keras", "zoo", "pickle", "torch", "old torch"])
def test_a_damaged_file_is_one_line(kind, tmp_path):
    path = tmp_path / "weights"
    write(path, kind)
    if kind in ("matlab", "zoo", "pickle"):
        path.write_bytes(path.read_bytes()[:150 if kind != "pickle" else -3])
    with pytest.raises(UserError, match="damaged|without any arrays"):
        read(path, {key: "" for key in KINDS}, "net")


@pytest.fixture
def checkpoint(tmp_path):
    """The prefix of a TensorFlow 1 checkpoint with a slot and a counter."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, shape in (("net/conv/kernel", (2, 3)), ("net/conv/kernel/Adam", (2, 3)),
                            ("net/kernel", (1,)), ("step", ())):
            tf.compat.v1.get_variable(name, shape)
        session.run(tf.compat.v1.global_variables_initializer())
        return tf.compat.v1.train.Saver().save(session, str(tmp_path / "run" / "model.ckpt-7"))


@pytest.mark.parametrize("suffix", ["", ".index", ".data-00000-of-00001", ".meta"])
def test_a_checkpoint_may_be_named_by_any_of_its_files(checkpoint, suffix):
    arrays = read(checkpoint + suffix, {"tf_checkpoint": ""}, "net").arrays
    assert {name: array.shape for name, array in arrays.items()} == {
        "net/conv/kernel": (2, 3), "net/kernel": (1,)}


def test_a_checkpoint_may_be_named_by_its_folder(checkpoint, tmp_path):
    assert recognise(tmp_path / "run") == ("tf_checkpoint", None)
    assert "net/kernel" in read(tmp_path / "run", {"tf_checkpoint": ""}, "net")
    assert "folder without a checkpoint" in recognise(tmp_path)[1]


def test_an_index_without_data_is_said_to_be_one(shared):
    prefix = shared / "weights" / "bsrn" / "bsrn_c64_s64_x234.ckpt"
    for path in (prefix, f"{prefix}.index"):
        with pytest.raises(UserError, match="only the index .* is not beside it"):
            read(path, {"tf_checkpoint": ""}, "bsrn")


def test_arrays_that_are_missing_or_left_are_named():
    source = Source("net.pt", "torch", {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}, "edsr")
    assert source.take("a") == 1
    with pytest.raises(UserError, match="net.pt is a PyTorch file but not of edsr: it lacks a"):
        source.take("a")
    with pytest.raises(UserError, match="it also has b, c, d and 1 more"):
        source.finish()


def test_the_pixel_shuffles_channels_are_reordered():
    # Output pixel (i, j) of channel c must come from the same kernel in both orders.
    features, block = 3, 2
    weight = np.zeros((features * block**2, 1, 1, 1))
    for c in range(features):
        for i in range(block):
            for j in range(block):
                weight[c * block**2 + i * block + j] = 100 * c + 10 * i + j
    source = Source("net.pt", "torch", {"up.weight": weight, "up.bias": weight.ravel()}, "edsr")
    kernel, bias = torch_conv(source, "up", block)
    shuffled = tf.nn.depth_to_space(tf.constant(kernel), block).numpy()[0]
    for c in range(features):
        np.testing.assert_array_equal(shuffled[..., c], 100 * c + np.array([[0, 1], [10, 11]]))
    np.testing.assert_array_equal(bias, kernel.ravel())


def test_the_pixel_unshuffles_channels_are_reordered():
    # Input channel c of pixel (i, j) must meet the same kernel in both orders.
    weight = np.arange(12.0).reshape(1, 12, 1, 1)  # c*4 + i*2 + j
    source = Source("net.pt", "torch", {"head.weight": weight, "head.bias": np.ones(1)}, "esrgan")
    kernel, _ = torch_conv(source, "head", unshuffle=2)
    pixels = np.random.RandomState(0).uniform(size=(1, 2, 2, 3))
    ours = tf.nn.space_to_depth(tf.constant(pixels), 2).numpy().ravel() @ kernel.ravel()
    np.testing.assert_allclose(ours, pixels.transpose(0, 3, 1, 2).ravel() @ weight.ravel())


# ---- pickles -----------------------------------------------------------------------------------

def assert_same(ours, theirs):
    assert type(ours) is type(theirs) or {type(ours), type(theirs)} == {dict, OrderedDict}
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key, value in theirs.items():
            assert_same(ours[key], value)
    elif isinstance(theirs, (list, tuple)):
        for a, b in zip(ours, theirs):
            assert_same(a, b)
    else:
        np.testing.assert_array_equal(ours, theirs)
        assert getattr(ours, "dtype", None) == getattr(theirs, "dtype", None)


CONTENT = {
    "a": np.arange(6, dtype="float32").reshape(2, 3), "fortran": np.asfortranarray(np.ones((2, 3))),
    "big endian": np.arange(3, dtype=">f4"), "half": np.ones(2, "float16"), "none": np.ones((0, 2)),
    "slice": np.arange(12.0).reshape(3, 4)[:, 1:3], "number": np.float64(0.5), "point": np.ones(()),
    "order": OrderedDict(b=[1, 2.5, None, True, b"bytes", "text"], c=(np.arange(3), "name")),
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_in_pickles_come_back_as_they_were(protocol):
    assert_same(array_pickle.load(io.BytesIO(pickle.dumps(CONTENT, protocol))), CONTENT)


@pytest.mark.parametrize("core", [b"numpy.core.", b"numpy._core."])
@pytest.mark.parametrize("protocol", [2, 3])
def test_pickles_of_either_numpy_are_read(protocol, core):
    data = pickle.dumps(CONTENT, protocol)
    assert b"numpy.core." in data or b"numpy._core." in data
    data = data.replace(b"numpy._core.", b"numpy.core.").replace(b"numpy.core.", core)
    assert_same(array_pickle.load(io.BytesIO(data)), CONTENT)


def test_what_python_2_wrote_is_read():
    array = np.array([1, -2], "float32")
    text = array.tobytes().decode("latin1")  # a str of bytes there
    data = (b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R("
            b"K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff"
            b"J\xff\xff\xff\xffK\x00tb\x89U\x08" + text.encode("latin1") + b"tb.")
    np.testing.assert_array_equal(array_pickle.load(io.BytesIO(data)), array)


class Evil:
    """A pickle that runs a command when it is opened."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("function, name", [
    (os.system, rf"{os.name}\.system"), (eval, "eval"), (getattr, "getattr"), (exec, "exec"),
    (__import__, "__import__"), (np.save, r"numpy\.save"), (pickle.loads, r"pickle\.loads"),
])
def test_a_pickle_that_would_run_something_is_refused(function, name, protocol, tmp_path):
    mark = tmp_path / "ran"
    evil = Evil(function, f"touch {mark}" if function is os.system else f"open({str(mark)!r}, 'w')")
    path = tmp_path / "evil.pdparams"
    path.write_bytes(pickle.dumps({"generator": {"w": np.ones(2), "x": evil}}, protocol))
    with pytest.raises(UserError, match=f"evil.pdparams is a Python pickle that holds .*{name}"):
        read(path, {"paddle": ""}, "net")
    assert not mark.exists()


def test_other_pickles_are_refused(tmp_path):
    path = tmp_path / "net.pdparams"
    for content, message in (({"a": 1}, "without any arrays"), ([1, 2], "without any arrays"),
                             (Evil(dict), "holds builtins.dict|holds __builtin__.dict"),
                             ({"a": np.array([None])}, "an array of type object"),
                             ({"a": np.array(["x"])}, "an array of type <U1"),
                             ({"a": np.zeros(1, "f4,f4")}, "an array of type")):
        path.write_bytes(pickle.dumps(content, 2))
        with pytest.raises(UserError, match=message):
            read(path, {"paddle": ""}, "net")


@pytest.mark.parametrize("wrap", [dict, lambda state: {"generator": state, "epoch": 1}])
def test_paddles_names_slices_and_tensors(wrap, tmp_path):
    long = np.arange(10, dtype="float32").reshape(2, 5)
    state = {"conv.weight": np.ones((2, 2), "f8"), "named": ("linear_0.w_0", np.zeros(3, "f4")),
             "long@@.0": long.ravel()[:6], "long@@.1": long.ravel()[6:], "steps": np.array([3]),
             "UnpackBigParamInfor@@": {"long": {"OriginShape": (2, 5),
                                                "slices": ["long@@.0", "long@@.1"]}},
             "StructuredToParameterName@@": {"conv.weight": "conv2d_0.w_0"}}
    (tmp_path / "net").write_bytes(pickle.dumps(wrap(state), 2))
    arrays = read(tmp_path / "net", {"paddle": ""}, "net").arrays
    assert {name: array.shape for name, array in arrays.items()} == {
        "conv.weight": (2, 2), "named": (3,), "long": (2, 5)}
    assert {array.dtype.name for array in arrays.values()} == {"float32"}
    np.testing.assert_array_equal(arrays["long"], long)
    del state["long@@.1"]
    (tmp_path / "net").write_bytes(pickle.dumps(wrap(state), 2))
    with pytest.raises(UserError, match="net is damaged"):
        read(tmp_path / "net", {"paddle": ""}, "net")


def test_a_model_within_a_keras_model_keeps_its_layers_apart(tmp_path):
    with h5py.File(str(tmp_path / "net.h5"), "w") as file:
        file.attrs["layer_names"] = np.array([b"model_1", b"dense"])
        for outer, names in (("model_1", ("conv2d_2/kernel:0", "conv2d_2/bias:0", "bn/gamma:0")),
                             ("dense", ("dense/kernel:0", "dense/bias:0"))):
            group = file.create_group(outer)
            group.attrs["weight_names"] = np.array(names, "S")
            for i, name in enumerate(names):
                group[name] = i
    arrays = read(tmp_path / "net.h5", {"keras": ""}, "net").arrays
    assert {name: int(array) for name, array in arrays.items()} == {
        "dense/0": 0, "dense/1": 1, "model_1/conv2d_2/0": 0, "model_1/conv2d_2/1": 1,
        "model_1/bn/0": 2}
