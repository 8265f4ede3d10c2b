"""PyTorch's files and safetensors, read without PyTorch on both stacks.

`files/torch_*.pth` were written by torch.save of PyTorch 2.13, in its zip and in its older format.
"""

import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from common.cli import UserError
from common.weights.array_pickle import Refused
from common.weights.source import read
from common.weights.torch_file import load

FILES = Path(__file__).parent / "files"
BASE = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 8


@pytest.mark.parametrize("name", ["torch_zip.pth", "torch_legacy.pth"])
def test_every_kind_of_tensor(name):
    content = load(str(FILES / name))
    assert content["epoch"] == 3 and content["size"] == (2, 3)
    state = content["params"]
    for key, array in {"plain": BASE, "half": BASE, "bfloat": BASE, "double": BASE,
                       "turned": BASE.transpose(2, 0, 1), "part": BASE[1, 1:],
                       "parameter": 2 * BASE}.items():
        np.testing.assert_array_equal(state[key], array)
    assert state["steps"] == 7 and state["double"].dtype == np.float64
    arrays = read(FILES / name, {"torch": ""}, "net").arrays
    assert all(array.dtype == np.float32 for array in arrays.values())
    assert set(arrays) == set(state) - {"steps"}


def test_it_equals_pytorchs_own_reader(torch, tmp_path):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.PReLU())
    torch.save(net.state_dict(), str(tmp_path / "net.pth"))
    ours = load(str(tmp_path / "net.pth"))
    assert list(ours) == list(net.state_dict())
    for name, tensor in net.state_dict().items():
        np.testing.assert_array_equal(ours[name], tensor.numpy())


def test_objects_are_refused_and_nothing_of_them_runs(torch, tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "touched",)

    for name, content in (("net", torch.nn.PReLU()), ("evil", {"a": Evil()})):
        torch.save(content, str(tmp_path / name))
        with pytest.raises(UserError, match="holds Python objects beside arrays .*could run code"):
            read(tmp_path / name, {"torch": ""}, "net")
    assert not (tmp_path / "touched").exists()
    with pytest.raises(Refused, match="torch.nn.modules.activation"):
        load(str(tmp_path / "net"))


@pytest.mark.parametrize("name", ["torch_zip.pth", "torch_legacy.pth"])
def test_a_cut_file_is_one_line(name, tmp_path):
    whole = (FILES / name).read_bytes()
    for part in (0.3, 0.6, 0.95):
        (tmp_path / "cut.pth").write_bytes(whole[:int(part * len(whole))])
        with pytest.raises(UserError, match="cut.pth is (damaged|a zip archive that is cut off)"):
            read(tmp_path / "cut.pth", {"torch": ""}, "net")


def test_compressed_entries_are_not_unpacked(tmp_path):
    with zipfile.ZipFile(str(tmp_path / "bomb.pth"), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/data/0", bytes(10_000_000))
    with pytest.raises(UserError, match="archive/data.pkl in it is compressed"):
        read(tmp_path / "bomb.pth", {"torch": ""}, "net")


def write_safetensors(path, entries, tail=b""):
    """A file of {name: (type, array)}, as the format's README lays it out."""
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, (kind, array) in entries.items():
        header[name] = {"dtype": kind, "shape": list(array.shape),
                        "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data + tail)


def test_safetensors(tmp_path):
    words = (BASE.view(np.uint32) >> 16).astype(np.uint16)  # exact: BASE has few digits
    write_safetensors(tmp_path / "net.safetensors", {
        "a": ("F32", BASE), "b": ("F16", BASE.astype(np.float16)), "c": ("BF16", words),
        "n": ("I64", np.arange(3))})
    arrays = read(tmp_path / "net.safetensors", {"torch": ""}, "net").arrays
    assert set(arrays) == {"a", "b", "c"}
    for array in arrays.values():
        np.testing.assert_array_equal(array, BASE)
    whole = (tmp_path / "net.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-10])
    with pytest.raises(UserError, match="cut.safetensors is damaged"):
        read(tmp_path / "cut.safetensors", {"torch": ""}, "net")


def test_mmagics_generator_is_found_among_the_discriminators_arrays(tmp_path):
    write_safetensors(tmp_path / "gan.safetensors", {
        "generator.conv_first.weight": ("F32", BASE), "discriminator.conv.weight": ("F32", BASE)})
    assert list(read(tmp_path / "gan.safetensors", {"torch": ""}, "net").arrays) == [
        "conv_first.weight"]
