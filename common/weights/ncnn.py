"""Read ncnn's `.param` (the layers, text) and the `.bin` beside it (their arrays), without ncnn.

The format is ncnn's own: https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from common.cli import UserError

MAGIC = b"7767517"
FLOAT32, FLOAT16, INT8, RAW = 0, 0x01306B47, 0x000D4B38, 0x0002C056  # how an array is stored

# Layers without arrays that a super-resolution network in this format consists of.
_PLAIN = {"Input", "Split", "Concat", "Eltwise", "BinaryOp", "Interp", "PixelShuffle", "ReLU",
          "Clip", "Crop", "Padding", "Noop", "MemoryData"}


def is_ncnn(path: str | os.PathLike) -> bool:
    """Whether a file is the `.param` of a network, or the `.bin` beside one."""
    param = Path(path).with_suffix(".param")
    if Path(path).suffix not in (".param", ".bin") or not param.is_file():
        return False
    with open(param, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_ncnn(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays of a network: `conv0.weight` (O, I, H, W), `conv0.bias`, ..., `prelu0.slope`.

    Layers of a kind are numbered in the order of the `.param`, which is the order of computation.

    Args:
        path: the `.param` or the `.bin`; the other lies beside it.

    Raises:
        UserError: one of them is missing, they do not fit each other, or hold quantised arrays or
            layers with arrays that no network of the zoo has.
    """
    param, binary = Path(path).with_suffix(".param"), Path(path).with_suffix(".bin")
    if not binary.is_file():
        raise UserError(f"no {binary.name} beside {param.name}; an ncnn network is both files")
    arrays, counts = {}, {}
    reader = _Bin(binary)
    for kind, values in _layers(param):
        index = counts.setdefault(kind, 0)
        counts[kind] += 1
        if kind in ("Convolution", "PReLU"):
            name = {"Convolution": "conv", "PReLU": "prelu"}[kind]
            try:
                arrays.update(_ARRAYS[kind](f"{name}{index}", values, reader))
            except (KeyError, ValueError) as error:
                raise UserError(f"{param}: layer {kind} {index} is damaged: {error}") from error
        elif kind not in _PLAIN:
            raise UserError(f"{param} has a layer {kind}, which no network of the zoo has")
    reader.finish()
    return arrays


def _layers(param):
    """(kind, {number of the parameter: its text}) of each layer."""
    try:
        lines = param.read_text(encoding="ascii").splitlines()
        if lines[0].strip().encode() != MAGIC:
            raise ValueError("it does not start with 7767517")
        count = int(lines[1].split()[0])
        rows = [line.split() for line in lines[2:] if line.strip()]
        if len(rows) != count:
            raise ValueError(f"it has {len(rows)} layers of {count}")
        for row in rows:
            blobs = int(row[2]) + int(row[3])
            yield row[0], {int(word.split("=")[0]): word.split("=")[1] for word in row[4 + blobs:]}
    except (UnicodeDecodeError, ValueError, IndexError) as error:
        raise UserError(f"{param} is damaged: {error}") from error


def _convolution(name, values, reader):
    outputs, width, size = (int(values[key]) for key in (0, 1, 6))
    height = int(values.get(11, width))
    if int(values.get(8, 0)):
        raise UserError(f"{reader.path} is quantised to 8 bits; take the network of 16 or 32 bits")
    if min(outputs, width, height, size) < 1 or size % (outputs * width * height):
        raise ValueError(f"{size} values are not {outputs} filters of {height}x{width}")
    yield f"{name}.weight", reader.flagged(size).reshape(outputs, -1, height, width)
    if int(values.get(5, 0)):
        yield f"{name}.bias", reader.plain(outputs)


def _prelu(name, values, reader):
    yield f"{name}.slope", reader.plain(int(values[0]))


_ARRAYS = {"Convolution": _convolution, "PReLU": _prelu}


class _Bin:
    """The `.bin`, read from its beginning; every array begins at a multiple of 4 bytes."""

    def __init__(self, path):
        self.path, self._offset = path, 0
        self._bytes = path.read_bytes()

    def plain(self, count):
        """So many float32 values."""
        return self._take(count, "<f4")

    def flagged(self, count):
        """So many values after the flag that says how they are stored, as float32."""
        flag = int(self._take(1, "<u4")[0])
        if flag in (FLOAT32, RAW):
            return self._take(count, "<f4")
        if flag == FLOAT16:
            return self._take(count, "<f2").astype("<f4")
        raise UserError(f"{self.path} is quantised ({'8 bits' if flag == INT8 else hex(flag)}); "
                        "take the network of 16 or 32 bits")

    def finish(self):
        """Check that nothing is left."""
        if self._offset != len(self._bytes):
            raise UserError(f"{self.path} has {len(self._bytes) - self._offset} bytes more than "
                            "its .param describes")

    def _take(self, count, dtype):
        size = count * np.dtype(dtype).itemsize
        if size < 0 or self._offset + size > len(self._bytes):
            raise UserError(f"{self.path} is cut off: it has {len(self._bytes)} bytes, fewer than "
                            "its .param describes")
        values = np.frombuffer(self._bytes, dtype, count, self._offset)
        self._offset += -(-size // 4) * 4
        return values
