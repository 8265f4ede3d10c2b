import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import convolve

from common.data.faults import (
    blur,
    gaussian_kernel,
    gaussian_noise,
    jpeg,
    poisson_noise,
    resize,
    seeded,
    sinc_kernel,
)


def flat(*value, side=256):
    return np.full((side, side, 3), value, np.uint8)


def edge(side=80):
    image = flat(20, side=side)
    image[:, side // 2:] = 220
    return image


def width(profile):
    """The standard deviation of the blur that an edge went through."""
    slope = np.diff(profile.astype(float))
    slope /= slope.sum()
    place = np.arange(len(slope))
    return np.sqrt(slope @ place**2 - (slope @ place) ** 2)


def test_an_edge_gets_as_wide_as_the_kernel():
    image = edge()
    for sigma in (1.0, 2.0, 3.0):
        made = blur(image, gaussian_kernel(21, (sigma, sigma)))
        assert abs(width(made[40, :, 1]) / sigma - 1) < 0.03
        assert np.array_equal(made, np.broadcast_to(made[:1], made.shape))
    long = blur(image, gaussian_kernel(21, (3.0, 0.4)))
    short = blur(image, gaussian_kernel(21, (3.0, 0.4), np.pi / 2))
    assert width(long[40, :, 0]) > 2.9 and width(short[40, :, 0]) < 0.6


def test_a_blur_is_the_convolution(photo):
    image = photo(50, 70)
    kernel = np.random.RandomState(0).uniform(size=(9, 9))
    kernel /= kernel.sum()
    expected = convolve(image.astype(float), kernel[..., None], mode="mirror")
    assert np.array_equal(blur(image, kernel), np.rint(expected))
    assert (blur(flat(7, 130, 255, side=30), kernel) == (7, 130, 255)).all()
    assert blur(image[:1, :2], kernel).shape == (1, 2, 3)  # far smaller than the kernel


def test_kernels_have_the_covariance_that_was_asked_for():
    y, x = np.mgrid[-20:21, -20:21]
    for sigmas, angle in (((3.0, 1.0), 0.0), ((3.0, 1.5), 0.7), ((2.0, 2.0), 1.0)):
        kernel = gaussian_kernel(41, sigmas, angle)
        axes = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        expected = axes @ np.diag(np.square(sigmas)) @ axes.T
        measured = [[(kernel * a * b).sum() for b in (x, y)] for a in (x, y)]
        assert np.allclose(measured, expected, atol=0.01) and np.isclose(kernel.sum(), 1)


@pytest.mark.parametrize("plateau, at_sigma", [(False, np.exp(-0.5)), (True, 0.5)])
def test_generalised_kernels_are_flatter_or_sharper(plateau, at_sigma):
    inside = []
    for beta in (0.5, 1.0, 3.0):
        kernel = gaussian_kernel(21, (4.0, 4.0), 0.0, beta, plateau)
        line = kernel[10, 10:] / kernel[10, 10]
        assert np.isclose(line[4], at_sigma) and (np.diff(line) < 0).all()
        inside.append(line[2])
    assert inside == sorted(inside)  # a higher beta keeps more of the middle


def test_a_sinc_filter_passes_low_frequencies_and_rings():
    for side, cutoff in ((21, np.pi / 3), (21, 2.0), (13, 1.5)):
        kernel = sinc_kernel(side, cutoff)
        place = np.arange(side) - side // 2

        def passed(frequency, kernel=kernel, place=place):
            return (kernel * np.cos(frequency * place)).sum()

        assert np.isclose(kernel.sum(), 1) and np.allclose(kernel, kernel[::-1, ::-1])
        assert abs(passed(0.5 * cutoff) - 1) < 0.15 and abs(passed(1.5 * cutoff)) < 0.15
    made = blur(edge(), sinc_kernel(21, np.pi / 3))
    assert made[40].max() > 225 and made[40].min() < 15


def test_gaussian_noise_is_of_the_sigma():
    for sigma in (3.0, 20.0):
        colour, grey = (gaussian_noise(flat(128), sigma, seeded(b"a"), grey).astype(float) - 128
                        for grey in (False, True))
        for noise in (colour, grey):
            assert abs(noise.mean()) < 0.2
            assert abs(noise.std() / np.hypot(sigma, np.sqrt(1 / 12)) - 1) < 0.02
        assert np.abs(np.corrcoef(colour.reshape(-1, 3).T) - np.eye(3)).max() < 0.02
        assert np.array_equal(grey[..., :1].repeat(3, 2), grey)


def test_poisson_noise_grows_with_the_light():
    for strength in (0.5, 2.0):
        for value in (16, 100, 180):
            colour, grey = (poisson_noise(flat(value), strength, seeded(b"a"), grey).astype(float)
                            for grey in (False, True))
            for made in (colour, grey):
                expected = np.sqrt(strength**2 * value + 1 / 12 * (strength % 1 > 0))
                assert abs(made.std() / expected - 1) < 0.02
                assert abs(made.mean() - value) < 0.3
            assert np.abs(np.corrcoef(colour.reshape(-1, 3).T) - np.eye(3)).max() < 0.02
            assert np.array_equal(grey[..., :1].repeat(3, 2), grey)
    assert (poisson_noise(flat(0), 3.0, seeded(b"a")) == 0).all()  # no light, no noise
    noise = poisson_noise(flat(200, 50, 50), 1.0, seeded(b"a"), grey=True).astype(float)
    luma = 0.299 * 200 + 0.701 * 50
    assert abs(noise[..., 0].std() / np.sqrt(luma) - 1) < 0.02


def test_jpeg_makes_blocks(photo):
    image = photo(296, 448)
    steps = np.abs(np.diff(jpeg(image, 15).astype(float), axis=1)).mean((0, 2))
    at_borders = np.zeros(len(steps), bool)
    at_borders[7::8] = True
    before = np.abs(np.diff(image.astype(float), axis=1)).mean((0, 2))
    assert steps[at_borders].mean() > 1.3 * steps[~at_borders].mean()
    assert before[at_borders].mean() < 1.1 * before[~at_borders].mean()
    worse, better = (np.abs(jpeg(image, quality) - image.astype(float)).mean()
                     for quality in (15, 95))
    assert worse > 2 * better > 0


def test_sizes_and_methods(photo):
    image = photo(60, 90)
    boxes = image.reshape(20, 3, 30, 3, 3).astype(float).mean((1, 3))
    assert np.abs(resize(image, (20, 30), Image.Resampling.BOX) - boxes).max() <= 1
    assert resize(image, (71, 93), Image.Resampling.BICUBIC).shape == (71, 93, 3)


def test_a_key_seeds_the_same_everywhere():
    first, again, other = (seeded(key).uniform(size=4) for key in (b"1\na", b"1\na", b"1\nb"))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert seeded(b"key").randint(0, 1000, 5).tolist() == [492, 22, 482, 265, 895]
