"""PSNR, SSIM, UIQM and colour conversion against hand-computed cases, scikit-image and loops."""

import math

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage.color import rgb2ycbcr
from skimage.metrics import structural_similarity

from common import bicubic
from common.metrics import psnr, ssim, to_channel, uicm, uiconm, uiqm, uism


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


@pytest.mark.parametrize("height", [41, 42, 43, 74, 75])
@pytest.mark.parametrize("channel", ["rgb", "y"])
def test_the_strips_that_images_are_measured_in_leave_nothing_out(height, channel):
    """An image has one strip up to 42 rows, two up to 74; float, cropped and mirrored in memory."""
    hr = np.random.RandomState(height).uniform(0, 255, (height + 4, 50, 3))
    sr = np.float32(hr + np.linspace(-40, 40, hr.size).reshape(hr.shape) ** 3 / 2000)
    hr, sr = hr[::-1, ::-1], sr[::-1, ::-1]
    a, b = (to_channel(image, channel)[2:-2, 2:-2] for image in (sr, hr))
    expected = 10 * math.log10(255 ** 2 / np.mean((a - b) ** 2))
    assert psnr(sr, hr, 2, channel) == pytest.approx(expected, abs=1e-9)
    planes = [(a, b)] if a.ndim == 2 else zip(*(np.moveaxis(image, -1, 0) for image in (a, b)))
    expected = [structural_similarity(x, y, data_range=255, gaussian_weights=True, sigma=1.5,
                                      use_sample_covariance=False, full=True)[1][5:-5, 5:-5]
                for x, y in planes]
    assert ssim(sr, hr, 2, channel) == pytest.approx(np.mean(expected), abs=1e-9)
    assert ssim(hr[..., 0], hr[..., 0].copy(), 2) == pytest.approx(1, abs=1e-12)


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
    with pytest.raises(ValueError, match="unknown channel 'luma'"):
        metric(image, image, channel="luma")
    with pytest.raises(ValueError, match="shape"):
        metric(image[..., :2], image[..., :2])


# ---- UIQM ---------------------------------------------------------------------------------------

def literal_uiqm(image):
    """UIQM as loops over pixels and blocks, with the definitions of SRDRM's authors."""
    height, width = image.shape[:2]
    pixels = [[float(v) for v in pixel] for pixel in image.reshape(-1, 3)]
    centres, variances = [], []
    for values in ([r - g for r, g, _ in pixels], [(r + g) / 2 - b for r, g, b in pixels]):
        count = len(values)
        low, high = math.ceil(count / 10), count // 10
        kept = sorted(values)[low:count - high]
        centres.append(sum(kept) / len(kept))
        variances.append(sum((value - centres[-1]) ** 2 for value in values) / count)
    colour = (-0.0268 * math.hypot(*centres) + 0.1586 * math.sqrt(sum(variances)))

    blocks = [(y, x) for y in range(0, height - 9, 10) for x in range(0, width - 9, 10)]
    sharpness = contrast = 0
    for c, weight in enumerate((0.299, 0.587, 0.144)):
        channel = image[..., c].astype(float)
        edges = np.hypot(ndimage.sobel(channel, 0), ndimage.sobel(channel, 1))
        edges = edges / edges.max() * 255 * channel
        for y, x in blocks:
            block = edges[y:y + 10, x:x + 10]
            if block.min() > 0:
                sharpness += 2 * weight * math.log(block.max() / block.min()) / len(blocks)
    for y, x in blocks:
        block = image[y:y + 10, x:x + 10].astype(float)
        ratio = (block.max() - block.min()) / max(block.max() + block.min(), 1)
        if ratio > 0:
            contrast -= ratio * math.log(ratio) / len(blocks)
    return colour, sharpness, contrast


@pytest.mark.parametrize("name, crop", [("im_xb_1032_", (100, 140, 90, 77)),
                                        ("im_xb_2059_", (0, 0, 61, 100))])
def test_uiqm_equals_loops(shared, name, crop):
    path = shared / "data" / "USR-248" / "hr" / f"{name}.jpg"
    y, x, height, width = crop
    image = np.asarray(Image.open(path))[y:y + height, x:x + width]
    parts = literal_uiqm(image)
    assert [uicm(image), uism(image), uiconm(image)] == pytest.approx(parts, rel=1e-9)
    assert min(parts[1:]) > 0.05
    expected = 0.0282 * parts[0] + 0.2953 * parts[1] + 3.5753 * parts[2]
    assert uiqm(image) == pytest.approx(expected, rel=1e-9)
    inside = image[3:-3, 3:-3]
    assert uiqm(image, crop_border=3) == pytest.approx(uiqm(inside), rel=1e-12)


def test_uicm_by_hand():
    # red-green: -50, 1 .. 8 and 90; the tenths at the ends are left out of the mean, 4.5
    red = np.array([50, 101, 102, 103, 104, 105, 106, 107, 108, 190.0])
    image = np.stack([red, [100] * 10, (red + 100) / 2], axis=-1).reshape(2, 5, 3)
    variance = ((54.5**2 + 85.5**2) + 2 * (3.5**2 + 2.5**2 + 1.5**2 + 0.5**2)) / 10
    # yellow-blue is 0 everywhere
    assert uicm(image) == pytest.approx(-0.0268 * 4.5 + 0.1586 * variance**0.5, rel=1e-12)


def test_uism_by_hand():
    """A ramp over two blocks: the slope is 8 a pixel, half of that in the mirrored edges."""
    channel = np.repeat(10.0 + np.arange(20), 10).reshape(20, 10)
    image = np.stack([channel, channel * 0 + 7, channel * 0], axis=-1)
    # the first block has 10 * 4 to 19 * 8, the second 20 * 8 or 29 * 4 to 28 * 8
    blocks = [math.log(19 * 8 / (10 * 4)), math.log(28 * 8 / (29 * 4))]
    assert uism(image) == pytest.approx(0.299 * sum(blocks), rel=1e-12)  # 2 / 2 blocks


def test_uiconm_by_hand():
    image = np.full((25, 30, 3), 50.0)
    image[3, 4, 0], image[5, 5, 2] = 90, 30  # block (0, 0): (90 - 30) / (90 + 30)
    image[12, 29] = 0  # block (1, 2): ratio 1, log 0
    image[22, 3] = 255  # below the last whole block
    assert uiconm(image) == pytest.approx(0.5 * math.log(2) / 6, rel=1e-12)


def test_uiqm_of_images_without_contrast_or_colour():
    assert uiqm(np.zeros((20, 20, 3), np.uint8)) == 0
    assert uiqm(np.full((20, 20), 9, np.uint8)) == 0
    with np.errstate(all="raise"):
        image = np.zeros((20, 20, 3), np.uint8)
        image[:, 10:] = 255
        assert math.isfinite(uiqm(image))
    grey = np.uint8(np.random.RandomState(5).randint(1, 256, (30, 30)))
    assert uicm(np.dstack([grey] * 3)) == 0
    assert uiqm(grey) == uiqm(np.dstack([grey] * 3)) > 0
    with pytest.raises(ValueError, match="leave 9x29; at least 10x10 are needed"):
        uiqm(np.zeros((29, 9, 3)))


def test_uiqm_of_underwater_photographs(shared):
    """The sharp original above its eightfold reduction enlarged, and values as papers have them."""
    folder = shared / "data" / "USR-248"
    values = []
    for path in sorted((folder / "hr").iterdir())[:8]:
        small = np.asarray(Image.open(folder / "lr_8x" / path.name))
        values.append((uiqm(np.asarray(Image.open(path))), uiqm(bicubic.upscale(small, 8))))
    means = np.mean(values, axis=0)
    assert np.min(values) > 0.3 and np.max(values) < 4
    assert 2 < means[0] < 3 and means[1] < means[0]
