"""Weights of other programs: the arrays of a file, for a model's `convert.py` to take."""

from __future__ import annotations

import os
import re

import numpy as np

from common.cli import UserError
from common.weights.kinds import KINDS, recognise
from common.weights.readers import read_arrays


class Source:
    """The arrays of a file; a converter takes them one by one.

    Args:
        path, what: the file and the network that it should hold, for messages.
        kind: a key of `KINDS`.
        arrays: dict of name -> array. MATLAB: `struct.field.index`; a checkpoint: the variables'
            names without the optimizer's slots; Keras: `layer/index`, in a model within the model
            `outer/layer/index`; PyTorch and PaddlePaddle: the state's keys.
        note: which of several networks in the file was chosen, as a line for the user, or "".
    """

    def __init__(self, path: str | os.PathLike, kind: str, arrays: dict[str, np.ndarray], what: str,
                 note: str = ""):
        self.path, self.kind, self.arrays, self.what = path, kind, dict(arrays), what
        self.note = note

    def __contains__(self, name):
        return name in self.arrays

    def count(self, pattern: str) -> int:
        """The number of arrays named `pattern.format(0)`, `pattern.format(1)`, ... up to a gap."""
        number = 0
        while pattern.format(number) in self.arrays:
            number += 1
        return number

    def take(self, name: str) -> np.ndarray:
        """Remove an array and return it.

        Raises:
            UserError: there is no array of this name.
        """
        if name not in self.arrays:
            raise self.unfit(f"it lacks {name}")
        return self.arrays.pop(name)

    def finish(self) -> None:
        """Check that all arrays were taken; others would mean that this is another network.

        Raises:
            UserError: some were not; it names them.
        """
        if self.arrays:
            raise self.unfit(f"it also has {self.names()}")

    def names(self, most: int = 3) -> str:
        """The names of the first arrays left, for a message."""
        names = list(self.arrays)
        return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most
                                          else "")

    def unfit(self, reason: str) -> UserError:
        """A `UserError` that says that this file of the right kind holds another network."""
        return UserError(f"{self.path} is {KINDS[self.kind]} but not of {self.what}: {reason}")


def read(path: str | os.PathLike, kinds: dict[str, str], what: str) -> Source:
    """Read the arrays of a file, or of a TensorFlow checkpoint by its prefix, index or folder.

    Args:
        path: the file.
        kinds: accepted kinds, as a dict of key of `KINDS` -> which files of that kind.
        what: name of the network that they hold, for messages.

    Returns:
        a `Source`.

    Raises:
        UserError: the file is missing, of another kind or damaged, or needs a missing package.
    """
    kind, text = recognise(path)
    if kind not in kinds:
        wanted = " or ".join(f"{KINDS[key]} ({detail})" for key, detail in kinds.items())
        raise UserError(f"{path} is {text or KINDS[kind]}; {what} is converted from {wanted}")
    arrays, note = read_arrays(path, kind)
    if not arrays:
        raise UserError(f"{path} is {KINDS[kind]} without any arrays of a network")
    return Source(path, kind, arrays, what, note and f"{path}: {note}")


def torch_conv(source: Source, name: str, shuffle: int = 1, unshuffle: int = 1) -> list[np.ndarray]:
    """Take a convolution of PyTorch or PaddlePaddle as [kernel HWIO, bias].

    Args:
        source: a `Source`.
        name: of the layer, which has `name.weight` (O, I, H, W) and `name.bias`.
        shuffle: block size of the pixel shuffle that follows. Its channels are C-major in PyTorch
            (c*b*b + row*b + column) and C-minor in TensorFlow ((row*b + column)*C + c).
        unshuffle: block size of the pixel unshuffle before it, whose order differs likewise.
    """
    kernel, bias = source.take(f"{name}.weight"), source.take(f"{name}.bias")
    if (kernel.ndim != 4 or bias.shape != kernel.shape[:1] or len(bias) % shuffle**2
            or kernel.shape[1] % unshuffle**2):
        raise source.unfit(f"{name} has arrays of {kernel.shape} and {bias.shape}")
    outputs, inputs = (np.arange(count).reshape(-1, block**2).T.ravel()
                       for count, block in zip(kernel.shape, (shuffle, unshuffle)))
    return [kernel[outputs][:, inputs].transpose(2, 3, 1, 0), bias[outputs]]


def torch_batch_norm(source: Source, name: str) -> list[np.ndarray]:
    """Take a batch normalisation of PyTorch or PaddlePaddle in Keras's order.

    Returns:
        [gamma, beta, moving mean, moving variance].
    """
    return [source.take(f"{name}.{part}")
            for part in ("weight", "bias", "running_mean", "running_var")]


# Kind of a Keras layer -> the numbers of dimensions of its arrays, and its name in messages.
_KERAS_LAYERS = {"conv": ((4, 1), "a convolution with a bias"),
                 "norm": ((1, 1, 1, 1), "a batch normalisation"), "prelu": ((3,), "a PReLU")}


def keras_layers(source: Source, *kinds: str) -> list[list[list[np.ndarray]]]:
    """Take all layers of a Keras file that names its layers by running numbers only.

    Args:
        source: a `Source`.
        kinds: those of "conv", "norm" and "prelu" that the network has.

    Returns:
        for each kind a list of its layers, each a list of arrays, in order of the numbers.

    Raises:
        UserError: the file has a layer of another kind.
    """
    found = {_KERAS_LAYERS[kind][0]: [] for kind in kinds}
    names = {name.rpartition("/")[0] for name in source.arrays}
    for name in sorted(names, key=lambda name: int((re.findall(r"_(\d+)$", name) or [0])[0])):
        arrays = [source.take(f"{name}/{i}") for i in range(source.count(f"{name}/{{}}"))]
        dimensions = tuple(array.ndim for array in arrays)
        if dimensions not in found:
            known = " nor ".join(_KERAS_LAYERS[kind][1] for kind in kinds)
            raise source.unfit(f"{name} is neither {known}")
        found[dimensions].append(arrays)
    return list(found.values())
