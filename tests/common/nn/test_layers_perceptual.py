"""The layers of the perceptual family against NumPy, SciPy and PyTorch."""

import numpy as np
import pytest
from scipy.ndimage import zoom

from common.nn.keras_compat import (
    IS_KERAS_3,
    h5_bytes,
    keras,
    layer_variables,
    policy_scope,
    set_seed,
    tf,
)
from common.nn.layers import (
    BilinearUpscale,
    CropTo,
    DepthToSpace,
    NearestUpscale,
    PReLU,
    SpaceToDepth,
    SpectralConv2D,
)

POLICIES = ["float32", "mixed_float16"] + ["mixed_bfloat16"] * IS_KERAS_3


def normal(*shape, seed=0):
    return np.random.RandomState(seed).standard_normal(shape).astype("float32")


def spectral_norm(kernel):
    """The largest singular value of (k, k, I, O) as a matrix of O columns."""
    return np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), compute_uv=False)[0]


def test_prelu_has_one_slope_per_channel_shared_over_space():
    x, layer = normal(2, 4, 5, 3), PReLU(0.1)
    assert layer(x).shape == x.shape and layer.alpha.shape == (1, 1, 3)
    np.testing.assert_allclose(layer(x), np.where(x > 0, x, 0.1 * x), rtol=1e-6)
    alpha = np.array([0.5, -0.25, 0], "float32")
    layer.set_weights([alpha.reshape(1, 1, 3)])
    np.testing.assert_allclose(layer(x), np.where(x > 0, x, alpha * x), rtol=1e-6)


@pytest.mark.parametrize("block", [2, 3, 4])
@pytest.mark.parametrize("height, width", [(1, 1), (4, 12), (5, 7), (12, 11)])
def test_space_to_depth_pads_with_the_edge_and_orders_channels_as_documented(block, height, width):
    x = normal(2, height, width, 3)
    rows, columns = -height % block, -width % block
    padded = np.pad(x, ((0, 0), (0, rows), (0, columns), (0, 0)), "edge")
    groups = [padded[:, i::block, j::block] for i in range(block) for j in range(block)]
    expected = np.concatenate(groups, axis=-1)
    layer = SpaceToDepth(block)
    np.testing.assert_array_equal(layer(x), expected)
    free = tf.function(layer, input_signature=[tf.TensorSpec([None, None, None, 3])])
    np.testing.assert_array_equal(free(x), expected)
    back = CropTo()([DepthToSpace(block)(layer(x)), x])
    np.testing.assert_array_equal(back, x)


def test_known_sizes_are_known_before_it_runs():
    image = keras.Input((9, 6, 3), batch_size=1)
    small = SpaceToDepth(4)(image)
    model = keras.Model(image, [small, CropTo(2)([NearestUpscale(8)(small), image])])
    assert [tuple(output.shape) for output in model.outputs] == [(1, 3, 2, 48), (1, 18, 12, 48)]
    graph = tf.function(lambda x: model(x)).get_concrete_function(tf.TensorSpec([1, 9, 6, 3])).graph
    assert "Shape" not in {op.type for op in graph.get_operations()}


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("height, width", [(1, 1), (2, 5), (13, 8)])
def test_enlargements_repeat_and_interpolate(scale, height, width):
    x = normal(1, height, width, 5)
    repeated = x.repeat(scale, axis=1).repeat(scale, axis=2)
    np.testing.assert_array_equal(NearestUpscale(scale)(x), repeated)
    smooth = np.stack([zoom(x[0, ..., c].astype(float), scale, order=1, mode="nearest",
                            grid_mode=True) for c in range(5)], axis=-1)
    np.testing.assert_allclose(BilinearUpscale(scale)(x)[0], smooth, atol=1e-5)


def test_bilinear_enlargement_is_that_of_pytorch(torch):
    for scale in (2, 3, 4):
        x = normal(2, 7, 11, 4)
        expected = torch.nn.functional.interpolate(
            torch.from_numpy(x.transpose(0, 3, 1, 2).copy()), scale_factor=scale, mode="bilinear",
            align_corners=False).numpy().transpose(0, 2, 3, 1)
        np.testing.assert_allclose(BilinearUpscale(scale)(x), expected, atol=1e-5)


def test_spectral_normalisation_comes_to_divide_by_the_largest_singular_value():
    set_seed(1)
    layer, x = SpectralConv2D(16, 3, use_bias=True), normal(1, 9, 8, 6)
    layer(x)
    np.testing.assert_allclose(np.linalg.norm(layer.get_weights()[-1]), 1, rtol=1e-5)
    kernel, bias = normal(3, 3, 6, 16), normal(16)
    layer.set_weights([kernel, bias, layer.get_weights()[-1]])
    for _ in range(200):
        layer(x, training=True)
    expected = tf.nn.conv2d(x, kernel / spectral_norm(kernel), 1, "SAME") + bias
    np.testing.assert_allclose(layer(x), expected, atol=1e-4)


def test_u_moves_in_training_only_and_starts_from_the_seed():
    x, starts = normal(1, 8, 8, 4), []
    for _ in range(2):
        set_seed(3)
        pair = [SpectralConv2D(8, 4, strides=2) for _ in range(2)]
        assert pair[0](x).shape == (1, 4, 4, 8)
        pair[1](x)
        starts.append([layer.get_weights()[-1] for layer in pair])
    np.testing.assert_array_equal(*starts)
    assert np.abs(starts[0][0] - starts[0][1]).max() > 0.1
    layer = pair[0]
    assert [len(layer.trainable_weights), len(layer.non_trainable_weights)] == [1, 1]
    assert layer_variables(layer)[-1] is layer.u
    layer(x)
    np.testing.assert_array_equal(layer.get_weights()[-1], starts[0][0])
    tf.function(layer)(x, training=True)
    assert np.abs(layer.get_weights()[-1] - starts[0][0]).max() > 1e-3


def test_spectral_normalisation_learns_as_that_of_pytorch(torch):
    """Three steps of gradient descent: outputs, gradients and u stay those of PyTorch."""
    layer, x = SpectralConv2D(6, 4, strides=2), normal(2, 8, 6, 5)
    layer(x)
    theirs = torch.nn.utils.spectral_norm(torch.nn.Conv2d(5, 6, 4, 2, 1, bias=False))
    kernel, u = layer.get_weights()
    with torch.no_grad():
        theirs.weight_orig.copy_(torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()))
        theirs.weight_u.copy_(torch.from_numpy(u[0]))
    for _ in range(3):
        with tf.GradientTape() as tape:
            ours = layer(x, training=True)
            loss = tf.reduce_sum(tf.square(ours))
        gradient = tape.gradient(loss, layer.trainable_weights)[0].numpy()
        their_output = theirs(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()))
        theirs.zero_grad()
        their_output.square().sum().backward()
        np.testing.assert_allclose(ours.numpy().transpose(0, 3, 1, 2),
                                   their_output.detach().numpy(), atol=1e-4)
        their_gradient = theirs.weight_orig.grad.numpy().transpose(2, 3, 1, 0)
        np.testing.assert_allclose(gradient, their_gradient, atol=1e-3 * np.abs(gradient).max())
        np.testing.assert_allclose(layer.get_weights()[-1][0], theirs.weight_u.numpy(), atol=1e-5)
        layer.kernel.assign(layer.kernel - 1e-3 * gradient)
        with torch.no_grad():
            theirs.weight_orig.sub_(1e-3 * theirs.weight_orig.grad)


@pytest.mark.parametrize("policy", POLICIES)
def test_all_keep_the_precision_of_their_surroundings(policy):
    kind = policy.replace("mixed_", "")
    x = normal(1, 9, 7, 4)
    with policy_scope(policy):
        image = keras.Input((None, None, 4))
        y = keras.layers.Conv2D(8, 3, padding="same")(image)
        outputs = [PReLU()(y), SpaceToDepth(2)(y), NearestUpscale()(y), BilinearUpscale()(y),
                   SpectralConv2D(4, 3)(y), CropTo()([y, image])]
        model = keras.Model(image, outputs)
    kinds = [output.dtype.name for output in model(x, training=True)]
    assert kinds == [kind] * 5 + ["float32"]
    assert {keras.backend.standardize_dtype(v.dtype) if IS_KERAS_3 else v.dtype.name
            for v in model.variables} == {"float32"}


def test_a_saved_network_of_them_opens_again(tmp_path):
    image = keras.Input((None, None, 3))
    x = PReLU(0.3)(SpectralConv2D(8, 3, strides=2, use_bias=True)(SpaceToDepth(2)(image)))
    x = NearestUpscale(2)(BilinearUpscale(2)(x))
    model = keras.Model(image, CropTo()([x, image]))
    lr = normal(1, 9, 13, 3)
    model(lr, training=True)
    (tmp_path / "model.h5").write_bytes(h5_bytes(model))
    again = keras.models.load_model(str(tmp_path / "model.h5"), compile=False)
    assert model(lr).shape == (1, 9, 13, 8)
    np.testing.assert_allclose(again(lr), model(lr), atol=1e-6)
