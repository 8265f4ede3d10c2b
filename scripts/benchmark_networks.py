"""The zoo's networks written in plain PyTorch, for `scripts.benchmark` to measure against."""

import json

import numpy as np


def torch_network(model):
    """A zoo model as a PyTorch module with the same weights.

    Args:
        model: a model of `models.create`: "edsr" of one upsampling stage and res_scale 1, or "bsrn"
            of scale 2 or 3 and output_every 1.

    Returns:
        a module in the channels_last memory format: RGB (N, 3, H, W) in [0, 255] to
        (N, 3, H*scale, W*scale), both float32. Its method `images` gives what training compares
        with the truth, a list of such images.
    """
    import torch

    metadata = json.loads(model.zoo_metadata)
    make = {"edsr": _edsr, "bsrn": _bsrn}[metadata["model"]]
    network = make(model, metadata["scale"], metadata["options"])
    return network.to(memory_format=torch.channels_last)


def _edsr(model, scale, options):
    import torch
    from torch import nn

    from models.edsr.network import DIV2K_MEAN

    class Block(nn.Module):
        def __init__(self, index):
            super().__init__()
            self.conv1 = _conv(model, f"block{index}_conv1")
            self.conv2 = _conv(model, f"block{index}_conv2")

        def forward(self, x):
            return x + self.conv2(torch.relu(self.conv1(x)))

    class Edsr(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.body, self.tail = (_conv(model, x) for x in ("head", "body", "tail"))
            self.blocks = nn.Sequential(*[Block(i) for i in range(options["num_blocks"])])
            self.upsample = _conv(model, "upsample0_conv", scale)
            self.register_buffer("mean", torch.tensor(DIV2K_MEAN).reshape(1, 3, 1, 1))

        def forward(self, x):
            x = self.head((x - self.mean.float()).to(self.head.weight.dtype))
            x = x + self.body(self.blocks(x))
            x = nn.functional.pixel_shuffle(self.upsample(x), scale)
            return self.tail(x).float() + self.mean.float()

        def images(self, x):
            return [self(x)]

    return Edsr()


def _bsrn(model, scale, options):
    import torch
    from torch import nn

    split = [options["num_features"], options["num_states"]]

    class Bsrn(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = _conv(model, "first_conv")
            self.module = nn.ModuleList(_conv(model, f"module_conv{i}") for i in (1, 2, 3))
            self.upsample = _conv(model, f"upscale_x{scale}_conv1", scale)
            self.last = _conv(model, f"last_conv_x{scale}")

        def images(self, x):
            x = self.first((x - 127.5).to(self.first.weight.dtype))
            state = torch.zeros_like(x[:, :1]).expand(-1, split[1], -1, -1)
            first, second, third = self.module
            found = []
            for _ in range(options["num_recursions"]):
                y = second(torch.relu(first(torch.cat([x, state], 1))))
                change, state = y.split(split, 1)
                x = x + change
                change, state = third(torch.cat([x, state], 1)).split(split, 1)
                x = x + change
                large = nn.functional.pixel_shuffle(torch.relu(self.upsample(x)), scale)
                found.append(self.last(large).float() + 127.5)
            return found

        def forward(self, x):
            found = self.images(x)
            return sum(2**i / (2**len(found) - 1) * image for i, image in enumerate(found))

    return Bsrn()


def _conv(model, name, shuffle=1):
    """The 3x3 convolution of that name; `shuffle`: block of the pixel shuffle that follows it."""
    import torch

    kernel, bias = model.get_layer(name).get_weights()
    # PyTorch's pixel shuffle takes a feature's pixels one after the other, TensorFlow's the
    # features of a pixel.
    order = np.arange(bias.size).reshape(shuffle**2, -1).T.ravel()
    layer = torch.nn.Conv2d(kernel.shape[2], kernel.shape[3], 3, padding=1)
    layer.weight.data = torch.from_numpy(kernel[..., order].transpose(3, 2, 0, 1).copy())
    layer.bias.data = torch.from_numpy(bias[order].copy())
    return layer
