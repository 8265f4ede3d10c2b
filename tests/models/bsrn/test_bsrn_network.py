"""BSRN against the authors' variables, the counts, and an independent recomputation with NumPy."""

import numpy as np
import pytest

import models
from common.nn.keras_compat import set_seed, tf
from common.weights import read_arrays, save
from models.bsrn.network import intermediate_outputs


@pytest.mark.parametrize("scale, count, variables", [
    ((2, 3, 4), 1_225_225, 22), (2, 593_987, 12), (3, 778_627, 12), (4, 741_699, 14)])
def test_parameter_counts(scale, count, variables):
    model = models.create("bsrn", scale)
    assert model.count_params() == count
    assert len(model.weights) == variables


def test_the_shapes_are_those_of_the_authors_checkpoint(shared):
    index = shared / "weights" / "bsrn" / "bsrn_c64_s64_x234.ckpt"
    theirs = [tuple(shape) for name, shape in tf.train.list_variables(str(index))
              if "Adam" not in name and "power" not in name]
    ours = [tuple(variable.shape) for variable in models.create("bsrn", (2, 3, 4)).weights]
    assert sorted(ours) == sorted(theirs) and len(theirs) == 22


def conv3(image, kernel, bias):
    height, width = image.shape[:2]
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    return bias + sum(padded[i:i + height, j:j + width] @ kernel[i, j].astype(np.float64)
                      for i in range(3) for j in range(3))


def shuffle(image, block):
    height, width, channels = image.shape
    out = image.reshape(height, width, block, block, channels // block**2)
    return out.transpose(0, 2, 1, 3, 4).reshape(height * block, width * block, -1)


def bsrn(arrays, image, scale, states, recursions):
    """All images of the recursions, and the answer, as the paper's equations have them."""
    x = conv3(image - 127.5, *arrays["first_conv"])
    features, state, images = x.shape[-1], np.zeros(x.shape[:2] + (states,)), []
    for _ in range(recursions):
        y = np.maximum(conv3(np.dstack([x, state]), *arrays["module_conv1"]), 0)
        y = conv3(y, *arrays["module_conv2"])
        x, state = x + y[..., :features], y[..., features:]
        y = conv3(np.dstack([x, state]), *arrays["module_conv3"])
        x, state = x + y[..., :features], y[..., features:]
        large = x
        for i, block in enumerate([2, 2] if scale == 4 else [scale]):
            large = np.maximum(conv3(large, *arrays[f"upscale_x{scale}_conv{i + 1}"]), 0)
            large = shuffle(large, block)
        images.append(conv3(large, *arrays[f"last_conv_x{scale}"]) + 127.5)
    weights = [2.0 ** -(recursions - i) for i in range(1, recursions + 1)]
    return images, sum(w * image for w, image in zip(weights, images)) / sum(weights)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_outputs_equal_a_recomputation_in_numpy(scale, photo, tmp_path):
    set_seed(3)
    options = {"num_features": 16, "num_states": 12, "num_recursions": 5}
    model = models.create("bsrn", (2, 3, 4), **options)
    for variable in model.trainable_variables:  # small first weights would hide the state's part
        shape = tuple(variable.shape)
        rng = np.random.RandomState(sum(shape))
        variable.assign(rng.randn(*shape) * (0.3 if len(shape) == 1 else 0.9 / np.sqrt(
            np.prod(shape[:3]))))
    save(model, tmp_path / "w.h5")
    arrays, image = read_arrays(tmp_path / "w.h5"), photo(9, 14)
    images, answer = bsrn(arrays, image.astype(np.float64), scale, 12, 5)
    lr = image[None].astype("float32")
    assert answer.std() > 5
    np.testing.assert_allclose(model(lr)[f"x{scale}"].numpy()[0], answer, atol=2e-3)
    ours = intermediate_outputs(model, scale)(lr)
    for expected, got in zip(images, ours):
        np.testing.assert_allclose(got.numpy()[0], expected, atol=2e-3)
    cheaper = models.load(tmp_path / "w.h5", scale, num_recursions=2)(lr).numpy()[0]
    np.testing.assert_allclose(cheaper, (images[0] + 2 * images[1]) / 3, atol=2e-3)


def test_outputs_can_be_every_other_recursion(photo):
    model = models.create("bsrn", 2, num_features=8, num_states=8, num_recursions=6,
                          output_every=2)
    assert len(intermediate_outputs(model, 2).outputs) == 3
