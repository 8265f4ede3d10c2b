"""A good file of every kind that the zoo reads, and the reader that commands use for it."""

import importlib.util
import json
import os
import pickle
import struct
from pathlib import Path

import numpy as np

import models
from common.cli import UserError
from common.data.luma_patches import LumaPatches
from common.flags import to_yaml
from common.images.files import read_rgb
from common.inference import frozen
from common.nn.keras_compat import keras, tf
from common.weights import save, source
from models.command import read_options

IMAGES = ("png", "jpg", "tif", "webp", "bmp", "gif")


def good_files(folder: Path, names: list) -> dict:
    """Make the files, each in a folder of its own with what belongs to it.

    They are made in a child process: one in which TensorFlow runs cannot be forked for each input.

    Args:
        folder: an empty folder.
        names: of `KINDS`; those that need a package that is not installed are left out.

    Returns:
        {kind: (path, function of a path that reads such a file)}.
    """
    process = os.fork()
    if not process:
        status = 1
        try:
            for name in names:
                KINDS[name][0](folder / name)
            status = 0
        finally:
            os._exit(status)
    if os.waitpid(process, 0)[1]:
        raise UserError("the good files could not be made")
    return {name: (next((folder / name).glob("net*")), KINDS[name][1])
            for name in names if (folder / name).is_dir()}


def _place(folder, name):
    folder.mkdir()
    return folder / name


def _arrays(count=3):
    rng = np.random.default_rng(0)
    return {f"conv{i}.weight": rng.normal(size=(4, 3, 3, 3)).astype("f4") for i in range(count)}


def _small(name):
    return models.create(name, models.model(name).network.SCALES[0], **models.model(name).small)


def _weights(folder):
    save(_small("edsr"), _place(folder, "net.h5"))


def _frozen(folder):
    frozen.write(_small("edsr"), _place(folder, "net.pb"), tile=64)


def _keras(folder):
    model = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Conv2D(4, 9, name="a"),
                              keras.layers.Conv2D(1, 5, name="b")])
    model.save(str(_place(folder, "net.h5")))


def _checkpoint(folder):
    path = _place(folder, "net")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name in "ab":
            tf.compat.v1.get_variable(f"net/{name}/kernel", (3, 3, 4, 4))
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(path), write_meta_graph=False)


def _matlab(folder):
    from scipy.io import savemat

    cell = np.empty((1, 2), object)
    cell[0, 0], cell[0, 1] = np.ones((3, 3, 1, 4)), np.ones((3, 3, 4, 1))
    savemat(str(_place(folder, "net.mat")), {"model": {"weight": cell, "bias": cell}})


def _torch(folder, zipped=True):
    if importlib.util.find_spec("torch") is None:
        return  # the ascend stack has none
    import torch

    torch.save({"params": {name: torch.tensor(array) for name, array in _arrays().items()}},
               str(_place(folder, "net.pth")), _use_new_zipfile_serialization=zipped)


def _safetensors(folder):
    header, data = {}, b""
    for name, array in _arrays().items():
        header[name] = {"dtype": "F32", "shape": array.shape,
                        "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    _place(folder, "net.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


def _paddle(folder):
    _place(folder, "net.pdparams").write_bytes(pickle.dumps(_arrays(), 2))


def _ncnn(folder):
    path = _place(folder, "net.param")
    rows, data = ["Input data 0 1 b0"], b""
    for i, array in enumerate(_arrays().values()):
        rows.append(f"Convolution c{i} 1 1 b{i} b{i + 1} 0=4 1=3 4=1 5=1 6={array.size}")
        data += struct.pack("<I", 0) + array.tobytes() + bytes(16)
    path.write_text("\n".join(["7767517", f"{len(rows)} {len(rows)}", *rows]) + "\n")
    path.with_suffix(".bin").write_bytes(data)


def _patches(folder):
    import h5py

    with h5py.File(str(_place(folder, "net_x2.h5")), "w") as file:
        for name in ("lr", "hr"):
            file.create_dataset(name, data=np.random.default_rng(0).random((20, 12, 12), "f4"),
                                compression="gzip")


def _yaml(folder):
    options = models.model("edsr").recipe.options_class()
    _place(folder, "net.yaml").write_text(to_yaml(options))


def _image(folder):
    from PIL import Image
    from skimage.data import chelsea

    kind = folder.name.rpartition(" ")[2]
    Image.fromarray(chelsea()[100:140, 100:150]).save(str(_place(folder, f"net.{kind}")))


def _read_foreign(path):
    found = source.read(path, {kind: "" for kind in source.KINDS}, "a network")
    if not found.arrays:
        raise UserError("no arrays")


def _read_options(path):
    read_options(models.model("edsr").recipe, ["--config", str(path)], "train")


KINDS = {
    "zoo weights": (_weights, lambda path: models.load(path)),
    "Keras weights": (_keras, _read_foreign),
    "checkpoint": (_checkpoint, lambda path: _read_foreign(path.with_name("net"))),
    "MATLAB": (_matlab, _read_foreign),
    "PyTorch": (_torch, _read_foreign),
    "older PyTorch": (lambda folder: _torch(folder, zipped=False), _read_foreign),
    "safetensors": (_safetensors, _read_foreign),
    "PaddlePaddle": (_paddle, _read_foreign),
    "ncnn": (_ncnn, lambda path: _read_foreign(path.with_name("net.param"))),
    "luma patches": (_patches, lambda path: LumaPatches(path, 2, 0, 2).batch(0)),
    "frozen graph": (_frozen, frozen.read),
    "options": (_yaml, _read_options),
    **{f"image {kind}": (_image, read_rgb) for kind in IMAGES},
}
