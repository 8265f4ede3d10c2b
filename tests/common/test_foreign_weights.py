import pickle
import sys
import zipfile

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from common import foreign_weights
from common.cli import UserError
from common.foreign_weights import Source, read, recognise, torch_conv
from common.keras_compat import tf


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
    ("cut zip", "cut off"), ("pickle", "pickle"), ("png", "PNG"), ("safetensors", "safetensors"),
    ("empty", "empty"), ("json", "text"), ("noise", "no kind that is known"),
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


@pytest.mark.parametrize("kind", ["matlab", "keras", "zoo", "torch", "old torch"])
def test_a_damaged_file_is_one_line(kind, tmp_path):
    if "torch" in kind:
        pytest.importorskip("torch", reason="PyTorch is not part of the ascend stack")
    path = tmp_path / "weights"
    write(path, kind)
    if kind in ("matlab", "zoo"):
        path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(UserError, match="damaged|without any arrays"):
        read(path, {key: "" for key in foreign_weights.KINDS}, "net")


def test_pytorch_is_asked_for_where_it_is_missing(tmp_path, monkeypatch):
    write(tmp_path / "net.pt", "torch")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match="pip install torch"):
        read(tmp_path / "net.pt", {"torch": ""}, "net")


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
