"""EDSR of PyTorch: against NumPy on both stacks, against PyTorch where there is one."""

import json

import numpy as np
import pytest

import models
from common.cli import UserError
from common.nn.keras_compat import keras, set_seed
from common.nn.layers import DepthToSpace
from scripts.convert_weights import convert

MEAN = np.array([0.4488, 0.4371, 0.4040]) * 255
BLOCKS, FEATURES, RES_SCALE = 2, 8, 0.3
STAGES = {2: [2], 3: [3], 4: [2, 2]}


def edsr_pytorch_keys(stages):
    """Layer -> key, as EDSR-PyTorch names them."""
    keys = {"head": "head.0", "body": f"body.{BLOCKS}", "tail": "tail.1"}
    for i in range(BLOCKS):
        keys[f"block{i}a"], keys[f"block{i}b"] = f"body.{i}.body.0", f"body.{i}.body.2"
    keys.update({f"up{i}": f"tail.0.{2 * i}" for i in range(len(stages))})
    return keys


def basicsr_keys(stages):
    """Layer -> key, as BasicSR names them."""
    keys = {"head": "conv_first", "body": "conv_after_body", "tail": "conv_last"}
    for i in range(BLOCKS):
        keys[f"block{i}a"], keys[f"block{i}b"] = f"body.{i}.conv1", f"body.{i}.conv2"
    keys.update({f"up{i}": f"upsample.{2 * i}" for i in range(len(stages))})
    return keys


def random_layers(stages):
    """Weights (O, I, 3, 3) and biases in PyTorch's order."""
    shapes = {"head": (3, FEATURES), "body": (FEATURES, FEATURES), "tail": (FEATURES, 3)}
    shapes.update({f"block{i}{part}": (FEATURES, FEATURES)
                   for i in range(BLOCKS) for part in "ab"})
    shapes.update({f"up{i}": (FEATURES, FEATURES * stage**2) for i, stage in enumerate(stages)})
    random = np.random.RandomState(0)
    return {name: (random.normal(0, 0.12, (n, m, 3, 3)).astype("float32"),
                   random.normal(0, 1, n).astype("float32")) for name, (m, n) in shapes.items()}


def numpy_edsr(layers, stages, image):
    """EDSR on an image (H, W, 3) in 0..255, with channels first and PyTorch's pixel shuffle."""
    def conv(x, name):
        weight, bias = layers[name]
        height, width = x.shape[1:]
        x = np.pad(x, ((0, 0), (1, 1), (1, 1)), "constant")
        return bias[:, None, None] + sum(
            np.einsum("oi,ihw->ohw", weight[:, :, i, j].astype("float64"),
                      x[:, i:i + height, j:j + width]) for i in range(3) for j in range(3))

    x = head = conv((image - MEAN).transpose(2, 0, 1), "head")
    for i in range(BLOCKS):
        x = x + RES_SCALE * conv(np.maximum(conv(x, f"block{i}a"), 0), f"block{i}b")
    x = head + conv(x, "body")
    for i, stage in enumerate(stages):
        x = conv(x, f"up{i}")
        _, height, width = x.shape
        x = x.reshape(-1, stage, stage, height, width).transpose(0, 3, 1, 4, 2)
        x = x.reshape(-1, height * stage, width * stage)
    return conv(x, "tail").transpose(1, 2, 0) + MEAN


def state_of(layers, keys, mean_shift):
    """The state of a PyTorch network as arrays."""
    state = {f"{keys[name]}.{part}": array for name, pair in layers.items()
             for part, array in zip(("weight", "bias"), pair)}
    if mean_shift:
        for name, sign in (("sub_mean", -1), ("add_mean", 1)):
            state[f"{name}.weight"] = np.eye(3, dtype="float32")[..., None, None]
            state[f"{name}.bias"] = (sign * MEAN).astype("float32")
    return state


@pytest.fixture
def image():
    return np.random.RandomState(1).uniform(0, 255, (11, 7, 3)).astype("float32")


@pytest.fixture
def without_torch(tmp_path):
    """Write arrays as a safetensors file, which needs no PyTorch; its path."""
    def write(state):
        header, data = {}, b""
        for name, array in state.items():
            header[name] = {"dtype": "F32", "shape": array.shape,
                            "data_offsets": [len(data), len(data) + array.nbytes]}
            data += array.astype("f4").tobytes()
        text = json.dumps(header).encode()
        path = tmp_path / "edsr.safetensors"
        path.write_bytes(len(text).to_bytes(8, "little") + text + data)
        return path
    return write


@pytest.mark.parametrize("scale", STAGES)
@pytest.mark.parametrize("keys, mean_shift", [(edsr_pytorch_keys, True), (basicsr_keys, False)])
def test_converted_weights_give_the_same_image(keys, mean_shift, scale, image, without_torch,
                                               tmp_path):
    layers = random_layers(STAGES[scale])
    source = without_torch(state_of(layers, keys(STAGES[scale]), mean_shift))
    convert("edsr", source, tmp_path / "edsr.h5", res_scale=RES_SCALE)
    model = models.load(tmp_path / "edsr.h5", scale)
    assert json.loads(model.zoo_metadata)["options"] == {
        "num_blocks": BLOCKS, "num_filters": FEATURES, "res_scale": RES_SCALE}
    expected = numpy_edsr(layers, STAGES[scale], image)
    np.testing.assert_allclose(model(image[None]).numpy()[0], expected, atol=1e-3)


@pytest.mark.parametrize("scale", STAGES)
def test_mmagics_weights_give_the_same_image(scale, image, without_torch, tmp_path):
    layers = random_layers(STAGES[scale])
    keys = {**basicsr_keys(STAGES[scale]),
            **{f"up{i}": f"upsample.{i}.upsample_conv" for i in range(len(STAGES[scale]))}}
    state = state_of(layers, keys, False)
    state["conv_first.weight"] = state["conv_first.weight"] * 255  # its images are in 0..1
    for part in ("weight", "bias"):
        state[f"conv_last.{part}"] = state[f"conv_last.{part}"] / 255
    convert("edsr", without_torch(state), tmp_path / "edsr.h5", res_scale=RES_SCALE)
    expected = numpy_edsr(layers, STAGES[scale], image)
    model = models.load(tmp_path / "edsr.h5", scale)
    np.testing.assert_allclose(model(image[None]).numpy()[0], expected, atol=1e-3)


def krasserm_edsr(scale):
    """The network as krasserm's super-resolution builds it, without the mean and its 127.5."""
    layers, numbers = keras.layers, iter(range(7, 20))  # as if others had been built before

    def conv(filters, name=None, **kwargs):
        return layers.Conv2D(filters, 3, padding="same", name=name or f"conv2d_{next(numbers)}",
                             bias_initializer="random_normal", **kwargs)

    lr = keras.Input((None, None, 3))
    x = b = conv(FEATURES)(lr)
    for _ in range(BLOCKS):
        inner = conv(FEATURES, activation="relu")(b)
        b = layers.Add()([b, conv(FEATURES)(inner)])
    x = layers.Add()([x, conv(FEATURES)(b)])
    for i, stage in enumerate(STAGES[scale], 1):
        x = conv(FEATURES * stage**2, f"conv2d_{i}_scale_{stage}")(x)
        x = DepthToSpace(stage)(x)
    return keras.Model(lr, conv(3)(x))


@pytest.mark.parametrize("scale", STAGES)
def test_krasserms_weights_give_the_same_image(scale, image, tmp_path):
    set_seed(0)
    theirs = krasserm_edsr(scale)
    theirs.save(str(tmp_path / "weights.h5"))
    convert("edsr", tmp_path / "weights.h5", tmp_path / "edsr.h5")
    model = models.load(tmp_path / "edsr.h5", scale)
    assert json.loads(model.zoo_metadata)["options"] == {
        "num_blocks": BLOCKS, "num_filters": FEATURES, "res_scale": 1}
    normal = ((image - MEAN) / 127.5).astype("float32")
    expected = theirs(normal[None]).numpy()[0] * 127.5 + MEAN
    np.testing.assert_allclose(model(image[None]).numpy()[0], expected, atol=1e-3)


def test_what_does_not_fit_is_told(without_torch, tmp_path):
    def refuse(change, message, **options):
        state = state_of(random_layers([2]), edsr_pytorch_keys([2]), True)
        change(state)
        with pytest.raises(UserError, match=message):
            convert("edsr", without_torch(state), tmp_path / "out.h5", **options)
        assert not (tmp_path / "out.h5").exists()

    refuse(lambda s: None, "holds edsr x2, not x3", scale=3)
    refuse(lambda s: s.pop("tail.1.bias"), "not of edsr: it lacks tail.1.bias")
    refuse(lambda s: s.update(extra=s["tail.1.bias"]), "not of edsr: it also has extra")
    refuse(lambda s: s.update({"sub_mean.bias": s["sub_mean.bias"] / 255}), "sub_mean shifts by")
    refuse(lambda s: (s.clear(), s.update(a=np.ones(3, "f4"))), "expected head.0.weight .* found a")
    refuse(lambda s: None, "edsr has no option 'res_scal' .did you mean 'res_scale'", res_scal=1)


@pytest.mark.parametrize("features, res_scale", [(256, 0.1), (64, 1)])
def test_the_factor_of_the_residuals_is_the_papers(features, res_scale, without_torch, tmp_path,
                                                   monkeypatch):
    monkeypatch.setitem(globals(), "FEATURES", features)
    source = without_torch(state_of(random_layers([2]), basicsr_keys([2]), False))
    model = convert("edsr", source, tmp_path / "edsr.h5")
    assert json.loads(model.zoo_metadata)["options"]["res_scale"] == res_scale


# ---- PyTorch itself -----------------------------------------------------------------------------

def torch_edsr(torch, stages, basicsr):
    """EDSR with the attributes of EDSR-PyTorch (images in 0..255) or BasicSR (in 0..1)."""
    nn = torch.nn

    def conv(inputs, outputs):
        return nn.Conv2d(inputs, outputs, 3, padding=1)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            first, second = conv(FEATURES, FEATURES), conv(FEATURES, FEATURES)
            if basicsr:
                self.conv1, self.conv2 = first, second
            else:
                self.body = nn.Sequential(first, nn.ReLU(), second)

        def forward(self, x):
            y = self.conv2(torch.relu(self.conv1(x))) if basicsr else self.body(x)
            return x + y * RES_SCALE

    def mean_shift(sign):
        layer = nn.Conv2d(3, 3, 1)
        layer.weight.data = torch.eye(3)[..., None, None]
        layer.bias.data = sign * torch.tensor(MEAN).float()
        return layer

    class Edsr(nn.Module):
        def __init__(self):
            super().__init__()
            blocks = [Block() for _ in range(BLOCKS)]
            ups = [part for stage in stages for part in
                   (conv(FEATURES, FEATURES * stage**2), nn.PixelShuffle(stage))]
            head, body, tail = conv(3, FEATURES), conv(FEATURES, FEATURES), conv(FEATURES, 3)
            if basicsr:
                self.conv_first, self.conv_after_body, self.conv_last = head, body, tail
                self.body, self.upsample = nn.Sequential(*blocks), nn.Sequential(*ups)
            else:
                self.sub_mean, self.add_mean = mean_shift(-1), mean_shift(1)
                self.head, self.body = nn.Sequential(head), nn.Sequential(*blocks, body)
                self.tail = nn.Sequential(nn.Sequential(*ups), tail)

        def forward(self, x):
            if not basicsr:
                x = self.head(self.sub_mean(x))
                return self.add_mean(self.tail(x + self.body(x)))
            mean = torch.tensor(MEAN / 255).float().reshape(1, 3, 1, 1)
            x = self.conv_first((x - mean) * 255.0)
            x = self.conv_after_body(self.body(x)) + x
            return self.conv_last(self.upsample(x)) / 255.0 + mean

    torch.manual_seed(0)
    return Edsr()


@pytest.mark.parametrize("scale", STAGES)
@pytest.mark.parametrize("basicsr, wrap, options", [
    (False, lambda state: state, {}),
    (False, lambda state: {"state_dict": {f"module.{k}": v for k, v in state.items()}},
     {"_use_new_zipfile_serialization": False}),
    (True, lambda state: {"params": {k: v * 0 for k, v in state.items()}, "params_ema": state}, {}),
    (True, lambda state: {"params": state}, {}),
], ids=["EDSR-PyTorch", "old format", "params_ema", "params"])
def test_pytorch_files_give_what_pytorch_gives(torch, basicsr, wrap, options, scale, image,
                                               tmp_path):
    network = torch_edsr(torch, STAGES[scale], basicsr)
    torch.save(wrap(network.state_dict()), str(tmp_path / "edsr.bin"), **options)
    model = convert("edsr", tmp_path / "edsr.bin", tmp_path / "edsr.h5", res_scale=RES_SCALE)
    x = torch.from_numpy(image.transpose(2, 0, 1)[None])
    with torch.no_grad():
        expected = network(x / 255) * 255 if basicsr else network(x)
    np.testing.assert_allclose(model(image[None]).numpy()[0],
                               expected.numpy()[0].transpose(1, 2, 0), atol=1e-3)


def test_a_file_that_could_run_code_is_not_opened(torch, tmp_path):
    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "written"), "w")

    torch.save({"head.0.weight": Evil()}, str(tmp_path / "edsr.pt"))
    with pytest.raises(UserError, match="is not opened, since that could run code"):
        convert("edsr", tmp_path / "edsr.pt", tmp_path / "out.h5")
    assert not (tmp_path / "written").exists()
