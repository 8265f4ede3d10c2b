"""Write a network in the formats that other programs run, with free batch, height and width."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Callable

from common.files import temporary_folder
from common.inference.engines import import_openvino

if TYPE_CHECKING:
    from common.nn.keras_compat import keras

INPUT, OUTPUT = "lr", "sr"


def serving_function(model: keras.Model) -> Callable:
    """The network as a `tf.function` of `lr` (N, H, W, 3) to `{"sr": ...}`, all sizes free."""
    from common.nn.keras_compat import tf

    signature = [tf.TensorSpec((None, None, None, 3), tf.float32, name=INPUT)]
    return tf.function(lambda lr: {OUTPUT: model(lr, training=False)}, input_signature=signature)


def write_onnx(model: keras.Model, path: str | os.PathLike) -> None:
    """Write an `.onnx` of opset 13, with tf2onnx."""
    # It takes max(x, a * x) for a leaky ReLU, stumbles over one slope per channel and goes on.
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    import onnx
    import tf2onnx

    function = serving_function(model)
    proto, _ = tf2onnx.convert.from_function(function, function.input_signature, opset=13)
    for value, sizes in ((proto.graph.input[0], ("batch", "height", "width")),
                         (proto.graph.output[0], ("batch", "sr_height", "sr_width"))):
        for dimension, name in zip(value.type.tensor_type.shape.dim, sizes):
            dimension.dim_param = name
    onnx.checker.check_model(proto)
    onnx.save(proto, str(path))


def write_openvino(model: keras.Model, path: str | os.PathLike) -> None:
    """Write OpenVINO's `.xml`, and its `.bin` beside it; no other package than openvino is used."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    openvino = import_openvino()
    path, function = Path(path), serving_function(model).get_concrete_function()
    with temporary_folder(path) as folder:
        graph = folder / "network.pb"
        constant = convert_variables_to_constants_v2(function).graph.as_graph_def()
        graph.write_bytes(constant.SerializeToString())
        network = openvino.Core().read_model(str(graph))
        network.inputs[0].set_names({INPUT})
        network.outputs[0].set_names({OUTPUT})
        openvino.save_model(network, str(path), compress_to_fp16=False)


def write_litert(model: keras.Model, path: str | os.PathLike) -> None:
    """Write a `.tflite`, with TensorFlow's converter."""
    from common.nn.keras_compat import tf

    function = serving_function(model).get_concrete_function()
    Path(path).write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([function]).convert())
