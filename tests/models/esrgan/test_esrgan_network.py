"""RRDBNet and ESRGAN's discriminators against published counts and PyTorch.

The references are BasicSR's networks written with PyTorch's functions and BasicSR's names.
"""

import numpy as np
import pytest

import models
from common.cli import UserError
from common.inference.footprint import MAX_OVERLAP, footprint
from common.inference.upscaler import Upscaler
from common.nn.keras_compat import IS_KERAS_3, policy_scope, set_seed, tf
from common.training.gan_losses import gradient_penalty
from models.esrgan import discriminators

POLICIES = ["mixed_float16"] + ["mixed_bfloat16"] * IS_KERAS_3
SMALL = models.model("esrgan").small


def trainable_count(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_weights)


def randomise(model, gain=1.0):
    """Values for every array that change nothing's size much, so that no term can be left out."""
    rng = np.random.RandomState(3)
    for variable in model.weights:
        name, shape = getattr(variable, "path", variable.name), tuple(variable.shape)
        if "variance" in name or "gamma" in name:
            value = rng.uniform(0.5, 1.5, shape)
        elif len(shape) == 1:
            value = rng.uniform(-0.3, 0.3, shape)
        else:
            value = rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))
            value = value / np.linalg.norm(value) if shape[0] == 1 else value * gain
        variable.assign(value.astype("float32"))
    return model


def state(torch, model, names):
    """PyTorch's state dict of a zoo model: `names` are (zoo's layer, PyTorch's module)."""
    result = {}
    for ours, theirs in names:
        for name, array in zip(("weight", "bias"), model.get_layer(ours).get_weights()):
            if array.ndim == 4:
                array = array.transpose(3, 2, 0, 1)
            elif array.ndim == 2:
                array = array.T
            result[f"{theirs}.{name}"] = torch.from_numpy(array.astype("float64").copy())
    return result


def channels_first(torch, image):
    return torch.from_numpy(image.astype("float64")).permute(0, 3, 1, 2)


def rrdb_names(num_blocks):
    return [("head", "conv_first"), ("body", "conv_body"), ("upsample0_conv", "conv_up1"),
            ("upsample1_conv", "conv_up2"), ("hr_conv", "conv_hr"), ("tail", "conv_last"),
            *((f"block{i}_dense{j}_conv{k}", f"body.{i}.rdb{j}.conv{k}")
              for i in range(num_blocks) for j in range(1, 4) for k in range(1, 6))]


def rrdbnet(torch, weights, x, scale, num_blocks):
    """BasicSR's RRDBNet on (N, 3, H, W) in [0, 1]; H and W are multiples of the unshuffle."""
    f = torch.nn.functional

    def conv(x, name):
        return f.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)

    def dense(x, name):
        known = x
        for k in range(1, 5):
            known = torch.cat([known, f.leaky_relu(conv(known, f"{name}.conv{k}"), 0.2)], 1)
        return x + 0.2 * conv(known, f"{name}.conv5")

    x = conv(f.pixel_unshuffle(x, 4 // scale), "conv_first")
    y = x
    for i in range(num_blocks):
        z = y
        for j in range(1, 4):
            z = dense(z, f"body.{i}.rdb{j}")
        y = y + 0.2 * z
    x = x + conv(y, "conv_body")
    for name in ("conv_up1", "conv_up2"):
        x = f.leaky_relu(conv(f.interpolate(x, scale_factor=2, mode="nearest"), name), 0.2)
    return conv(f.leaky_relu(conv(x, "conv_hr"), 0.2), "conv_last")


def unshuffle_like_torch(weights, scale):
    """PyTorch's pixel unshuffle has the colours first, TensorFlow's has them last."""
    kernel = weights["conv_first.weight"]
    order = np.arange(kernel.shape[1]).reshape(-1, 3).T.ravel()
    return {**weights, "conv_first.weight": kernel[:, order]}


def test_parameter_counts():
    rrdb, vgg, unet = models.create("esrgan", 4), *(make(128) for make in (
        discriminators.vgg_style, discriminators.unet))
    assert rrdb.count_params() == trainable_count(rrdb) == 16_697_987
    assert (vgg.count_params(), trainable_count(vgg)) == (14_505_161, 14_499_401)
    assert trainable_count(unet) == 4_376_897
    assert unet.count_params() - trainable_count(unet) == 128 + 256 + 512 + 256 + 128 + 3 * 64


@pytest.mark.parametrize("scale, num_blocks, height, width, gain", [
    (4, 3, 9, 14, 0.8), (2, 3, 18, 14, 0.8), (1, 3, 20, 12, 0.8)])
def test_outputs_equal_pytorch(scale, num_blocks, height, width, gain, photo, torch):
    model = randomise(models.create("esrgan", scale, num_blocks=num_blocks), gain)
    weights = state(torch, model, rrdb_names(num_blocks))
    weights = unshuffle_like_torch(weights, scale)
    lr = photo(height, width)[None].astype("float32")
    expected = 255 * rrdbnet(torch, weights, channels_first(torch, lr) / 255, scale, num_blocks)
    sr = model(lr).numpy()
    assert sr.shape == (1, height * scale, width * scale, 3) and sr.std() > 10
    np.testing.assert_allclose(sr, expected.permute(0, 2, 3, 1).numpy(), atol=1e-3)


@pytest.mark.parametrize("scale", [1, 2])
def test_other_sizes_are_padded_with_their_edge(scale, photo):
    model, block = randomise(models.create("esrgan", scale, **SMALL)), 4 // scale
    lr = photo(21, 18)[None].astype("float32")
    padded = np.pad(lr, ((0, 0), (0, -21 % block), (0, -18 % block), (0, 0)), "edge")
    expected = model(padded)[:, :21 * scale, :18 * scale]
    np.testing.assert_allclose(model(lr), expected, atol=1e-3)


@pytest.mark.parametrize("scale, self_ensemble, sides, tile", [
    (1, False, (297, 203), 75), (2, False, (137, 103), 25), (2, True, (97, 83), 15)])
def test_tiles_lie_on_the_blocks_of_the_unshuffle(scale, self_ensemble, sides, tile, photo):
    """Where sizes and tiles are odd."""
    model = randomise(models.create("esrgan", scale, **SMALL))
    lr, block = photo(*sides).astype("float32"), 4 // scale
    whole = Upscaler(model, tile=1000, self_ensemble=self_ensemble).predict(lr)
    tiles = Upscaler(model, tile=tile, self_ensemble=self_ensemble)
    tiles.measures = False  # so that its radius is the overlap
    seen, forward = set(), tiles._forward
    tiles._forward = lambda window: seen.add(window.shape[:2]) or forward(window)
    tiled = tiles.predict(lr)
    # 17 layers before the enlargement, 1 and 3 after its stages, and the pixels of one block
    radius = int(np.ceil((17 + 1 / 2 + 3 / 4) * block)) + block - 1
    assert footprint(model)[1] == radius <= MAX_OVERLAP * block and footprint(model).grid == block
    height, width, tile, overlap = (-(-side // block) * block for side in (*sides, tile, radius))
    shape = min(height, tile + 2 * overlap), min(width, tile + 2 * overlap)
    assert seen == ({shape, shape[::-1]} if self_ensemble else {shape})
    assert whole.shape == tiled.shape == (sides[0] * scale, sides[1] * scale, 3)
    assert whole.std() > 10
    np.testing.assert_allclose(tiled, whole, atol=1e-2)


def test_vgg_style_equals_pytorch(photo, torch):
    model = randomise(discriminators.vgg_style(64, num_filters=8), gain=1.4)
    convs = [f"{i}_{j}" for i in range(5) for j in range(2)]
    weights = state(torch, model, [*((f"conv{c}", f"conv{c}") for c in convs),
                                   ("dense", "linear1"), ("logits", "linear2")])
    f = torch.nn.functional
    image = photo(128, 64).reshape(2, 64, 64, 3).astype("float32")
    x = channels_first(torch, image) / 255
    for c in convs:
        x = f.conv2d(x, weights[f"conv{c}.weight"], weights.get(f"conv{c}.bias"),
                     stride=1 + (c[2] == "1"), padding=1)
        if c != "0_0":
            gamma, beta, mean, variance = (torch.from_numpy(a.astype("float64"))
                                           for a in model.get_layer(f"bn{c}").get_weights())
            x = f.batch_norm(x, mean, variance, gamma, beta, training=False, eps=1e-5)
        x = f.leaky_relu(x, 0.2)
    # BasicSR flattens (C, H, W) where Keras flattens (H, W, C).
    x = x.permute(0, 2, 3, 1).flatten(1)
    x = f.leaky_relu(f.linear(x, weights["linear1.weight"], weights["linear1.bias"]), 0.2)
    expected = f.linear(x, weights["linear2.weight"], weights["linear2.bias"]).numpy()
    assert expected.shape == (2, 1) and np.ptp(expected) > 0.01
    np.testing.assert_allclose(model(image), expected, atol=1e-4)


@pytest.mark.parametrize("size, height, width", [(32, 32, 32), (None, 24, 40)])
def test_unet_equals_pytorch(size, height, width, photo, torch):
    """With PyTorch's own spectral normalisation in eval mode."""
    model = randomise(discriminators.unet(size, num_filters=8))
    weights = state(torch, model, [(f"conv{i}", f"conv{i}") for i in range(10)])
    f = torch.nn.functional

    def conv(x, i, stride=1):
        weight = weights[f"conv{i}.weight"]
        has_bias = i in (0, 9)
        module = torch.nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2], stride, 1,
                                 bias=has_bias, dtype=torch.float64)
        u = None if has_bias else torch.from_numpy(
            model.get_layer(f"conv{i}").get_weights()[1][0].astype("float64"))
        with torch.no_grad():
            module.weight.copy_(weight)
            if has_bias:
                module.bias.copy_(weights[f"conv{i}.bias"])
            else:
                module = torch.nn.utils.spectral_norm(module)
                module.weight_u.copy_(u)
                module.weight_v.copy_(f.normalize(weight.flatten(1).T @ u, dim=0))
            return module.eval()(x)

    def larger(x):
        return f.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

    image = photo(height, width)[None].astype("float32")
    x0 = f.leaky_relu(conv(channels_first(torch, image) / 255, 0), 0.2)
    x1 = f.leaky_relu(conv(x0, 1, 2), 0.2)
    x2 = f.leaky_relu(conv(x1, 2, 2), 0.2)
    x3 = f.leaky_relu(conv(x2, 3, 2), 0.2)
    x4 = f.leaky_relu(conv(larger(x3), 4), 0.2) + x2
    x5 = f.leaky_relu(conv(larger(x4), 5), 0.2) + x1
    x6 = f.leaky_relu(conv(larger(x5), 6), 0.2) + x0
    x7 = f.leaky_relu(conv(f.leaky_relu(conv(x6, 7), 0.2), 8), 0.2)
    expected = conv(x7, 9).permute(0, 2, 3, 1).numpy()
    assert expected.shape == (1, height, width, 1) and expected.std() > 0.01
    np.testing.assert_allclose(model(image), expected, atol=1e-4)


def test_dense_blocks_start_at_a_tenth_of_he():
    set_seed(0)
    model = models.create("esrgan", 4, num_blocks=1)
    kernel = model.get_layer("block0_dense2_conv5").get_weights()[0]
    assert kernel.std() == pytest.approx(0.1 * np.sqrt(2 / (9 * 192)), rel=0.02)


@pytest.mark.parametrize("policy", POLICIES)
def test_mixed_precision_gives_nearly_the_same_image_and_float32_logits(policy):
    noise = 255 * np.random.RandomState(0).randint(0, 2, (1, 32, 32, 3)).astype("float32")
    for scale in (1, 4):
        set_seed(0)
        plain = models.create("esrgan", scale, **SMALL)
        with policy_scope(policy):
            mixed = models.create("esrgan", scale, **SMALL)
        mixed.set_weights(plain.get_weights())
        assert mixed.get_layer("body").compute_dtype != "float32"
        sr = mixed(noise).numpy()
        assert sr.dtype == np.float32
        np.testing.assert_allclose(sr, plain(noise), atol=2)
    for make in (discriminators.vgg_style, discriminators.unet):
        with policy_scope(policy):
            model = make(32, num_filters=8)
        logits = model(noise, training=True).numpy()
        assert logits.dtype == np.float32 and np.isfinite(logits).all()
        assert model.layers[-2].compute_dtype != "float32"


@pytest.mark.parametrize("make", [discriminators.vgg_style, discriminators.unet])
def test_a_gradient_penalty_can_be_taken(make, photo):
    set_seed(0)
    model = make(64, num_filters=4)
    real = tf.constant(photo(128, 64).reshape(2, 64, 64, 3).astype("float32"))
    with tf.GradientTape() as tape:
        loss = gradient_penalty(lambda x: model(x, training=True), real, 255 - real,
                                tf.constant([[[[0.3]]], [[[0.6]]]]))
    gradients = tape.gradient(loss, model.trainable_weights)
    moved = [gradient is not None and np.abs(gradient).max() > 0 for gradient in gradients]
    # a bias after the last slope has no part in a gradient
    assert np.isfinite(loss) and sum(moved) > len(moved) / 2


def test_wrong_sizes_of_patches_are_named():
    with pytest.raises(UserError, match="multiple of 32 pixels, not 100"):
        discriminators.vgg_style(100)
    with pytest.raises(UserError, match="multiple of 8 pixels, not 100"):
        discriminators.unet(100)
