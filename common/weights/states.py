"""Read the states of PyTorch and PaddlePaddle files: nested dicts of arrays in a pickle."""

from __future__ import annotations

import os

import numpy as np

from common.cli import UserError
from common.weights import array_pickle, torch_file

# Keys below which a training program keeps the network's state, the preferred ones first.
_WRAPPERS = ("params_ema", "params", "state_dict", "model_state_dict", "model", "generator")


def read_arrays(path: str | os.PathLike, kind: str) -> tuple[dict[str, np.ndarray], str]:
    """Read the float arrays of a file as float32.

    Args:
        path: the file.
        kind: a key of `READERS`.

    Returns:
        dict of name -> array, and a note on which of several states was chosen, or "".

    Raises:
        UserError: the file is damaged, holds other objects than arrays, or PyTorch is missing.
    """
    read, arrays_of = READERS[kind]
    state, note = _unwrapped(read(path))
    return arrays_of(state), note


def _read_torch(path):
    try:
        return torch_file.load(str(path))
    except array_pickle.Refused as error:
        raise UserError(f"{path} holds Python objects beside arrays ({error}) and is not opened, "
                        "since that could run code; save the network's state_dict alone") from error


def _read_paddle(path):
    with open(path, "rb") as file:
        try:
            return array_pickle.load(file)
        except array_pickle.Refused as error:
            raise UserError(f"{path} is a Python pickle that holds {error} beside arrays and is "
                            "not opened, since that could run code") from error


def _unwrapped(content):
    """The network's state in a file, and a note on which was chosen of several."""
    note = ""
    for _ in range(4):
        if not isinstance(content, dict):
            break
        inner = [key for key in _WRAPPERS if isinstance(content.get(key), dict)]
        if not inner:
            break
        if inner[:2] == ["params_ema", "params"]:
            note = "took params_ema, the averaged weights, and not params"
        content = content[inner[0]]
    return content, note


def _torch_arrays(state):
    return _float_arrays(state, _float_array)


def _paddle_arrays(state):
    """The values are arrays or pairs of a name and an array; a long one may be in slices."""
    def array_of(value):
        return _float_array(value[1] if isinstance(value, tuple) and len(value) == 2 else value)

    if isinstance(state, dict):
        for name, plan in state.pop("UnpackBigParamInfor@@", {}).items():
            slices = [state.pop(part) for part in plan["slices"]]
            state[name] = np.concatenate(slices).reshape(plan["OriginShape"])
    return _float_arrays(state, array_of)


def _float_arrays(state, array_of):
    arrays = {}
    for name, value in state.items() if isinstance(state, dict) else ():
        array = array_of(value)
        if array is not None and isinstance(name, str):
            arrays[name] = array
    generator = [name for name in arrays if name.startswith("generator.")]
    if generator:  # mmagic's state also has the discriminator's arrays
        arrays = {name: arrays[name] for name in generator}
    # DataParallel, or a class around the network
    for prefix in ("module.", "model.", "generator."):
        if all(name.startswith(prefix) for name in arrays):
            arrays = {name[len(prefix):]: array for name, array in arrays.items()}
    return arrays


def _float_array(value):
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return value.astype("float32")
    return None


READERS = {"torch": (_read_torch, _torch_arrays), "paddle": (_read_paddle, _paddle_arrays)}
