"""EDSR from one set of weights in other engines, for `scripts.benchmark` to measure against.

Each engine that is not installed, or cannot do a precision, raises `Unavailable` with the reason.
"""

import contextlib
import importlib.util
import io
import warnings

import numpy as np


class Unavailable(Exception):
    """Why an engine takes no part in a measurement."""


def require(*modules):
    """Raise `Unavailable` unless all modules are installed."""
    lacking = [module for module in modules if importlib.util.find_spec(module) is None]
    if lacking:
        raise Unavailable(f"{' and '.join(lacking)} not installed")


def torch_edsr(model):
    """A zoo EDSR as a PyTorch module with the same weights.

    Args:
        model: a model of `models.create("edsr", ...)`, one upsampling stage, res_scale 1.

    Returns:
        a module that maps RGB (N, 3, H, W) in [0, 255] to (N, 3, H*scale, W*scale), in the
        channels_last memory format.
    """
    require("torch")
    import torch
    from torch import nn

    from models.edsr.network import DIV2K_MEAN

    names = [layer.name for layer in model.layers]
    block_count = sum(name.endswith("_conv1") for name in names)
    shuffle = model.get_layer("upsample0_shuffle").block_size

    def conv(name, order=None):
        kernel, bias = model.get_layer(name).get_weights()
        if order is not None:
            kernel, bias = kernel[..., order], bias[order]
        layer = nn.Conv2d(kernel.shape[2], kernel.shape[3], 3, padding=1)
        layer.weight.data = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
        layer.bias.data = torch.from_numpy(bias.copy())
        return layer

    class Block(nn.Module):
        def __init__(self, index):
            super().__init__()
            self.conv1, self.conv2 = conv(f"block{index}_conv1"), conv(f"block{index}_conv2")

        def forward(self, x):
            return x + self.conv2(torch.relu(self.conv1(x)))

    class Edsr(nn.Module):
        def __init__(self):
            super().__init__()
            features = model.get_layer("upsample0_conv").get_weights()[1].size // shuffle**2
            # PyTorch's pixel shuffle takes a feature's pixels one after the other, TensorFlow's
            # the features of a pixel.
            order = np.arange(features * shuffle**2).reshape(shuffle**2, features).T.ravel()
            self.head, self.body, self.tail = conv("head"), conv("body"), conv("tail")
            self.blocks = nn.Sequential(*[Block(i) for i in range(block_count)])
            self.upsample = conv("upsample0_conv", order)
            self.register_buffer("mean", torch.tensor(DIV2K_MEAN).reshape(1, 3, 1, 1))

        def forward(self, x):
            x = self.head((x - self.mean.float()).to(self.head.weight.dtype))
            x = x + self.body(self.blocks(x))
            x = nn.functional.pixel_shuffle(self.upsample(x), shuffle)
            return self.tail(x).float() + self.mean.float()

    return Edsr().to(memory_format=torch.channels_last)


def torch_inference(model, image, precision, threads):
    """A function without arguments that runs PyTorch on one image.

    Args:
        model: a zoo EDSR of float32.
        image: float32 (H, W, 3).
        precision: float32 or bfloat16 (weights and activations).
        threads: how many it may use.

    Returns:
        function to float32 (H*scale, W*scale, 3).
    """
    require("torch")
    import torch

    torch.set_num_threads(threads)
    network = torch_edsr(model).eval()
    if precision == "bfloat16":
        network = network.to(torch.bfloat16)
    x = torch.from_numpy(_nchw(image)).to(memory_format=torch.channels_last)

    def run():
        with torch.inference_mode():
            return _hwc(network(x).numpy())

    return run


def torch_training(model, batch, learning_rate, precision, threads):
    """A function without arguments that takes one step of Adam on the L1 loss in PyTorch.

    Args:
        model: a zoo EDSR with the weights to start from.
        batch: (lr, hr) uint8 patches, NHWC.
        learning_rate: of Adam(.9, .999, 1e-8).
        precision: float32, or bfloat16 by autocast (float32 weights).
        threads: how many it may use.

    Returns:
        function to the loss before the step.
    """
    require("torch")
    import torch

    torch.set_num_threads(threads)
    network = torch_edsr(model).train()
    optimizer = torch.optim.Adam(network.parameters(), learning_rate, eps=1e-8)
    lr, hr = (torch.from_numpy(part).permute(0, 3, 1, 2) for part in batch)
    autocast = precision == "bfloat16"

    def run():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            sr = network(lr.float())
        loss = torch.nn.functional.l1_loss(sr, hr.float())
        loss.backward()
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
    # Threads that spin after a run would take time from the engine that is measured next.
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
        torch.onnx.export(torch_edsr(model).eval(), (x,), target, dynamo=False,
                          input_names=["lr"], output_names=["sr"], opset_version=17)
    return target.getvalue()


INFERENCE = {"torch": torch_inference, "onnxruntime": onnxruntime_inference,
             "openvino": openvino_inference}


def _nchw(image):
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None])


def _hwc(output):
    return output[0].transpose(1, 2, 0)
