import io

import numpy as np
import pytest
from PIL import Image

from common.bicubic import downscale
from common.cli import UserError
from common.data.degradation import degrade
from common.data.prepare import Preparation


def psnr(a, b):
    return -10 * np.log10(np.mean((a.astype(float) - b) ** 2) / 255**2)


def blurred(image, sigma):
    """A Gaussian as a sum of shifted images with the edges repeated, rounded to 8 bits."""
    reach = int(4 * sigma + 0.5)
    weights = np.exp(-np.arange(-reach, reach + 1) ** 2 / (2 * sigma**2))
    weights /= weights.sum()
    result = image.astype(float)
    for axis in 0, 1:
        pad = [(reach, reach) if i == axis else (0, 0) for i in range(3)]
        padded = np.pad(result, pad, mode="edge")
        result = sum(weight * np.take(padded, range(i, i + image.shape[axis]), axis)
                     for i, weight in enumerate(weights))
    return np.rint(result).astype(np.uint8)


def test_without_choices_it_is_the_bicubic_reduction(photo):
    image = photo(61, 83)
    for scale in (1, 2, 3, 4):
        assert np.array_equal(Preparation().lr(image, scale), downscale(image, scale))
    assert Preparation().hr(image) is image
    assert Preparation().key == "" and Preparation().worsened_by == []


def test_blur_comes_before_the_reduction(photo):
    image = photo(60, 84)
    for sigma, scale in ((0.7, 2), (1.6, 3), (3.0, 4)):
        expected = downscale(blurred(image, sigma), scale)
        made = Preparation(blur=sigma).lr(image, scale)
        assert np.abs(made.astype(int) - expected).max() <= 1
        assert (made != expected).mean() < 0.001
        assert np.var(made.astype(float)) < np.var(downscale(image, scale).astype(float))


@pytest.mark.parametrize("scale", [2, 4])
def test_the_other_reductions(photo, scale):
    image = photo(64, 80)
    blocks = image.reshape(64 // scale, scale, 80 // scale, scale, 3).astype(float)
    area = Preparation(reduction="area").lr(image, scale)
    assert np.abs(area - blocks.mean((1, 3))).max() <= 1
    nearest = Preparation(reduction="nearest").lr(image, scale)
    assert np.array_equal(nearest, image[scale // 2::scale, scale // 2::scale])
    # A triangle over 2 * scale pixels, which starts half a scale before the block.
    weights = 1 - np.abs((np.arange(2 * scale) + 0.5) / scale - 1)
    weights /= weights.sum()
    made = Preparation(reduction="bilinear").lr(image, scale)
    for y, x in ((1, 1), (3, 7), (9, 4)):
        top, left = y * scale - scale // 2, x * scale - scale // 2
        part = image[top:top + 2 * scale, left:left + 2 * scale]
        expected = np.einsum("y,x,yxc->c", weights, weights, part.astype(float))
        assert np.abs(made[y, x] - expected).max() <= 1


def test_rows_that_fill_no_lr_pixel_do_not_count(photo):
    for reduction in ("bicubic", "bilinear", "nearest", "area"):
        way = Preparation(blur=1.0, reduction=reduction)
        made = way.lr(photo(62, 83), 4)
        assert made.shape == (15, 20, 3) and made.dtype == np.uint8
        assert np.array_equal(made, way.lr(photo(60, 80), 4))


def test_noise_is_of_the_sigma_and_always_the_same():
    flat = np.full((240, 320, 3), 128, np.uint8)
    for sigma in (2.0, 10.0, 25.0):
        made = Preparation(noise=sigma).lr(flat, 1).astype(float)
        assert abs(made.mean() - 128) < 4 * sigma / np.sqrt(flat.size)
        assert abs(made.std() / np.hypot(sigma, np.sqrt(1 / 12)) - 1) < 0.01
        channels = made.reshape(-1, 3).T
        assert np.abs(np.corrcoef(channels) - np.eye(3)).max() < 0.02
    assert np.array_equal(Preparation(noise=25.0).lr(flat, 1), made)
    assert not np.array_equal(Preparation(noise=25.0).lr(flat + 1, 1) - made, np.ones_like(made))
    dark = Preparation(noise=10.0).lr(np.zeros_like(flat), 1)
    assert 0.49 < (dark == 0).mean() < 0.55 and dark.max() < 80  # clipped, not wrapped
    # On every version of NumPy:
    small = Preparation(noise=10.0).lr(flat[:2, :2], 1)
    assert small.ravel().tolist() == [131, 123, 126, 134, 122, 125, 127, 138, 122, 132, 129, 133]


def test_jpeg_is_that_of_a_file(photo):
    image = photo(96, 128)
    lr, scores = downscale(image, 2), []
    for quality in (95, 60, 30, 10):
        file = io.BytesIO()
        Image.fromarray(lr).save(file, "JPEG", quality=quality)
        made = Preparation(jpeg=quality).lr(image, 2)
        assert np.array_equal(made, np.array(Image.open(file)))
        scores.append(psnr(made, lr))
    assert scores == sorted(scores, reverse=True) and scores[0] > 40 and scores[-1] < 30
    grey = Preparation(jpeg=50, noise=3.0, blur=1.0).lr(image[..., 1], 2)
    assert grey.shape == (48, 64)


def test_the_order_is_blur_reduction_noise_jpeg(photo):
    image = photo(64, 80)
    steps = [(Preparation(blur=1.2), 1), (Preparation(reduction="area"), 2),
             (Preparation(noise=6.0), 1), (Preparation(jpeg=70), 1)]
    expected = image
    for step, scale in steps:
        expected = step.lr(expected, scale)
    whole = Preparation(blur=1.2, reduction="area", noise=6.0, jpeg=70)
    assert np.array_equal(whole.lr(image, 2), expected)
    assert whole.worsened_by == ["blur", "reduction", "noise", "jpeg"]


def test_the_recipe_of_an_animation_film(photo):
    """HR 1280x768 to LR 320x192: blurred, then the nearest pixels."""
    frame = np.array(Image.fromarray(photo()).resize((1280, 768)))
    lr = Preparation(blur=1.5, reduction="nearest").lr(frame, 4)
    assert lr.shape == (192, 320, 3)
    expected = blurred(frame[:100, :100], 1.5)[2::4, 2::4][:20, :20]
    assert np.abs(lr[:20, :20].astype(int) - expected).max() <= 1


def test_resizing_squeezes_to_a_square():
    rows, columns = np.mgrid[:150, :210]
    wave = 128 + 60 * np.cos((rows + 0.5) / 150 * 5) + 60 * np.cos((columns + 0.5) / 210 * 4)
    image = np.dstack([np.rint(wave).astype(np.uint8)] * 3)
    made = Preparation(resize=48).hr(image)
    sites = (np.arange(48) + 0.5) / 48
    expected = 128 + 60 * np.cos(sites * 5)[:, None] + 60 * np.cos(sites * 4)
    assert made.shape == (48, 48, 3) and made.dtype == np.uint8
    assert np.abs(made[2:-2, 2:-2, 0] - expected[2:-2, 2:-2]).max() < 1.5
    cut = Preparation(crop=100, resize=50).hr(image)
    whole = Preparation(resize=50).hr(np.ascontiguousarray(image[25:125, 55:155]))
    assert np.array_equal(cut, whole)


def test_a_photo_is_degraded_by_the_seed_and_its_name(photo):
    image, way = photo(61, 83), Preparation(degradation="photo", seed=4)
    assert np.array_equal(way.lr(image, 3, "cat"), degrade(image, 3, 4, "cat"))
    assert not np.array_equal(way.lr(image, 3, "cat"), way.lr(image, 3, "dog"))
    assert way.worsened_by == ["degradation"] and "seed=4" in way.key
    for name, value in (("blur", 1.0), ("reduction", "area"), ("noise", 2.0), ("jpeg", 50)):
        with pytest.raises(UserError, match=f"--degradation photo draws .*leave out --{name}$"):
            Preparation(degradation="photo", **{name: value})


def test_mistakes_are_named():
    for name, value in (("jpeg", 101), ("blur", float("inf")), ("noise", 256), ("blur", -1)):
        with pytest.raises(UserError, match=f"--{name} {value}: choose from 0"):
            Preparation(**{name: value})
