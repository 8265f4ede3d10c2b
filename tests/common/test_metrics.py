"""PSNR, SSIM and colour conversion against hand-computed cases, scikit-image and a direct sum."""

import math

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2ycbcr
from skimage.metrics import structural_similarity

from common.metrics import psnr, ssim, to_channel


@pytest.fixture
def pair():
    """Two related uint8 RGB images [37, 45, 3]: smooth waves, one of them with noise."""
    generator = np.random.RandomState(7)
    y, x, c = np.mgrid[0:37, 0:45, 0:3]
    hr = 127 + 90 * np.sin(x / 5 + c) * np.cos(y / 7)
    sr = hr + generator.normal(0, 12, hr.shape)
    return np.uint8(np.clip(sr, 0, 255)), np.uint8(hr)


def test_y_equals_skimage(pair):
    np.testing.assert_allclose(to_channel(pair[0], "y"), rgb2ycbcr(pair[0])[..., 0], atol=1e-9)


def test_y_spans_the_studio_range():
    extremes = to_channel(np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8), "y")
    np.testing.assert_allclose(extremes, [[16, 235]], atol=1e-12)


def test_gray_equals_pillow(pair):
    np.testing.assert_array_equal(to_channel(pair[0], "gray"),
                                  np.asarray(Image.fromarray(pair[0]).convert("L")))


@pytest.mark.parametrize("channel", ["y", "rgb", "gray"])
def test_grey_images_keep_their_value(pair, channel):
    grey = pair[0][..., 0]
    np.testing.assert_array_equal(to_channel(grey, channel), grey)


def test_psnr_by_hand():
    hr = np.full((4, 5, 3), 100, np.uint8)
    sr = hr.copy()
    assert psnr(sr, hr) == math.inf
    sr[...] = 101  # squared error 1
    assert psnr(sr, hr) == pytest.approx(48.1308036, abs=1e-6)
    sr[...] = 100
    sr[1, 1, 0] = 110  # squared error 100 in one of 60 values
    assert psnr(sr, hr) == pytest.approx(10 * math.log10(65025 * 60 / 100), abs=1e-9)
    # the same pixel on Y: (65.481 / 255 * 10)^2 in one of 20 values
    luma = (65.481 / 255 * 10) ** 2 / 20
    assert psnr(sr, hr, channel="y") == pytest.approx(10 * math.log10(65025 / luma), abs=1e-9)
    assert psnr(np.zeros((3, 3)), np.full((3, 3), 255.0)) == 0


def test_unsigned_differences_do_not_wrap():
    low, high = np.full((2, 2), 3, np.uint8), np.full((2, 2), 5, np.uint8)
    assert psnr(low, high) == psnr(high, low) == pytest.approx(10 * math.log10(65025 / 4))


def test_crop_border_leaves_the_edges_out():
    hr = np.zeros((8, 9), np.uint8)
    sr = hr.copy()
    sr[0], sr[-1], sr[:, 0], sr[:, -1] = 255, 255, 255, 255
    assert psnr(sr, hr) < 5
    assert psnr(sr, hr, crop_border=1) == math.inf


@pytest.mark.parametrize("channel", ["y", "rgb", "gray"])
@pytest.mark.parametrize("crop_border", [0, 3])
def test_ssim_equals_skimage(pair, channel, crop_border):
    sr, hr = (to_channel(image, channel)[crop_border:37 - crop_border, crop_border:45 - crop_border]
              for image in pair)
    planes = [(sr, hr)] if sr.ndim == 2 else [(sr[..., c], hr[..., c]) for c in range(3)]
    expected = []
    for a, b in planes:
        _, values = structural_similarity(a, b, data_range=255, gaussian_weights=True, sigma=1.5,
                                          use_sample_covariance=False, full=True)
        expected.append(values[5:-5, 5:-5].mean())
    assert ssim(*pair, crop_border=crop_border, channel=channel) == pytest.approx(
        np.mean(expected), abs=1e-9)


def test_ssim_of_one_window_equals_a_direct_sum():
    generator = np.random.RandomState(3)
    a, b = generator.uniform(0, 255, (2, 11, 11))
    weights = np.exp(-sum(o ** 2 for o in np.mgrid[-5:6, -5:6]) / (2 * 1.5 ** 2))
    weights /= weights.sum()
    mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
    variances = (weights * (a - mean_a) ** 2).sum() + (weights * (b - mean_b) ** 2).sum()
    covariance = (weights * (a - mean_a) * (b - mean_b)).sum()
    c1, c2 = 6.5025, 58.5225
    expected = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)
                / ((mean_a ** 2 + mean_b ** 2 + c1) * (variances + c2)))
    assert ssim(a, b) == pytest.approx(expected, abs=1e-12)
    assert ssim(a, a) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_mistakes_are_refused(metric):
    image = np.zeros((20, 20, 3), np.uint8)
    with pytest.raises(ValueError, match="different shapes"):
        metric(image, image[:19])
    with pytest.raises(ValueError, match="border of 10"):
        metric(image, image, crop_border=10)
    with pytest.raises(ValueError, match="border of -1"):
        metric(image, image, crop_border=-1)
    with pytest.raises(ValueError, match="no channel 'luma'"):
        metric(image, image, channel="luma")
    with pytest.raises(ValueError, match="shape"):
        metric(image[..., :2], image[..., :2])
