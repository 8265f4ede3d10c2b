"""The zoo's networks written in plain PyTorch, for `scripts.benchmark` to compare with."""

import json

import numpy as np


def torch_network(model):
    """A zoo model as a PyTorch module with the same weights.

    Args:
        model: a model of `models.create`: "edsr" of one upsampling stage and res_scale 1, "bsrn" of
            scale 2 or 3 and output_every 1, or "esrgan" of scale 4.

    Returns:
        a module in the channels_last memory format: RGB (N, 3, H, W) in [0, 255] to
        (N, 3, H*scale, W*scale), both float32. Its method `images` gives what training compares
        with the truth, a list of such images.
    """
    import torch

    metadata = json.loads(model.zoo_metadata)
    make = {"edsr": _edsr, "bsrn": _bsrn, "esrgan": _esrgan}[metadata["model"]]
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


def _esrgan(model, scale, options):
    import torch
    from torch import nn
    from torch.nn.functional import interpolate, leaky_relu

    def lrelu(x):
        return leaky_relu(x, 0.2, inplace=True)

    class DenseBlock(nn.Module):
        def __init__(self, name):
            super().__init__()
            self.convs = nn.ModuleList(_conv(model, f"{name}_conv{k}") for k in range(1, 6))

        def forward(self, x):
            features = x
            for conv in self.convs[:4]:
                features = torch.cat([features, lrelu(conv(features))], 1)
            return torch.add(x, self.convs[4](features), alpha=0.2)

    class Rrdb(nn.Module):
        def __init__(self, index):
            super().__init__()
            names = (f"block{index}_dense{j}" for j in (1, 2, 3))
            self.blocks = nn.Sequential(*map(DenseBlock, names))

        def forward(self, x):
            return torch.add(x, self.blocks(x), alpha=0.2)

    class RrdbNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.body, self.hr, self.tail = (
                _conv(model, name) for name in ("head", "body", "hr_conv", "tail"))
            self.blocks = nn.Sequential(*map(Rrdb, range(options["num_blocks"])))
            self.upsample = nn.ModuleList(_conv(model, f"upsample{i}_conv") for i in range(2))

        def forward(self, x):
            x = self.head((x / 255).to(self.head.weight.dtype))
            x = x + self.body(self.blocks(x))
            for conv in self.upsample:
                x = lrelu(conv(interpolate(x, scale_factor=2, mode="nearest")))
            return self.tail(lrelu(self.hr(x))).float() * 255

        def images(self, x):
            return [self(x)]

    return RrdbNet()


def torch_chain(model):
    """A Keras model of one layer after the other as a PyTorch module with the same weights.

    Args:
        model: the VGG-style discriminator, or `common.training.vgg.build` of one layer.

    Returns:
        a module in the channels_last memory format: RGB (N, 3, H, W) in [0, 255] to what the model
        gives, channels first.
    """
    import torch
    from torch import nn

    class ShiftScale(nn.Module):
        def __init__(self, layer):
            super().__init__()
            shift = torch.tensor(layer.shift)
            self.shift, self.scale = shift.reshape(-1, 1, 1) if shift.ndim else shift, layer.scale

        def forward(self, x):
            return (x.float() + self.shift) * self.scale

    make = {"ShiftScale": ShiftScale,
            "Conv2D": lambda layer: _conv(model, layer.name, stride=layer.strides[0]),
            "BatchNormalization": _batch_norm,
            "ReLU": lambda layer: nn.ReLU(inplace=True),
            "LeakyReLU": lambda layer: nn.LeakyReLU(0.2, inplace=True),
            "MaxPooling2D": lambda layer: nn.MaxPool2d(2),
            "Flatten": lambda layer: nn.Flatten()}
    layers, channels = [], None
    for layer in model.layers[1:]:
        kind = type(layer).__name__
        if kind == "Dense":
            layers.append(_linear(layer, channels if isinstance(layers[-1], nn.Flatten) else 1))
            continue
        layers.append(make[kind](layer))
        channels = getattr(layer, "filters", channels)
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def _batch_norm(layer):
    import torch

    gamma, beta, mean, variance = map(torch.from_numpy, layer.get_weights())
    copy = torch.nn.BatchNorm2d(len(gamma), eps=layer.epsilon, momentum=1 - layer.momentum)
    copy.load_state_dict({"weight": gamma, "bias": beta, "running_mean": mean,
                          "running_var": variance}, strict=False)
    return copy


def _linear(layer, channels):
    """A dense layer; `channels`: of the square map that was flattened before it, else 1."""
    import torch

    kernel, bias = layer.get_weights()
    copy = torch.nn.Linear(*kernel.shape)
    # PyTorch flattens a feature's pixels one after the other, TensorFlow the features of a pixel.
    kernel = kernel.reshape(-1, channels, len(bias)).transpose(2, 1, 0).reshape(len(bias), -1)
    copy.weight.data = torch.from_numpy(kernel.copy())
    copy.bias.data = torch.from_numpy(bias)
    return copy


def _conv(model, name, shuffle=1, stride=1):
    """The convolution of that name; `shuffle`: block of the pixel shuffle that follows it."""
    import torch

    kernel, *bias = model.get_layer(name).get_weights()
    # PyTorch's pixel shuffle takes a feature's pixels one after the other, TensorFlow's the
    # features of a pixel.
    order = np.arange(kernel.shape[3]).reshape(shuffle**2, -1).T.ravel()
    layer = torch.nn.Conv2d(*kernel.shape[2:], kernel.shape[0], stride, padding=1, bias=bool(bias))
    layer.weight.data = torch.from_numpy(kernel[..., order].transpose(3, 2, 0, 1).copy())
    if bias:
        layer.bias.data = torch.from_numpy(bias[0][order].copy())
    return layer
