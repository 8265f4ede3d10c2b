"""VDSR and SRCNN: counts, colour and bicubic inside the graph, and a recomputation with NumPy."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import correlate
from skimage.color import rgb2ycbcr, ycbcr2rgb

import models
from common.bicubic import upscale
from common.nn.keras_compat import set_seed
from common.nn.layers import BicubicUpscale, RgbToYcbcr, YcbcrToRgb
from common.nn.luma import CORE
from common.training.luma import luma_heads


@pytest.mark.parametrize("name, options, count", [
    ("vdsr", {}, 665_921), ("srcnn", {"kernels": (9, 1, 5)}, 8_129),
    ("srcnn", {"kernels": (9, 5, 5)}, 57_281), ("srcnn", {"kernels": (9, 3, 5)}, 24_513)])
def test_parameter_counts(name, options, count):
    assert models.create(name, 2, **options).count_params() == count


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (2, 5), (31, 44)])
def test_bicubic_in_the_graph_is_the_numpy_bicubic(scale, size, photo):
    image = photo(*size)
    large = BicubicUpscale(scale)(image[None].astype("float32")).numpy()[0]
    np.testing.assert_allclose(large, upscale(image.astype(np.float64), scale), atol=1e-3)


def test_colour_conversion_is_that_of_scikit_image_and_can_be_undone(photo):
    image = photo(40, 50)
    ycbcr = RgbToYcbcr()(image[None].astype("float32"))
    np.testing.assert_allclose(ycbcr.numpy()[0], rgb2ycbcr(image), atol=1e-3)
    np.testing.assert_allclose(YcbcrToRgb()(ycbcr).numpy()[0], image, atol=1e-3)


def conv(image, kernel, bias, padded):
    """(H, W, I) by (k, k, I, O) through scipy, with zeros around or within the image only."""
    planes = [sum(correlate(image[..., i], kernel[..., i, o].astype(np.float64), mode="constant")
                  for i in range(image.shape[-1])) for o in range(kernel.shape[-1])]
    edge = 0 if padded else kernel.shape[0] // 2
    inside = slice(edge, -edge or None)
    return np.stack(planes, -1)[inside, inside] + bias


@pytest.mark.parametrize("name, options", [("vdsr", {"num_layers": 5, "num_filters": 6}),
                                           ("srcnn", {"num_filters": (6, 4)})])
@pytest.mark.parametrize("scale", [2, 3])
def test_outputs_equal_a_recomputation(name, options, scale, photo):
    set_seed(5)
    model = models.create(name, scale, **options)
    core = model.get_layer(CORE)
    for variable in core.trainable_variables:
        shape = tuple(variable.shape)
        rng = np.random.RandomState(sum(shape))
        variable.assign(rng.randn(*shape) * (0.02 if len(shape) == 1 else 0.8 / np.sqrt(
            np.prod(shape[:3]))))
    image = photo(13, 16)
    large = upscale(rgb2ycbcr(image), scale)
    x = luma = large[..., :1] / 255
    if name == "srcnn":
        x = np.pad(x, ((8, 8), (8, 8), (0, 0)), "edge")
    convs = [layer.get_weights() for layer in core.layers if layer.get_weights()]
    for i, weights in enumerate(convs):
        x = conv(x, *weights, padded=name == "vdsr")
        if i < len(convs) - 1:
            x = np.maximum(x, 0)
    refined = 255 * (x + luma if name == "vdsr" else x)
    expected = 255 * ycbcr2rgb(np.dstack([refined, large[..., 1:]]))
    lr = image[None].astype("float32")
    np.testing.assert_allclose(model(lr).numpy()[0], expected, atol=2e-3)
    heads = luma_heads(model, SimpleNamespace(dataset="t91", scale=scale))
    np.testing.assert_allclose(heads[scale](lr).numpy()[0], refined, atol=2e-3)
