"""Generators of PyTorch, PaddleGAN and Keras-SRGAN: the zoo's answer against NumPy or PyTorch.

The files are written here under every naming, with random weights. What a network does is said once
in terms of a few operations, which NumPy and PyTorch both have.
"""

import json
import pickle
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

import models
from common.cli import UserError
from models.convert import convert
from scripts.convert_weights import main

BLOCKS, FILTERS, GROWTH = 2, 6, 4


class NumpyOps:
    """The operations on (C, H, W) in float64, channels ordered as PyTorch orders them."""

    @staticmethod
    def conv(x, weight, bias):
        n = weight.shape[-1]
        height, width = x.shape[1:]
        x = np.pad(x, ((0, 0), (n // 2, n // 2), (n // 2, n // 2)), "constant")
        return bias[:, None, None] + sum(
            np.einsum("oi,ihw->ohw", weight[:, :, i, j], x[:, i:i + height, j:j + width])
            for i in range(n) for j in range(n))

    @staticmethod
    def leaky(x, slope):
        return np.where(x > 0, x, slope * x)

    @staticmethod
    def repeat(x):
        return x.repeat(2, 1).repeat(2, 2)

    @staticmethod
    def unshuffle(x, n):
        _, height, width = x.shape
        x = x.reshape(3, height // n, n, width // n, n).transpose(0, 2, 4, 1, 3)
        return x.reshape(-1, height // n, width // n)

    cat = staticmethod(np.concatenate)

    @staticmethod
    def run(network, state, image):
        x = image.astype("float64").transpose(2, 0, 1)
        return network(NumpyOps, state, x).transpose(1, 2, 0)


def torch_ops():
    """PyTorch's own."""
    import torch
    from torch.nn import functional

    def run(network, state, image):
        state = {name: torch.from_numpy(array) for name, array in state.items()}
        with torch.no_grad():
            x = torch.from_numpy(image.transpose(2, 0, 1).copy())
            return network(ops, state, x).numpy().transpose(1, 2, 0)

    def norm(x, weight, bias, mean, variance):
        return functional.batch_norm(x[None], mean, variance, weight, bias)[0]

    def conv(x, weight, bias):
        return functional.conv2d(x[None], weight, bias, padding=weight.shape[-1] // 2)[0]

    def bilinear(x, scale):
        return functional.interpolate(x[None], scale_factor=scale, mode="bilinear")[0]

    ops = SimpleNamespace(
        run=run, norm=norm, conv=conv, bilinear=bilinear, cat=torch.cat,
        leaky=functional.leaky_relu, shuffle=functional.pixel_shuffle,
        unshuffle=functional.pixel_unshuffle,
        prelu=lambda x, alpha: functional.prelu(x[None], alpha)[0],
        repeat=lambda x: functional.interpolate(x[None], scale_factor=2, mode="nearest")[0])
    return ops


# ---- the networks, under BasicSR's and leftthomas' names ---------------------------------------

def rrdbnet(scale):
    def network(ops, state, image):
        def conv(x, name):
            return ops.conv(x, state[f"{name}.weight"], state[f"{name}.bias"])

        def dense(x, name):
            parts = [x]
            for k in range(1, 5):
                parts.append(ops.leaky(conv(ops.cat(parts), f"{name}.conv{k}"), 0.2))
            return x + 0.2 * conv(ops.cat(parts), f"{name}.conv5")

        x = image / 255
        x = head = conv(ops.unshuffle(x, 4 // scale) if scale < 4 else x, "conv_first")
        for i in range(BLOCKS):
            y = x
            for j in (1, 2, 3):
                y = dense(y, f"body.{i}.rdb{j}")
            x = x + 0.2 * y
        x = head + conv(x, "conv_body")
        for name in ("conv_up1", "conv_up2"):
            x = ops.leaky(conv(ops.repeat(x), name), 0.2)
        return 255 * conv(ops.leaky(conv(x, "conv_hr"), 0.2), "conv_last")
    return network


def msrresnet(scale):
    def network(ops, state, image):
        def conv(x, name):
            return ops.conv(x, state[f"{name}.weight"], state[f"{name}.bias"])

        image = image / 255
        x = ops.leaky(conv(image, "conv_first"), 0.1)
        for i in range(BLOCKS):
            x = x + conv(ops.leaky(conv(x, f"body.{i}.conv1"), 0), f"body.{i}.conv2")
        for i, stage in enumerate(STAGES[scale], 1):
            x = ops.leaky(ops.shuffle(conv(x, f"upconv{i}"), stage), 0.1)
        x = conv(ops.leaky(conv(x, "conv_hr"), 0.1), "conv_last")
        return 255 * (x + ops.bilinear(image, scale))
    return network


def srresnet(scale):
    def network(ops, state, image):
        def conv(x, name):
            return ops.conv(x, state[f"{name}.weight"], state[f"{name}.bias"])

        def norm(x, name):
            return ops.norm(x, *(state[f"{name}.{part}"] for part in
                                 ("weight", "bias", "running_mean", "running_var")))

        def prelu(x, name):
            return ops.prelu(x, state[f"{name}.weight"])

        x = head = prelu(conv(image / 255, "block1.0"), "block1.1")
        for name in (f"block{i + 2}" for i in range(BLOCKS)):
            y = prelu(norm(conv(x, f"{name}.conv1"), f"{name}.bn1"), f"{name}.prelu")
            x = x + norm(conv(y, f"{name}.conv2"), f"{name}.bn2")
        body, last = f"block{BLOCKS + 2}", f"block{BLOCKS + 3}"
        x = head + norm(conv(x, f"{body}.0"), f"{body}.1")
        stages = len(STAGES[scale])
        for i in range(stages):
            x = prelu(ops.shuffle(conv(x, f"{last}.{i}.conv"), 2), f"{last}.{i}.prelu")
        return 255 * (conv(x, f"{last}.{stages}").tanh() + 1) / 2
    return network


STAGES = {2: (2,), 3: (3,), 4: (2, 2)}


# ---- their states ------------------------------------------------------------------------------

def random_state(shapes):
    """Weights and biases of convolutions, for `{name: (O, I, side)}`."""
    random, state = np.random.RandomState(0), {}
    for name, shape in shapes.items():
        out, fan_in = shape[0], np.prod(shape[1:]) * shape[-1]
        state[f"{name}.weight"] = random.normal(0, 0.8 / fan_in**0.5,
                                                (*shape[:2], shape[2], shape[2]))
        state[f"{name}.bias"] = random.normal(0, 0.1, out)
    return {name: array.astype("float32") for name, array in state.items()}


def rrdbnet_state(scale=4):
    shapes = {"conv_first": (FILTERS, 3 * (4 // scale)**2, 3)}
    for name in (f"body.{i}.rdb{j}.conv" for i in range(BLOCKS) for j in (1, 2, 3)):
        for k in range(1, 6):
            shapes[f"{name}{k}"] = (FILTERS if k == 5 else GROWTH, FILTERS + (k - 1) * GROWTH, 3)
    for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last"):
        shapes[name] = (3 if name == "conv_last" else FILTERS, FILTERS, 3)
    return random_state(shapes)


def msrresnet_state(scale):
    shapes = {"conv_first": (FILTERS, 3, 3)}
    shapes.update({f"body.{i}.conv{k}": (FILTERS, FILTERS, 3) for i in range(BLOCKS)
                   for k in (1, 2)})
    shapes.update({f"upconv{i}": (FILTERS * stage**2, FILTERS, 3)
                   for i, stage in enumerate(STAGES[scale], 1)})
    shapes.update({"conv_hr": (FILTERS, FILTERS, 3), "conv_last": (3, FILTERS, 3)})
    return random_state(shapes)


def srresnet_state(scale):
    body, last = f"block{BLOCKS + 2}", f"block{BLOCKS + 3}"
    stages = len(STAGES[scale])
    blocks = [f"block{i + 2}" for i in range(BLOCKS)]
    shapes = {"block1.0": (FILTERS, 3, 9), f"{body}.0": (FILTERS, FILTERS, 3),
              f"{last}.{stages}": (3, FILTERS, 9)}
    shapes.update({f"{name}.conv{k}": (FILTERS, FILTERS, 3) for name in blocks for k in (1, 2)})
    shapes.update({f"{last}.{i}.conv": (FILTERS * 4, FILTERS, 3) for i in range(stages)})
    state, random = random_state(shapes), np.random.RandomState(1)
    for name in [f"{body}.1", *(f"{name}.bn{k}" for name in blocks for k in (1, 2))]:
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"{name}.{part}"] = random.uniform(0.2, 1, FILTERS).astype("float32")
        state[f"{name}.num_batches_tracked"] = np.array(7)
    for name in ["block1.1", *(f"{name}.prelu" for name in blocks),
                 *(f"{last}.{i}.prelu" for i in range(stages))]:
        state[f"{name}.weight"] = random.uniform(0.1, 0.5, 1).astype("float32")
    return state


def renamed(state, *changes):
    for old, new in changes:
        state = {name.replace(old, new) if old else new + name: array
                 for name, array in state.items()}
    return state


def second_names(state):
    """ESRGAN's and PaddleGAN's of 2019."""
    return renamed(state, ("conv_body", "trunk_conv"), ("body.", "RRDB_trunk."), ("rdb", "RDB"),
                   ("conv_up", "upconv"), ("conv_hr", "HRconv"))


def first_names(state):
    """ESRGAN's of 2018, which its released weights had."""
    inner = {name: array for name, array in state.items() if name.startswith("body.")}
    inner = {f"{name.rpartition('.')[0]}.0.{name.rpartition('.')[2]}": array
             for name, array in renamed(inner, ("body.", "model.1.sub."), ("rdb", "RDB")).items()}
    outer = {name: array for name, array in state.items() if not name.startswith("body.")}
    return {**inner, **renamed(outer, ("conv_first", "model.0"), ("conv_up1", "model.3"),
                               ("conv_body", f"model.1.sub.{BLOCKS}"), ("conv_up2", "model.6"),
                               ("conv_hr", "model.8"), ("conv_last", "model.10"))}


@pytest.fixture
def image():
    return np.random.RandomState(2).uniform(0, 255, (12, 8, 3)).astype("float32")


@pytest.fixture
def torch_file(torch, tmp_path):
    """Write a dict of arrays, or of such dicts, with PyTorch; its path."""
    def tensors(value):
        if isinstance(value, dict):
            return {name: tensors(item) for name, item in value.items()}
        return torch.from_numpy(value) if isinstance(value, np.ndarray) else value

    def write(content, **options):
        torch.save(tensors(content), str(tmp_path / "net.pth"), **options)
        return tmp_path / "net.pth"
    return write


@pytest.fixture
def paddle_file(tmp_path):
    def write(content, protocol=2):
        (tmp_path / "net.pdparams").write_bytes(pickle.dumps(content, protocol))
        return tmp_path / "net.pdparams"
    return write


def assert_gives(path, expected, image, options):
    model = models.load(path)
    assert json.loads(model.zoo_metadata)["options"] == options
    assert expected.std() > 5
    np.testing.assert_allclose(model(image[None]).numpy()[0], expected, atol=1e-3)


RRDBNET = {"num_blocks": BLOCKS, "num_filters": FILTERS, "num_growth": GROWTH}


# ---- esrgan ------------------------------------------------------------------------------------

@pytest.mark.parametrize("names, scale", [
    (dict, 4), (dict, 2), (dict, 1), (second_names, 4), (first_names, 2)])
def test_rrdbnet_of_pytorch(names, scale, image, torch_file, tmp_path):
    state = rrdbnet_state(scale)
    convert("esrgan", torch_file(names(state)), tmp_path / "out.h5")
    assert_gives(tmp_path / "out.h5", torch_ops().run(rrdbnet(scale), state, image), image, RRDBNET)


@pytest.mark.parametrize("scale, protocol", [(4, 2), (2, 4), (1, 2)])
def test_rrdbnet_of_paddlegan(scale, protocol, image, paddle_file, tmp_path):
    state = rrdbnet_state(scale)
    net = second_names(state)
    net["StructuredToParameterName@@"] = {name: f"conv2d_{i}.w_0" for i, name in enumerate(net)}
    source = paddle_file({"generator": net,
                          "discriminator": {"conv.weight": np.ones(3, "float32")},
                          "optimG": {"LR_Scheduler": {"last_lr": 1e-4}}, "epoch": 5}, protocol)
    convert("esrgan", source, tmp_path / "out.h5")
    assert_gives(tmp_path / "out.h5", NumpyOps.run(rrdbnet(scale), state, image), image, RRDBNET)


def test_averaged_weights_are_preferred_which_is_told(image, torch_file, tmp_path, capsys):
    state = rrdbnet_state()
    other = {name: array + 1 for name, array in state.items()}
    both = torch_file({"params": other, "params_ema": state})
    main(["--model", "esrgan", str(both), str(tmp_path / "out.h5")])
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"{both}: took params_ema, the averaged weights, and not params"
    assert told[1].startswith(f"{tmp_path / 'out.h5'}: esrgan x4, num_blocks 2, num_filters 6")
    expected = torch_ops().run(rrdbnet(4), state, image)
    assert_gives(tmp_path / "out.h5", expected, image, RRDBNET)
    main(["--model", "esrgan", str(torch_file({"params": state})), str(tmp_path / "out.h5")])
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert_gives(tmp_path / "out.h5", expected, image, RRDBNET)


def test_what_is_no_rrdbnet_of_the_zoo_is_told(paddle_file, tmp_path):
    def refuse(change, message, **options):
        state = second_names(rrdbnet_state())
        change(state)
        with pytest.raises(UserError, match=message):
            convert("esrgan", paddle_file(state), tmp_path / "out.h5", **options)
        assert not (tmp_path / "out.h5").exists()

    refuse(lambda s: None, "holds esrgan x4, not x2; correct --scale", scale=2)
    refuse(lambda s: s.pop("HRconv.bias"), "not of esrgan: it lacks HRconv.bias")
    refuse(lambda s: s.pop("conv_first.weight"), "it lacks conv_first.weight")
    refuse(lambda s: s.pop("upconv2.weight"), "does not enlarge in two steps")
    refuse(lambda s: s.update(extra=s["HRconv.bias"]), "it also has extra")
    refuse(lambda s: s.update({"conv_first.weight": np.ones((FILTERS, 4, 3, 3), "float32")}),
           "has 4 input channels; expected 3 .x4., 12 .x2. or 48 .x1.")
    refuse(lambda s: (s.clear(), s.update(a=np.ones(3))), "expected body.0.rdb1.* found a")
    refuse(lambda s: s.update({"RRDB_trunk.0.RDB1.conv2.bias": np.ones(5, "float32")}),
           "RRDB_trunk.0.RDB1.conv2 has arrays of")


# ---- srgan of PyTorch --------------------------------------------------------------------------

@pytest.mark.parametrize("scale, changes", [
    (2, ()), (3, ()), (4, (("body.", "recon_trunk."), ("conv_hr", "HRconv"))),
    (4, (("body.", "trunk_net."), ("upconv1", "upsample1.upsample_conv"),
         ("upconv2", "upsample2.upsample_conv"), ("", "generator.")))])  # mmagic's
def test_msrresnet_of_pytorch(changes, scale, image, torch_file, tmp_path):
    state = msrresnet_state(scale)
    convert("srgan", torch_file({"params": renamed(state, *changes)}), tmp_path / "out.h5")
    assert_gives(tmp_path / "out.h5", torch_ops().run(msrresnet(scale), state, image), image,
                 {"variant": "msrresnet", "num_blocks": BLOCKS, "num_filters": FILTERS})


@pytest.mark.parametrize("scale", [2, 4])
def test_srresnet_of_pytorch(scale, image, torch_file, tmp_path):
    state = srresnet_state(scale)
    source = torch_file(state, _use_new_zipfile_serialization=False)  # as the released files
    convert("srgan", source, tmp_path / "out.h5")
    assert_gives(tmp_path / "out.h5", torch_ops().run(srresnet(scale), state, image), image,
                 {"variant": "srresnet", "num_blocks": BLOCKS, "num_filters": FILTERS})


def test_what_is_no_generator_of_the_zoo_is_told(torch_file, tmp_path):
    def refuse(state, message, **options):
        with pytest.raises(UserError, match=message):
            convert("srgan", torch_file(state), tmp_path / "out.h5", **options)
        assert not (tmp_path / "out.h5").exists()

    refuse(msrresnet_state(3), "holds srgan x3, not x2; correct --scale", scale=2)
    refuse(rrdbnet_state(), "not of srgan: expected body.0.conv1.weight")
    refuse({"conv_input.weight": np.ones(3)}, "expected body.0.conv1.weight, .* found conv_inp")
    state = srresnet_state(2)
    state["block1.1.weight"] = np.ones(2)
    refuse(state, r"block1.1 has an array of shape \(2,\)")
    state = srresnet_state(2)
    del state[f"block{BLOCKS + 2}.1.bias"]
    refuse(state, "block4 does not end in batch normalisation.*before May 2019")


# ---- srgan of Keras ----------------------------------------------------------------------------

def keras_file(path, stages=2, first=1, outer=None, more=()):
    """Keras-SRGAN's generator as Keras 2.2.4 writes it with its optimizer; the arrays in order.

    Args:
        path: of the file.
        first: number of its first layers of each kind; 0: they have none, as in a new session of
            later versions.
        outer: name of a layer that has the whole as a model within the model.
        more: layers beside these, as (kind, shapes).
    """
    layers = [("conv2d", [(9, 9, 3, FILTERS), (FILTERS,)]), ("p_re_lu", [(1, 1, FILTERS)])]
    conv = ("conv2d", [(3, 3, FILTERS, FILTERS), (FILTERS,)])
    norm = ("batch_normalization", [(FILTERS,)] * 4)
    for _ in range(6):  # more than ten convolutions, so that names do not sort as numbers do
        layers += [conv, norm, layers[1], conv, norm]
    layers += [conv, norm]
    for i in range(stages):
        inputs = FILTERS * 4 if i else FILTERS
        layers.append(("conv2d", [(3, 3, inputs, FILTERS * 4), (FILTERS * 4,)]))
    layers += [("conv2d", [(9, 9, FILTERS * 4, 3), (3,)]), *more]
    parts = {"conv2d": ("kernel", "bias"), "p_re_lu": ("alpha",), "dense": ("kernel", "bias"),
             "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance")}
    random, numbers, arrays = np.random.RandomState(3), {}, []
    with h5py.File(str(path), "w") as file:
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = np.array([], "S1")
        file.create_group("optimizer_weights").attrs["weight_names"] = np.array([b"Adam/m:0"])
        file["optimizer_weights/Adam/m:0"] = np.ones(3)
        for kind, shapes in layers:
            number = numbers[kind] = numbers.get(kind, first - 1) + 1
            name = f"{kind}_{number}" if number else kind
            group = root.require_group(outer or name)
            names = [f"{name}/{part}:0" for part in parts[kind]]
            given = []
            for part, shape, weight in zip(parts[kind], shapes, names):
                scale = 0.8 / np.prod(shape[:3])**0.5
                array = (random.normal(0, scale, shape) if part == "kernel"
                         else random.uniform(0.1, 0.5, shape)).astype("float32")
                group[weight] = array
                given.append(array)
            group.attrs["weight_names"] = np.array(
                [*(n.decode() for n in group.attrs.get("weight_names", ())), *names], "S")
            arrays.append(given)
    return arrays


def keras_srgan(arrays, stages, image):
    """Its answer to an image in [0, 255], trained as it is on LR and HR images in [-1, 1]."""
    def conv(x):
        kernel, bias = next(layers)
        return NumpyOps.conv(x, kernel.transpose(3, 2, 0, 1).astype("float64"), bias)

    def norm(x):
        gamma, beta, mean, variance = (a[:, None, None] for a in next(layers))
        return gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta

    def prelu(x):
        (alpha,) = next(layers)
        return np.where(x > 0, x, alpha.reshape(-1, 1, 1) * x)

    layers = iter(arrays)
    x = head = prelu(conv((image.astype("float64") / 127.5 - 1).transpose(2, 0, 1)))
    for _ in range(6):
        x = x + norm(conv(prelu(norm(conv(x)))))
    x = head + norm(conv(x))
    for _ in range(stages):
        x = NumpyOps.leaky(NumpyOps.repeat(conv(x)), 0.2)
    return (np.tanh(conv(x)) + 1).transpose(1, 2, 0) * 127.5


@pytest.mark.parametrize("stages, first, outer", [(2, 1, None), (1, 0, None), (2, 18, "model_1")])
def test_the_generator_of_keras_srgan(stages, first, outer, image, tmp_path):
    arrays = keras_file(tmp_path / "gen_model3000.h5", stages, first, outer)
    convert("srgan", tmp_path / "gen_model3000.h5", tmp_path / "out.h5")
    assert models.load(tmp_path / "out.h5", scale=2**stages)
    assert_gives(tmp_path / "out.h5", keras_srgan(arrays, stages, image), image,
                 {"variant": "keras", "num_blocks": 6, "num_filters": FILTERS})


def test_other_keras_files_are_told(tmp_path):
    keras_file(tmp_path / "a.h5", more=[("dense", [(4, 1), (1,)])])
    with pytest.raises(UserError, match="dense_1 is neither a convolution with a bias nor"):
        convert("srgan", tmp_path / "a.h5", tmp_path / "out.h5")
    keras_file(tmp_path / "b.h5", more=[("p_re_lu", [(1, 1, FILTERS)])])
    with pytest.raises(UserError, match="has 17 convolutions, 13 batch normalisations and 8 PReLU"):
        convert("srgan", tmp_path / "b.h5", tmp_path / "out.h5")
