"""SRResNet, its variants and SRGAN's discriminator against published counts and PyTorch."""

import numpy as np
import pytest

import models
from common.cli import UserError
from common.inference.upscaler import Upscaler
from common.nn.keras_compat import IS_KERAS_3, policy_scope, set_seed
from models.srgan import discriminator
from scripts.export import export

POLICIES = ["mixed_float16"] + ["mixed_bfloat16"] * IS_KERAS_3


def trainable_count(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_weights)


def randomise(model, gain=1.0):
    """Values for every array that change nothing's size much, so that no term can be left out."""
    rng = np.random.RandomState(3)
    for variable in model.weights:
        name, shape = getattr(variable, "path", variable.name), tuple(variable.shape)
        if len(shape) in (2, 4):
            value = gain * rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))
        elif "variance" in name or "gamma" in name:
            value = rng.uniform(0.5, 1.5, shape)
        else:
            value = rng.uniform(-0.3, 0.3, shape)
        variable.assign(value.astype("float32"))
    return model


class Reference:
    """Layers of a zoo model computed by PyTorch in float64, channels first."""

    def __init__(self, torch, model):
        self.functional = torch.nn.functional
        self.arrays = {layer.name: [torch.from_numpy(a.astype("float64"))
                                    for a in layer.get_weights()] for layer in model.layers}

    def conv(self, x, name, stride=1, padding=None, block=1):
        """`block`: of a pixel shuffle after it, whose channels PyTorch orders otherwise."""
        kernel, *bias = self.arrays[name]
        kernel = kernel.permute(3, 2, 0, 1)
        order = np.arange(len(kernel)).reshape(block**2, -1).T.ravel()
        if padding is None:
            padding = kernel.shape[-1] // 2
        return self.functional.conv2d(x, kernel[order], bias[0][order] if bias else None, stride,
                                      padding)

    def norm(self, x, name, eps=1e-5):
        gamma, beta, mean, variance = self.arrays[name]
        return self.functional.batch_norm(x, mean, variance, gamma, beta, eps=eps)

    def prelu(self, x, name):
        return self.functional.prelu(x, self.arrays[name][0].ravel())

    def trunk(self, x, num_blocks, eps=1e-5):
        x = head = self.prelu(self.conv(x, "head"), "head_prelu")
        for i in range(num_blocks):
            y = self.norm(self.conv(x, f"block{i}_conv1"), f"block{i}_bn1", eps)
            y = self.conv(self.prelu(y, f"block{i}_prelu"), f"block{i}_conv2")
            x = x + self.norm(y, f"block{i}_bn2", eps)
        return head + self.norm(self.conv(x, "body"), "body_bn", eps)


def channels_first(torch, image):
    return torch.from_numpy(image.astype("float64")).permute(0, 3, 1, 2)


def srresnet(net, image, scale, num_blocks):
    x = net.trunk(image / 255, num_blocks)
    for i, stage in enumerate({2: [2], 3: [3], 4: [2, 2]}[scale]):
        x = net.functional.pixel_shuffle(net.conv(x, f"upsample{i}_conv", block=stage), stage)
        x = net.prelu(x, f"upsample{i}_prelu")
    return (net.conv(x, "tail").tanh() + 1) * 127.5


def keras_srgan(net, image, scale, num_blocks):
    x = net.trunk(image / 127.5 - 1, num_blocks, eps=1e-3)
    for i in range(scale // 2):
        x = net.functional.interpolate(net.conv(x, f"upsample{i}_conv"), scale_factor=2)
        x = net.functional.leaky_relu(x, 0.2)
    return (net.conv(x, "tail").tanh() + 1) * 127.5


def msrresnet(net, image, scale, num_blocks):
    f = net.functional
    x = f.leaky_relu(net.conv(image / 255, "head"), 0.1)
    for i in range(num_blocks):
        x = x + net.conv(net.conv(x, f"block{i}_conv1").relu(), f"block{i}_conv2")
    for i, stage in enumerate({2: [2], 3: [3], 4: [2, 2]}[scale]):
        x = f.pixel_shuffle(net.conv(x, f"upsample{i}_conv", block=stage), stage)
        x = f.leaky_relu(x, 0.1)
    x = net.conv(f.leaky_relu(net.conv(x, "hr_conv"), 0.1), "tail")
    return 255 * (x + f.interpolate(image / 255, scale_factor=scale, mode="bilinear",
                                    align_corners=False))


@pytest.mark.parametrize("variant, count, trainable", [
    ("srresnet", 1_554_883, 1_550_659), ("msrresnet", 1_517_571, 1_517_571)])
def test_parameter_counts_at_x4(variant, count, trainable):
    model = models.create("srgan", 4, variant=variant)
    assert (model.count_params(), trainable_count(model)) == (count, trainable)


def test_parameter_count_of_the_discriminator():
    assert discriminator.build(96).count_params() == 23_569_217


@pytest.mark.parametrize("reference, variant, scale, num_blocks, gain", [
    (srresnet, "srresnet", 4, 16, 0.6), (srresnet, "srresnet", 2, 2, 0.6),
    (srresnet, "srresnet", 3, 2, 0.6), (keras_srgan, "keras", 4, 16, 0.6),
    (keras_srgan, "keras", 2, 2, 0.6), (msrresnet, "msrresnet", 4, 16, 0.7),
    (msrresnet, "msrresnet", 2, 2, 0.9), (msrresnet, "msrresnet", 3, 2, 0.9)])
def test_outputs_equal_pytorch(reference, variant, scale, num_blocks, gain, photo, torch):
    model = randomise(models.create("srgan", scale, variant=variant, num_blocks=num_blocks), gain)
    net = Reference(torch, model)
    lr = photo(17, 14)[None].astype("float32")
    expected = reference(net, channels_first(torch, lr), scale, num_blocks)
    expected = expected.permute(0, 2, 3, 1).numpy()
    sr = model(lr, training=False).numpy()
    assert expected.std() > 5 and sr.shape == expected.shape
    np.testing.assert_allclose(sr, expected, atol=1e-3)


def test_discriminator_equals_pytorch(photo, torch):
    """Strided layers of an even size look one pixel further down and right, as TensorFlow's do."""
    model = randomise(discriminator.build(32, num_filters=8), gain=1.4)
    net = Reference(torch, model)
    image = photo(64, 32).reshape(2, 32, 32, 3).astype("float32")
    f, x = net.functional, channels_first(torch, image) / 127.5 - 1
    for i in range(8):
        x = net.conv(f.pad(x, (0, 1, 0, 1)) if i % 2 else x, f"conv{i}", 1 + i % 2, 1 - i % 2)
        x = f.leaky_relu(net.norm(x, f"bn{i}") if i else x, 0.2)
    kernel, bias = net.arrays["dense"]
    x = f.leaky_relu(x.permute(0, 2, 3, 1).flatten(1) @ kernel + bias, 0.2)
    kernel, bias = net.arrays["logits"]
    expected = (x @ kernel + bias).numpy()
    assert expected.shape == (2, 1) and np.ptp(expected) > 0.01
    np.testing.assert_allclose(model(image, training=False), expected, atol=1e-4)


def test_statistics_follow_training_as_pytorch_counts_them(photo):
    """Momentum 0.9 is PyTorch's 0.1; Keras-SRGAN has 0.5."""
    image = photo(40, 60)[None].astype("float32")
    for variant, share in (("srresnet", 0.1), ("keras", 0.5)):
        set_seed(0)
        model = models.create("srgan", 2, variant=variant, num_blocks=1, num_filters=4)
        inner = type(model)(model.input, model.get_layer("block0_conv1").output)
        features = inner(image).numpy().reshape(-1, 4).astype("float64")
        model(image, training=True)
        _, _, mean, variance = model.get_layer("block0_bn1").get_weights()
        np.testing.assert_allclose(mean, share * features.mean(0), rtol=1e-3)
        np.testing.assert_allclose(variance, 1 - share + share * features.var(0), rtol=1e-3)


@pytest.mark.parametrize("variant, scale", [("keras", 2), ("keras", 4), ("msrresnet", 3)])
def test_variants_export_and_fit_together_from_tiles(variant, scale, photo, tmp_path):
    set_seed(0)
    model = randomise(models.create("srgan", scale, variant=variant, num_blocks=2, num_filters=8))
    assert max(export(model, "onnx", tmp_path / "model.onnx").values()) < 0.05
    lr = photo(61, 47)
    whole = Upscaler(model, tile=1000)(lr).astype(int)
    assert whole.std() > 5
    assert np.abs(whole - Upscaler(model, tile=25)(lr)).max() <= 1


@pytest.mark.parametrize("variant", ["srresnet", "keras", "msrresnet"])
@pytest.mark.parametrize("policy", POLICIES)
def test_mixed_precision_gives_nearly_the_same_image(variant, policy):
    options = {"variant": variant, "num_blocks": 3, "num_filters": 16}
    set_seed(0)
    plain = models.create("srgan", 4, **options)
    with policy_scope(policy):
        mixed = models.create("srgan", 4, **options)
    mixed.set_weights(plain.get_weights())
    assert mixed.get_layer("block1_conv2").compute_dtype != "float32"
    noise = 255 * np.random.RandomState(0).randint(0, 2, (1, 12, 10, 3)).astype("float32")
    np.testing.assert_allclose(mixed(noise), plain(noise), atol=2)
    sr = mixed(noise, training=True).numpy()
    assert sr.dtype == np.float32 and np.isfinite(sr).all()


@pytest.mark.parametrize("policy", POLICIES)
def test_mixed_precision_gives_float32_logits(policy):
    with policy_scope(policy):
        model = discriminator.build(32, num_filters=8)
    image = np.full((1, 32, 32, 3), 255, "float32")
    logits = model(image, training=True).numpy()
    assert logits.dtype == np.float32 and np.isfinite(logits).all()
    assert model.get_layer("conv1").compute_dtype != "float32"


def test_wrong_options_are_named():
    with pytest.raises(UserError, match="no variant 'srresne'.*srresnet"):
        models.create("srgan", 4, variant="srresne")
    with pytest.raises(UserError, match="scales 2 and 4, not 3"):
        models.create("srgan", 3, variant="keras")
