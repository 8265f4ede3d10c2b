"""ncnn's two files: every way in which the arrays are stored, and damage in one line."""

import struct

import numpy as np
import pytest

import models
from common.cli import UserError
from common.weights.ncnn import read_ncnn
from models.convert import convert


def rrdbnet(num_filters=4, num_growth=2, seed=0):
    """The (outputs, inputs) of an RRDBNet of one block and its arrays, as BasicSR orders them."""
    shapes = [(num_filters, 3)]
    for _ in range(3):
        shapes += [(num_growth, num_filters + k * num_growth) for k in range(4)]
        shapes += [(num_filters, num_filters + 4 * num_growth)]
    shapes += [(num_filters, num_filters)] * 4 + [(3, num_filters)]
    rng = np.random.default_rng(seed)
    return [(rng.normal(0, 0.1, (o, i, 3, 3)).astype("f4"), rng.normal(0, 0.1, o).astype("f4"))
            for o, i in shapes]


def write_ncnn(path, convolutions, half=False, extra=()):
    """Write convolutions as a chain, in the format that ncnn's documentation describes."""
    rows, data = ["Input data 0 1 blob0"], b""
    for i, (kernel, bias) in enumerate(convolutions):
        rows.append(f"Convolution conv_{i} 1 1 blob{i} blob{i + 1} 0={kernel.shape[0]} 1=3 4=1 5=1 "
                    f"6={kernel.size} 9=2 -23310=1,2.000000e-01")
        if half:
            values = kernel.astype("<f2").tobytes()
            data += struct.pack("<I", 0x01306B47) + values + bytes(-len(values) % 4)
        else:
            data += struct.pack("<I", 0) + kernel.astype("<f4").tobytes()
        data += bias.astype("<f4").tobytes()
    rows += extra
    path.with_suffix(".param").write_text(f"7767517\n{len(rows)} {len(rows)}\n"
                                          + "\n".join(rows) + "\n")
    path.with_suffix(".bin").write_bytes(data)
    return path.with_suffix(".bin")


@pytest.mark.parametrize("half", [False, True])
def test_arrays_are_those_that_were_written(tmp_path, half):
    convolutions = [(kernel[:, :, :, :], bias) for kernel, bias in rrdbnet()[:3]]
    arrays = read_ncnn(write_ncnn(tmp_path / "net", convolutions, half))
    assert list(arrays) == [f"conv{i}.{part}" for i in range(3) for part in ("weight", "bias")]
    for i, (kernel, bias) in enumerate(convolutions):
        expected = kernel.astype("f2").astype("f4") if half else kernel
        assert np.array_equal(arrays[f"conv{i}.weight"], expected)
        assert np.array_equal(arrays[f"conv{i}.bias"], bias)
        assert arrays[f"conv{i}.weight"].dtype == np.float32


def test_16_bit_arrays_of_odd_length_are_padded_to_four_bytes(tmp_path):
    kernel = np.arange(27, dtype="f4").reshape(1, 3, 3, 3)
    arrays = read_ncnn(write_ncnn(tmp_path / "net", [(kernel, np.ones(1))] * 2, half=True))
    assert np.array_equal(arrays["conv1.weight"], kernel) and arrays["conv1.bias"] == [1]


@pytest.mark.parametrize("name", ["net.param", "net.bin"])
def test_an_rrdbnet_is_converted_as_from_pytorch(torch, tmp_path, name):
    convolutions = rrdbnet()
    write_ncnn(tmp_path / "net", convolutions)
    dense = [f"body.0.rdb{j}.conv{k}" for j in (1, 2, 3) for k in range(1, 6)]
    keys = ["conv_first", *dense, "conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last"]
    torch.save({f"{key}.{part}": torch.from_numpy(array) for key, pair in zip(keys, convolutions)
                for part, array in zip(("weight", "bias"), pair)}, str(tmp_path / "net.pth"))
    lr = np.random.default_rng(1).uniform(0, 255, (1, 9, 11, 3)).astype("f4")
    answers = [np.asarray(convert("esrgan", tmp_path / source, tmp_path / "out.h5")(lr))
               for source in (name, "net.pth")]
    assert answers[0].shape == (1, 36, 44, 3) and np.array_equal(*answers)
    assert models.load(tmp_path / "out.h5").count_params() == sum(
        kernel.size + bias.size for kernel, bias in convolutions)


def _broken(tmp_path, param=None, data=None, extra=(), prelu=False):
    path = write_ncnn(tmp_path / "net", rrdbnet(), extra=extra)
    if param:
        path.with_suffix(".param").write_text(param(path.with_suffix(".param").read_text()))
    if data:
        path.write_bytes(data(path.read_bytes()))
    if prelu:
        path.write_bytes(path.read_bytes() + np.ones(3, "<f4").tobytes())
    return path


@pytest.mark.parametrize("change, words", [
    ({"data": lambda data: data[:1000]}, "cut off: it has 1000 bytes, fewer"),
    ({"data": lambda data: data + b"1234"}, "4 bytes more"),
    ({"data": lambda data: struct.pack("<I", 0x000D4B38) + data[4:]}, "quantised (8 bits)"),
    ({"data": lambda data: struct.pack("<I", 0x12345678) + data[4:]}, "quantised (0x12345678)"),
    ({"param": lambda text: text.replace(" 9=2", " 8=2")}, "quantised to 8 bits"),
    ({"param": lambda text: text[:300]}, "is damaged"),
    ({"param": lambda text: text.replace("6=108", "6=-108")}, "is damaged"),
    ({"param": lambda text: text.replace("6=108", "6=107")}, "is damaged"),
    ({"param": lambda text: text.replace("0=4", "0=x")}, "is damaged"),
    ({"extra": ["LSTM lstm 1 1 blob21 blob22 0=1"]}, "a layer LSTM"),
    ({"extra": ["PReLU p 1 1 blob21 blob22 0=3"], "prelu": True}, "compact networks"),
])
def test_what_is_not_an_rrdbnet_is_refused_in_one_line(tmp_path, change, words):
    path = _broken(tmp_path, **change)
    with pytest.raises(UserError, match=".") as error:
        convert("esrgan", path, tmp_path / "out.h5")
    assert words in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "out.h5").exists()


def test_a_bin_without_its_param_is_not_taken_for_a_network(tmp_path):
    path = write_ncnn(tmp_path / "net", rrdbnet())
    path.with_suffix(".param").unlink()
    with pytest.raises(UserError, match="of an unknown kind"):
        convert("esrgan", path, tmp_path / "out.h5")
