import time

import numpy as np
import pytest
from PIL import Image

from common import bicubic
from common.bicubic import crop_to_multiple, downscale, upscale, upscale_kernel


def cubic(x):
    """Keys' kernel, a = -0.5, as in the paper."""
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def reference_matrix(size, out_size):
    """The resampling of one axis as a matrix, from the definition and one pixel at a time."""
    scale = out_size / size
    stretch = min(scale, 1)
    matrix = np.zeros((out_size, size))
    for i in range(out_size):
        centre = (i + 0.5) / scale - 0.5
        for j in range(int(centre - 2 / stretch) - 2, int(centre + 2 / stretch) + 3):
            matrix[i, min(max(j, 0), size - 1)] += cubic((j - centre) * stretch)
    return matrix / matrix.sum(axis=1, keepdims=True)


def photographs(shared):
    return sorted((shared / "data" / "Set5" / "HR").iterdir())


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_downscale_equals_matlab_on_every_pixel_of_set5(shared, scale):
    for path in photographs(shared):
        lr_path = shared / "data/Set5/LR_bicubic" / f"X{scale}" / f"{path.stem}x{scale}.png"
        expected = np.array(Image.open(lr_path))
        result = downscale(np.array(Image.open(path)), scale)
        assert result.dtype == np.uint8
        np.testing.assert_array_equal(result, expected, err_msg=path.name)


@pytest.mark.parametrize("scale, expected", [(2, 33.67), (3, 30.40), (4, 28.43)])
def test_upscale_has_the_known_psnr_on_set5(shared, scale, expected):
    weights = np.array([65.481, 128.553, 24.966]) / 255  # BT.601 luma, studio range
    values = []
    for path in photographs(shared):
        hr = crop_to_multiple(np.array(Image.open(path)), scale)
        difference = (upscale(downscale(hr, scale), scale).astype(float) - hr) @ weights
        error = np.mean(difference[scale:-scale, scale:-scale] ** 2)
        values.append(10 * np.log10(255**2 / error))
    # Measured independently through uint8 RGB; published are 33.66, 30.39 and 28.42.
    assert np.mean(values) == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("shape", [(24, 48), (48, 24, 3), (72, 24, 4)])
def test_float_results_follow_the_definition(scale, shape):
    image = np.random.default_rng(1).normal(size=shape)
    for function, sizes in ((downscale, [side // scale for side in shape[:2]]),
                            (upscale, [side * scale for side in shape[:2]])):
        rows, columns = (reference_matrix(*pair) for pair in zip(shape[:2], sizes))
        expected = np.einsum("ij,jk...,lk->il...", rows, image, columns)
        result = function(image, scale)
        assert result.dtype == np.float64
        np.testing.assert_allclose(result, expected, atol=1e-12)


def test_integers_are_rounded_half_up_and_clipped():
    step = np.zeros((8, 8), np.uint8)
    step[:, 4:] = 255
    enlarged = upscale(step, 2)
    assert enlarged.min() == 0 and enlarged.max() == 255
    smooth = upscale(step.astype(float), 2)
    assert smooth.min() < -5 and smooth.max() > 260
    np.testing.assert_array_equal(enlarged, np.floor(np.clip(smooth, 0, 255) + 0.5))
    flat = np.full((6, 6, 3), 137, np.uint8)
    assert (upscale(flat, 3) == 137).all() and (downscale(flat, 3) == 137).all()


def test_uint16_is_uint8_in_finer_steps(shared):
    image = np.array(Image.open(photographs(shared)[1]))
    for function in (downscale, upscale):
        fine = function(image.astype(np.uint16) * 257, 3)
        assert fine.dtype == np.uint16
        assert np.abs(fine / 257 - function(image, 3)).max() < 1.6  # two roundings to 8 bits


def test_kernel_makes_the_same_enlargement():
    row = np.random.default_rng(2).normal(size=(1, 9))
    kernel = upscale_kernel(3)
    assert kernel.shape == (3, 5)
    np.testing.assert_allclose(kernel.sum(axis=1), 1, atol=1e-15)
    padded = np.pad(row, ((0, 0), (2, 2)), mode="edge")[0]
    expected = [kernel[i % 3] @ padded[i // 3:i // 3 + 5] for i in range(27)]
    np.testing.assert_allclose(upscale(np.repeat(row, 3, axis=0), 3)[4], expected, atol=1e-12)


def test_memory_order_of_the_input_does_not_matter(shared):
    image = np.array(Image.open(photographs(shared)[4]))
    turned = image.transpose(1, 0, 2)[::-1]
    for function in (downscale, upscale):
        expected = function(np.ascontiguousarray(turned), 2)
        result = function(turned, 2)
        assert result.flags.c_contiguous
        np.testing.assert_array_equal(result, expected)


def test_what_cannot_be_scaled():
    assert crop_to_multiple(np.zeros((7, 9, 3)), 4).shape == (4, 8, 3)
    for image in (np.zeros((3, 9, 3)), np.zeros((8, 8), np.int32), np.zeros((0, 4))):
        with pytest.raises(ValueError, match="cannot scale an image of"):
            downscale(image, 4)
    with pytest.raises(ValueError, match="cannot scale an image of"):
        upscale(np.zeros(4), 2)


def test_a_2k_photograph_takes_well_below_a_second(shared):
    image = np.tile(np.array(Image.open(photographs(shared)[0])), (3, 4, 1))[:1356, :2040]
    start = time.perf_counter()
    upscale(downscale(image, 2), 2)
    assert time.perf_counter() - start < 1.5  # measured: 0.1 to 0.15 s


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_any_size_agrees_with_integer_factors(dtype, scale):
    image = np.random.RandomState(2).randint(0, np.iinfo(dtype).max + 1, (24, 36, 3)).astype(dtype)
    larger = bicubic.upscale(image, scale)
    np.testing.assert_array_equal(bicubic.resize(image, larger.shape[:2]), larger)
    smaller = bicubic.downscale(image, scale)
    np.testing.assert_array_equal(bicubic.resize(image, smaller.shape[:2]), smaller)
    np.testing.assert_array_equal(bicubic.resize(image, (24, 36)), image)


@pytest.mark.parametrize("size", [(79, 50), (30, 99), (1, 1), (200, 7)])
@pytest.mark.parametrize("shape", [(47, 31), (47, 31, 4)])
def test_resizing_in_bands_is_resizing_the_whole(size, shape):
    image = np.random.RandomState(2).randint(0, 256, shape).astype(np.uint8)
    whole = bicubic.resize(image, size)
    assert whole.shape == (*size, *shape[2:])
    for heights in ([1] * 47, [20, 3, 24], [46, 1]):
        bands = np.split(image, np.cumsum(heights)[:-1])
        found = list(bicubic.resized(bands, shape, np.uint8, size))
        np.testing.assert_array_equal(np.concatenate(found), whole)
