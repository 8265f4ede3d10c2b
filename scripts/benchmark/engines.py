"""The zoo's networks in other engines, for `scripts.benchmark` to compare with.

An engine that is not installed, or lacks a precision, raises `Unavailable` with the reason.
"""

import contextlib
import importlib.util
import io
import warnings

import numpy as np

from scripts.benchmark.networks import torch_network


class Unavailable(Exception):
    """Why an engine cannot take part in a measurement."""


def require(*modules):
    """Raise `Unavailable` unless all modules are installed."""
    lacking = [module for module in modules if importlib.util.find_spec(module) is None]
    if lacking:
        raise Unavailable(f"{' and '.join(lacking)} not installed")


def torch_inference(model, image, precision, threads):
    """Prepare PyTorch to run one image.

    Args:
        model: a zoo EDSR of float32.
        image: float32 (H, W, 3).
        precision: float32 or bfloat16 (weights and activations).
        threads: how many it may use.

    Returns:
        function without arguments that returns float32 (H*scale, W*scale, 3).
    """
    require("torch")
    import torch

    torch.set_num_threads(threads)
    network = torch_network(model).eval()
    if precision == "bfloat16":
        network = network.to(torch.bfloat16)
    x = torch.from_numpy(_nchw(image)).to(memory_format=torch.channels_last)

    def run():
        with torch.inference_mode():
            return _hwc(network(x).numpy())

    return run


def torch_training(model, batch, learning_rate, precision, threads, clip_norm=None):
    """Prepare PyTorch to take steps of Adam on the L1 loss.

    Args:
        model: a zoo model with the weights to start from.
        batch: (lr, hr) uint8 patches, NHWC.
        learning_rate: of Adam(.9, .999, 1e-8).
        precision: float32, or bfloat16 by autocast (float32 weights).
        threads: how many it may use.
        clip_norm: bound of the norm of each gradient; None: no clipping.

    Returns:
        function without arguments that takes a step and returns the loss before it; of a network
        with several outputs their mean, each with twice the weight of the one before.
    """
    require("torch")
    import torch

    torch.set_num_threads(threads)
    network = torch_network(model).train()
    parameters = list(network.parameters())
    optimizer = torch.optim.Adam(parameters, learning_rate, eps=1e-8)
    lr, hr = (torch.from_numpy(part).permute(0, 3, 1, 2) for part in batch)
    autocast = precision == "bfloat16"

    def run():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            images = network.images(lr.float())
        truth, total = hr.float(), 2**len(images) - 1
        loss = sum(2**i / total * torch.nn.functional.l1_loss(image, truth)
                   for i, image in enumerate(images))
        loss.backward()
        if clip_norm is not None:
            for parameter in parameters:
                torch.nn.utils.clip_grad_norm_(parameter, clip_norm)
        optimizer.step()
        return loss.item()

    return run


def onnxruntime_inference(model, image, precision, threads):
    """As `torch_inference`, by ONNX Runtime on its CPU provider."""
    require("onnxruntime")
    if precision != "float32":
        raise Unavailable("ONNX Runtime has no bfloat16 convolution on a CPU")
    onnx_bytes = to_onnx(model, image.shape)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Threads that spin after a run would take time from the engine measured next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(onnx_bytes, options,
                                           providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: _nchw(image)}
    return lambda: _hwc(session.run(None, feed)[0])


def openvino_inference(model, image, precision, threads):
    """As `torch_inference`, by OpenVINO on the CPU."""
    require("openvino")
    onnx_bytes = to_onnx(model, image.shape)
    import openvino

    core = openvino.Core()
    able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "bfloat16" and "BF16" not in able:
        raise Unavailable("OpenVINO has no bfloat16 on this CPU")
    compiled = core.compile_model(core.read_model(io.BytesIO(onnx_bytes)), "CPU", {
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
        "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"})
    request, x = compiled.create_infer_request(), _nchw(image)

    def run():
        request.infer([x], share_inputs=True)
        return _hwc(request.get_output_tensor(0).data)

    return run


def to_onnx(model, shape):
    """The bytes of an ONNX file with the weights of a zoo EDSR, for one image of (H, W, 3)."""
    require("torch", "onnx")
    import torch

    target = io.BytesIO()
    x = torch.zeros(1, 3, *shape[:2])
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(torch_network(model).eval(), (x,), target, dynamo=False,
                          input_names=["lr"], output_names=["sr"], opset_version=17)
    return target.getvalue()


INFERENCE = {"torch": torch_inference, "onnxruntime": onnxruntime_inference,
             "openvino": openvino_inference}


def _nchw(image):
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None])


def _hwc(output):
    return output[0].transpose(1, 2, 0)
