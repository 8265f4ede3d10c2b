"""Programs beside TensorFlow that run an exported network on the CPU; none imports TensorFlow.

`ENGINES` names them. An exported network maps RGB float32 NHWC in [0, 255] of any height and width
to `scale` times the size, as `common.inference.exports` writes it.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np

from common.cli import UserError, require_packages, unknown
from common.device.session import cores
from common.python37 import installed_version

Run = Callable[[np.ndarray], np.ndarray]  # float32 NHWC to float32 NHWC


@dataclass(frozen=True)
class Engine:
    """An engine: `package` is its import name, `pip` what to install, `suffix` of what it reads."""

    name: str
    package: str
    pip: str
    suffix: str
    precisions: tuple
    open: Callable[[Any, str], Run]

    @property
    def version(self) -> str:
        """The installed version."""
        return installed_version(self.pip)


def open_engine(name: str, path: str | os.PathLike, precision: str = "float32") -> Run:
    """Open an exported network with an engine.

    Args:
        name: a key of `ENGINES`.
        path: the file: `.onnx` for onnxruntime and openvino, `.xml` for openvino, `.tflite` for
            litert.
        precision: float32, or mixed_bfloat16 where the engine has it.

    Returns:
        a function of float32 NHWC arrays in [0, 255], as large as its network takes them.

    Raises:
        UserError: no such engine, it is not installed, or it has no such precision.
    """
    check_engine(name, precision)
    return ENGINES[name].open(path, precision)


def check_engine(name: str, precision: str = "float32") -> None:
    """Raise a `UserError` where `open_engine` would, before there is a file."""
    if name not in ENGINES:
        raise unknown("engine", name, ENGINES)
    engine = ENGINES[name]
    require_packages(f"--engine {name}", [engine.package], engine.pip)
    if precision not in engine.precisions:
        raise UserError(f"--engine {name} computes in {' or '.join(engine.precisions)}, not in "
                        f"{precision}; use that, or --engine keras")


def import_openvino() -> Any:
    """The module `openvino` without its converter, whose import takes as long as all the rest.

    The converter would also import what reports its use to Intel.
    """
    converter = "openvino.tools.ovc"
    left_out = "openvino" not in sys.modules and sys.modules.setdefault(converter, None) is None
    try:
        import openvino
    finally:
        if left_out:
            del sys.modules[converter]  # whoever wants it later has it
    return openvino


def _open_openvino(path, precision):
    # OpenVINO takes bfloat16 by itself on processors that have it.
    hint = {"float32": "f32", "mixed_bfloat16": "bf16"}[precision]
    core = import_openvino().Core()
    network = core.compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": hint})
    request = network.create_infer_request()
    return lambda lr: request.infer([lr], share_inputs=True)[0]


def _open_onnxruntime(path, precision):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()  # by default it ignores which cores it may use
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda lr: session.run(None, {name: lr})[0]


def _open_litert(path, precision):
    from ai_edge_litert.interpreter import Interpreter

    return run_with(Interpreter(str(path), num_threads=cores()))


def run_with(interpreter: Any) -> Run:
    """The network that an interpreter of LiteRT, or TensorFlow's own, has read, as a function."""
    before, after = (details[0]["index"] for details in (interpreter.get_input_details(),
                                                         interpreter.get_output_details()))

    def run(lr):
        if tuple(interpreter.get_input_details()[0]["shape"]) != lr.shape:
            interpreter.resize_tensor_input(before, lr.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(before, lr)
        interpreter.invoke()
        return interpreter.get_tensor(after)

    return run


ENGINES = {engine.name: engine for engine in (
    Engine("openvino", "openvino", "openvino", ".xml", ("float32", "mixed_bfloat16"),
           _open_openvino),
    Engine("onnxruntime", "onnxruntime", "onnxruntime", ".onnx", ("float32",), _open_onnxruntime),
    Engine("litert", "ai_edge_litert", "ai-edge-litert", ".tflite", ("float32",), _open_litert))}
