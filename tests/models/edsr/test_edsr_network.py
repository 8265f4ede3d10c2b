"""EDSR against the published counts and an independent recomputation with NumPy."""

import numpy as np
import pytest

import models
from common.nn.keras_compat import set_seed
from common.weights import read_arrays, save

PAPER = {}
BASELINE = {"num_blocks": 16, "num_filters": 64, "res_scale": 1.0}


@pytest.mark.parametrize("options, scale, count", [
    (PAPER, 2, 40_729_603), (PAPER, 3, 43_680_003), (PAPER, 4, 43_089_923),
    (BASELINE, 2, 1_369_859), (BASELINE, 3, 1_554_499), (BASELINE, 4, 1_517_571),
])
def test_parameter_counts_of_the_paper(options, scale, count):
    assert models.create("edsr", scale, **options).count_params() == count


def conv3(image, kernel, bias):
    """(H, W, I) * (3, 3, I, O) with zeros around, in float64."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    return bias + sum(padded[i:i + height, j:j + width] @ kernel[i, j].astype(np.float64)
                      for i in range(3) for j in range(3))


def shuffle(image, block):
    """Pixel shuffle written out: output pixel (y, x) takes group (y % b, x % b)."""
    height, width, channels = image.shape
    out = np.empty((height * block, width * block, channels // block**2))
    for i in range(block):
        for j in range(block):
            group = (i * block + j) * out.shape[-1]
            out[i::block, j::block] = image[..., group:group + out.shape[-1]]
    return out


def edsr(arrays, image, num_blocks, res_scale, stages):
    mean = np.array([0.4488, 0.4371, 0.4040]) * 255
    x = head = conv3(image - mean, *arrays["head"])
    for i in range(num_blocks):
        y = np.maximum(conv3(x, *arrays[f"block{i}_conv1"]), 0)
        x = x + res_scale * conv3(y, *arrays[f"block{i}_conv2"])
    x = head + conv3(x, *arrays["body"])
    for i, stage in enumerate(stages):
        x = shuffle(conv3(x, *arrays[f"upsample{i}_conv"]), stage)
    return conv3(x, *arrays["tail"]) + mean


@pytest.mark.parametrize("options, scale, stages", [
    (PAPER, 2, [2]), (BASELINE, 2, [2]), (BASELINE, 3, [3]), (BASELINE, 4, [2, 2]),
    ({**BASELINE, "num_blocks": 3}, 8, [2, 2, 2]),
])
def test_outputs_equal_a_recomputation_in_numpy(options, scale, stages, photo, tmp_path):
    set_seed(1)
    model = models.create("edsr", scale, **options)
    for variable in model.trainable_variables:  # biases start at zero and would prove nothing
        if len(variable.shape) == 1:
            variable.assign(np.linspace(-0.5, 0.5, variable.shape[0]))
    path = tmp_path / "weights.h5"
    save(model, path)
    image = photo(13, 18)
    num_blocks, res_scale = options.get("num_blocks", 32), options.get("res_scale", 0.1)
    expected = edsr(read_arrays(path), image.astype(np.float64), num_blocks, res_scale, stages)
    sr = model(image[None].astype("float32")).numpy()[0]
    assert expected.std() > 1
    np.testing.assert_allclose(sr, expected, atol=1e-3)
