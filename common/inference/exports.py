"""Write a network in the formats that other programs run, for images of any size or for one tile.

The network maps the input `lr`, RGB float32 NHWC in [0, 255], to `sr`, `scale` times as large and
not clipped. Every file carries the notes that `notes` makes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from common.files import put_in_place, temporary_folder
from common.inference.engines import import_openvino
from common.inference.footprint import checked_tile, footprint, needed_overlap

if TYPE_CHECKING:
    from common.nn.keras_compat import keras

INPUT, OUTPUT = "lr", "sr"
NOTES = "sr_zoo"  # what the notes are called in files that have places for several programs' notes
NOTES_FILE = f"assets.extra/{NOTES}.json"  # in a SavedModel, whose folder of that name is for users


def notes(model: keras.Model, licence: str, tile: int | None = None) -> dict[str, str]:
    """What a file says of its network.

    Args:
        model: of `models.create` or `models.load`, of one scale.
        licence: of its weights.
        tile: side of its input, where that is fixed; how many LR pixels around a tile the network
            needs is then noted too.

    Raises:
        UserError: the tile does not fit the network.
    """
    found = footprint(model)
    said = {"model": json.loads(model.zoo_metadata)["model"], "scale": str(found.scale),
            "input": f"{INPUT}: RGB, float32, NHWC, 0 to 255",
            "output": f"{OUTPUT}: RGB, float32, NHWC, 0 to 255, not clipped",
            "licence": licence}
    if tile is not None:
        said.update(tile=str(checked_tile(tile, found, model.name)),
                    overlap=str(needed_overlap(found)))
    return said


def serving_function(model: keras.Model, tile: int | None = None) -> Callable:
    """The network as a `tf.function` of `lr` to `{"sr": ...}`.

    Args:
        model: the network.
        tile: None for (N, H, W, 3) of any sizes; else for (1, tile, tile, 3).
    """
    from common.nn.keras_compat import tf

    signature = [tf.TensorSpec(_shape(tile), tf.float32, name=INPUT)]
    return tf.function(lambda lr: {OUTPUT: model(lr, training=False)}, input_signature=signature)


def write_saved_model(model: keras.Model, folder: str | os.PathLike, tile: int | None = None,
                      said: dict | None = None) -> None:
    """Write a SavedModel.

    Its signatures: `serving_default`, float32; `uint8`, of uint8 to uint8, clipped and rounded.
    """
    from common.nn.keras_compat import tf, tf_variables

    def levels(lr):
        sr = tf.round(model(tf.cast(lr, tf.float32), training=False))
        return {OUTPUT: tf.cast(tf.clip_by_value(sr, 0, 255), tf.uint8)}

    module = tf.Module()
    module.network = tf_variables(model)
    module.serve = serving_function(model, tile)
    module.levels = tf.function(levels, input_signature=[
        tf.TensorSpec(_shape(tile), tf.uint8, name=INPUT)])
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve,
                                                         "uint8": module.levels})
    path = Path(folder, NOTES_FILE)
    path.parent.mkdir()
    path.write_text(json.dumps(said or {}, indent=2) + "\n", encoding="utf-8")


def write_onnx(model: keras.Model, path: str | os.PathLike, tile: int | None = None,
               said: dict | None = None) -> None:
    """Write an `.onnx` of opset 13, with tf2onnx; the notes are its metadata."""
    # It takes max(x, a * x) for a leaky ReLU, stumbles over one slope per channel and goes on.
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    import onnx
    import tf2onnx

    function = serving_function(model, tile)
    proto, _ = tf2onnx.convert.from_function(function, function.input_signature, opset=13)
    if tile is None:
        for value, sizes in ((proto.graph.input[0], ("batch", "height", "width")),
                             (proto.graph.output[0], ("batch", "sr_height", "sr_width"))):
            for dimension, name in zip(value.type.tensor_type.shape.dim, sizes):
                dimension.dim_param = name
    _end_slices_openly(proto.graph)
    onnx.helper.set_model_props(proto, said or {})
    onnx.checker.check_model(proto)
    onnx.save(proto, str(path))


def write_openvino(model: keras.Model, path: str | os.PathLike, tile: int | None = None,
                   said: dict | None = None) -> None:
    """Write OpenVINO's `.xml`, and its `.bin` beside it; no other package than openvino is used.

    The notes are runtime information below "sr_zoo".
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    openvino = import_openvino()
    path, function = Path(path), serving_function(model, tile).get_concrete_function()
    with temporary_folder(path) as folder:
        graph = folder / "network.pb"
        constant = convert_variables_to_constants_v2(function).graph.as_graph_def()
        graph.write_bytes(constant.SerializeToString())
        network = openvino.Core().read_model(str(graph))
        network.inputs[0].set_names({INPUT})
        network.outputs[0].set_names({OUTPUT})
        for name, value in (said or {}).items():
            network.set_rt_info(value, [NOTES, name])
        openvino.save_model(network, str(path), compress_to_fp16=False)


def write_litert(model: keras.Model, path: str | os.PathLike, tile: int | None = None,
                 said: dict | None = None) -> None:
    """Write a `.tflite`, with TensorFlow's converter; the notes are its metadata "sr_zoo", JSON."""
    from common.inference.forms.operations import padding_apart
    from common.nn.keras_compat import tf

    with padding_apart():
        function = serving_function(model, tile).get_concrete_function()
    data = tf.lite.TFLiteConverter.from_concrete_functions([function]).convert()
    Path(path).write_bytes(_with_notes(data, json.dumps(said or {}).encode()))


@contextlib.contextmanager
def atomic_pair(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary `.xml`; it and the `.bin` beside it get their names if the block succeeds.

    After an error older files are unchanged. A process that is killed in between leaves no `.xml`
    with the `.bin` of another.
    """
    path = Path(path)
    with temporary_folder(path) as folder:
        temporary = folder / path.name
        yield temporary
        if path.exists():
            path.unlink()
        for suffix in (".bin", path.suffix):
            put_in_place(temporary.with_suffix(suffix), path.with_suffix(suffix))


def _shape(tile):
    return (None, None, None, 3) if tile is None else (1, tile, tile, 3)


def _end_slices_openly(graph):
    """Let slices without an end say so with the largest int64.

    tf2onnx takes the largest int32, which OpenVINO believes to be a bound of the image's sides.
    """
    from onnx import numpy_helper

    ends = {node.input[2] for node in graph.node if node.op_type == "Slice"}
    for constant in graph.initializer:
        if constant.name in ends:
            values = numpy_helper.to_array(constant).astype(np.int64)
            values[values == np.iinfo(np.int32).max] = np.iinfo(np.int64).max
            constant.CopyFrom(numpy_helper.from_array(values, constant.name))


def _with_notes(data: bytes, text: bytes) -> Any:
    """A `.tflite` with one more entry in its metadata."""
    import flatbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    network = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(bytearray(data), 0))
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(text, np.uint8)
    entry.name, entry.buffer = NOTES, len(network.buffers)
    network.buffers.append(buffer)
    network.metadata = [*(network.metadata or []), entry]
    builder = flatbuffers.Builder(len(data))
    builder.Finish(network.Pack(builder), b"TFL3")
    return bytes(builder.Output())
