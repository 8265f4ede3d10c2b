"""Tiles, self-ensemble and kinds of images, with EDSR and with networks whose result is known."""

import functools

import numpy as np
import pytest

import models
from common import bicubic
from common.cli import UserError
from common.images.colour import extend_under_alpha
from common.inference.footprint import Footprint, footprint, model_scale
from common.inference.overlap import measured_overlap
from common.inference.upscaler import Upscaler, cut
from common.nn.keras_compat import keras, set_seed
from common.nn.layers import (
    CropTo,
    DepthToSpace,
    ShiftScale,
    SpaceToDepth,
)

DEMO = {"num_blocks": 4, "num_filters": 32, "res_scale": 1}
DEEP = {"num_blocks": 16, "num_filters": 12, "res_scale": 1}


@functools.cache
def edsr(scale=2, gain=1.7, **options):
    """EDSR with fresh weights; `gain` makes its output vary like an image does, or more."""
    set_seed(5)
    model = models.create("edsr", scale, **options)
    for weight in model.trainable_weights:
        if len(weight.shape) == 4:
            weight.assign(weight * gain)
    return model


def nearest(scale=2, shift=0.0, factor=1.0):
    """A network that repeats pixels: (x + shift) * factor."""
    image = keras.Input((None, None, 3))
    x = ShiftScale(shift, factor)(image)
    return keras.Model(image, keras.layers.UpSampling2D(scale)(x))


def blocks(block, scale=1):
    """A network that works on blocks of LR pixels: unshuffle, 3x3, shuffle."""
    set_seed(2)
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(3 * (block * scale)**2, 3, padding="same")(SpaceToDepth(block)(image))
    x = DepthToSpace(block * scale)(x)
    return keras.Model(image, CropTo(scale)([x, image]))


def noise(*shape, dtype=np.uint8):
    return np.random.RandomState(1).randint(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


@pytest.mark.parametrize("options, gain, tile", [
    (DEMO, 1.7, 24), (DEMO, 1.7, 37), (DEEP, 1, 24), ({**DEEP, "num_blocks": 32}, 1.5, 30)])
def test_tiles_equal_the_whole_image(options, gain, tile):
    model, image = edsr(gain=gain, **options), noise(101, 134, 3)
    whole, tiled = Upscaler(model, tile=1000)(image), Upscaler(model, tile=tile)(image)
    assert whole.std() > 10
    assert np.abs(whole.astype(int) - tiled).max() <= 1


def test_the_overlap_is_measured_once_and_where_tiles_are_needed():
    model, image = edsr(gain=1, **{**DEEP, "num_blocks": 32}), noise(200, 250, 3)
    upscaler, sizes = Upscaler(model), []
    forward = upscaler._forward
    upscaler._forward = lambda window: sizes.append(window.shape) or forward(window)
    upscaler(image)
    assert sizes == [(200, 250, 3)]
    upscaler.tile = 60
    for _ in range(2):
        upscaler(image)
    overlap = upscaler._overlap(footprint(model))
    assert 2 < overlap < footprint(model).radius / 2
    assert sizes[1:].count((60 + 2 * overlap, 60 + 2 * overlap, 3)) == 2 * 4 * 5
    assert len(sizes) == 1 + 40 + 4


@pytest.mark.parametrize("reach", [3, 20, 30])
def test_the_measured_overlap_is_where_a_network_looks(reach):
    """A network that adds a pixel `reach` to the right, and little of one that is far below."""
    def forward(window):
        padded = np.pad(window, ((0, 90), (0, reach), (0, 0)))
        return padded[:-90, reach:] + 1e-4 * padded[90:, :-reach]

    found = Footprint(1, 90, 12, 1)
    assert measured_overlap(forward, found) == reach
    assert measured_overlap(forward, found._replace(grid=4)) == -(-reach // 4) * 4
    assert measured_overlap(forward, found._replace(radius=7)) == 7
    assert measured_overlap(lambda window: forward(window) * np.nan, found) == 32


def test_tiles_without_overlap_would_differ():
    model, image = edsr(**DEMO), noise(40, 50, 3)
    seams = Upscaler(model, tile=20, tile_overlap=0)(image)
    assert np.abs(seams.astype(int) - Upscaler(model, tile=1000)(image)).max() > 1


def test_automatic_tiles_equal_the_whole_image(monkeypatch):
    model, image = edsr(**DEMO), noise(90, 150, 3)
    whole = Upscaler(model)(image)
    monkeypatch.setattr("common.inference.upscaler.AUTOMATIC_SIDES", (64, 64))
    seen = []
    upscaler = Upscaler(model)
    upscaler.measures = False  # so that its radius is the overlap
    forward = upscaler._forward
    upscaler._forward = lambda window: seen.append(window.shape) or forward(window)
    assert np.abs(whole.astype(int) - upscaler(image)).max() <= 1
    # tiles of at most 64 - 2 * 12: three rows of 30, four columns of 38
    assert seen == [(30 + 24, 38 + 24, 3)] * 12


def test_windows_of_one_size_for_images_of_all_sizes():
    model = edsr(**DEMO)
    upscale, sizes = Upscaler(model, tile=40, fixed=True), []
    network = upscale._network
    upscale._network = lambda x: sizes.append(x.shape) or network(x)
    for image in (noise(101, 134, 3), noise(30, 52, 3), noise(64, 64, 3)):
        ours, whole = upscale(image), Upscaler(model)(image)
        assert ours.shape == whole.shape
        # At its right and lower borders the image goes on with its edge, elsewhere with zeros.
        radius = footprint(model).radius * 2
        inner = slice(None, -radius), slice(None, -radius)
        assert np.abs(ours[inner].astype(int) - whole[inner]).max() <= 1
    side = 40 + 2 * footprint(model).radius
    assert set(sizes) == {(1, side, side, 3)} and len(sizes) > 3
    automatic = Upscaler(model, fixed=True)
    automatic._network = lambda x: sizes.append(x.shape) or network(x)
    automatic(noise(30, 52, 3))
    assert sizes[-1] == (1, 192, 192, 3)


@pytest.mark.parametrize("size, tile, overlap", [
    (1, 1, 0), (10, 3, 0), (10, 3, 2), (100, 32, 8), (100, 50, 25), (101, 33, 7), (64, 100, 4)])
def test_windows_cover_a_side_once_with_their_surroundings(size, tile, overlap):
    windows = cut(size, tile, overlap)
    assert len({w.stop - w.start for w in windows}) == 1
    assert windows[0].first == 0 and windows[-1].last == size
    assert all(a.last == b.first for a, b in zip(windows, windows[1:]))
    for w in windows:
        assert 0 <= w.start <= w.first < w.last <= w.stop <= size
        assert w.start == 0 or w.first - w.start >= overlap
        assert w.stop == size or w.stop - w.last >= overlap


@pytest.mark.parametrize("block, scale", [(2, 2), (3, 1), (4, 1)])
@pytest.mark.parametrize("tile, overlap", [(10, None), (13, 7), (1, None)])
def test_tiles_lie_on_the_blocks_of_a_network(block, scale, tile, overlap):
    model, image = blocks(block, scale), noise(45, 31, 3)
    whole = Upscaler(model, tile=1000, self_ensemble=True)(image)
    tiled = Upscaler(model, tile=tile, tile_overlap=overlap, self_ensemble=True)(image)
    assert whole.shape == (45 * scale, 31 * scale, 3) and whole.std() > 10
    assert np.abs(whole.astype(int) - tiled).max() <= 1


def test_automatic_tiles_lie_on_the_blocks_of_a_network(monkeypatch):
    model, image = blocks(4), noise(90, 151, 3)
    whole = Upscaler(model)(image)
    monkeypatch.setattr("common.inference.upscaler.AUTOMATIC_SIDES", (64, 64))
    seen = []
    upscaler = Upscaler(model)
    upscaler.measures = False  # so that its radius is the overlap
    forward = upscaler._forward
    upscaler._forward = lambda window: seen.append(window.shape) or forward(window)
    assert np.abs(whole.astype(int) - upscaler(image)).max() <= 1
    # radius 4 + 3: tiles of at most 64 - 2 * 8, two rows of 45 -> 48, four columns of 38 -> 40
    assert seen == [(48 + 16, 40 + 16, 3)] * 8


@pytest.mark.parametrize("channels", [(), (2,), (3,), (4,)])
def test_a_network_of_scale_1_keeps_the_size(channels):
    image = np.maximum(noise(37, 26, *channels), 1)  # nothing wholly transparent
    model = nearest(1)
    assert model_scale(model) == 1
    np.testing.assert_array_equal(Upscaler(model, tile=8)(image), image)
    assert Upscaler(blocks(4), self_ensemble=True)(image).shape == image.shape


@pytest.mark.parametrize("most, dtype", [(255, np.uint8), (65535, np.uint16)])
@pytest.mark.parametrize("colours", [1, 3])
def test_what_hides_under_transparent_pixels_does_not_show(most, dtype, colours):
    y, x = np.mgrid[-20:20, -20:20]
    inside = np.hypot(y, x) < 13
    alpha = np.where(inside, most, 0).astype(dtype)
    picture = np.full((40, 40, colours), 0.8 * most)
    upscale = Upscaler(edsr(gain=1, **DEMO))
    results = []
    for hidden in (0, most, 0.8 * most, noise(40, 40, colours) * float(most // 255)):
        image = np.where(inside[..., None], picture, hidden).astype(dtype)
        results.append(upscale(np.dstack([image, alpha])))
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
    # As a picture without transparency, and the argument is not changed.
    plain = upscale(picture.astype(dtype) if colours == 3 else picture[..., 0].astype(dtype))
    np.testing.assert_array_equal(results[0][..., :-1].reshape(plain.shape), plain)
    np.testing.assert_array_equal(image[~inside], hidden[~inside].astype(dtype))


def test_each_hidden_pixel_takes_the_nearest_visible_colour():
    colours, alpha = noise(9, 14, 3), np.zeros((9, 14), np.uint8)
    seen = [(1, 2), (7, 3), (4, 12)]
    for place in seen:
        alpha[place] = 40
    filled = extend_under_alpha(colours, alpha)
    for y in range(9):
        for x in range(14):
            distances = [np.hypot(y - v, x - u) for v, u in seen]
            if np.sort(distances)[1] - min(distances) > 0.3:  # the distances are approximate
                np.testing.assert_array_equal(filled[y, x],
                                              colours[seen[int(np.argmin(distances))]])
    for same in (np.zeros((9, 14), np.uint8), np.ones((9, 14), np.uint8)):
        assert extend_under_alpha(colours, same) is colours


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_alpha_through_the_network_is_a_grey_image(dtype):
    upscale = Upscaler(edsr(gain=1, **DEMO))
    image = np.maximum(noise(20, 26, 4), 1).astype(dtype) * (np.iinfo(dtype).max // 255)
    bicubic = upscale(image)
    upscale.alpha = "network"
    result = upscale(image)
    np.testing.assert_array_equal(result[..., 3], upscale(image[..., 3].copy()))
    np.testing.assert_array_equal(result[..., :3], bicubic[..., :3])
    assert np.abs(result[..., 3].astype(int) - bicubic[..., 3]).max() > 0
    image[..., 3] = np.iinfo(dtype).max
    assert (upscale(image)[..., 3] == np.iinfo(dtype).max).all()  # opaque stays opaque


def test_self_ensemble_follows_flips_and_rotations():
    model, image = edsr(gain=1, **DEMO), np.float32(noise(20, 26, 3))
    plain, ensemble = Upscaler(model), Upscaler(model, self_ensemble=True)
    expected = ensemble.predict(image)
    for turns in range(4):
        for mirror in (1, -1):
            turned = np.rot90(image, turns)[:, ::mirror]
            np.testing.assert_allclose(ensemble.predict(turned),
                                       np.rot90(expected, turns)[:, ::mirror], atol=1e-3)
    assert np.abs(plain.predict(image[:, ::-1])[:, ::-1] - plain.predict(image)).max() > 0.1
    turned_back = [np.rot90(plain.predict(np.rot90(x, k)), -k) for k in range(4)
                   for x in (image, image.swapaxes(0, 1))]
    mean = np.mean([turned_back[i] if i % 2 == 0 else turned_back[i].swapaxes(0, 1)
                    for i in range(8)], axis=0)
    np.testing.assert_allclose(expected, mean, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [(), (2,), (3,), (4,)])
def test_kinds_come_back_as_they_were(dtype, channels):
    image = noise(9, 7, *channels, dtype=dtype)
    sr = Upscaler(nearest(3))(image)
    assert sr.dtype == dtype and sr.shape == (27, 21, *channels)
    colours = {(): 1, (2,): 1, (3,): 3, (4,): 3}[channels]
    repeated = image.repeat(3, 0).repeat(3, 1).reshape(27, 21, -1)
    np.testing.assert_array_equal(sr.reshape(27, 21, -1)[..., :colours], repeated[..., :colours])
    if channels in ((2,), (4,)):
        # in floats; the integer version rounds between its two passes
        smooth = bicubic.upscale(image[..., -1].astype(float), 3)
        top = np.iinfo(dtype).max
        np.testing.assert_array_equal(sr[..., -1], np.clip(np.rint(smooth), 0, top))


def test_an_opaque_image_stays_opaque():
    image = noise(8, 8, 4)
    image[..., 3] = 255
    assert (Upscaler(nearest())(image)[..., 3] == 255).all()


def test_values_are_clipped_and_rounded():
    image = np.array([[10, 100, 250]], np.uint8)
    assert Upscaler(nearest(1, shift=20.6))(image).tolist() == [[31, 121, 255]]
    assert Upscaler(nearest(1, shift=-20.6))(image).tolist() == [[0, 79, 229]]
    assert Upscaler(nearest(1, shift=20.6)).predict(
        np.full((1, 1, 3), 250, np.float32))[0, 0, 0] == pytest.approx(270.6, abs=1e-4)


@pytest.mark.parametrize("image", [
    np.zeros((4, 4), np.float32), np.zeros((4, 4, 5), np.uint8), np.zeros(4, np.uint8)])
def test_other_arrays_are_refused(image):
    with pytest.raises(ValueError, match="not an image"):
        Upscaler(nearest())(image)


def test_output_that_is_not_finite_is_refused():
    with pytest.raises(UserError, match="not finite"):
        Upscaler(nearest(factor=float("inf")))(np.full((4, 4, 3), 9, np.uint8))


def test_negative_tiles_are_refused():
    with pytest.raises(UserError, match="0 or more"):
        Upscaler(nearest(), tile=-1)


def test_a_joint_model_is_refused():
    image = keras.Input((None, None, 3))
    outputs = {f"x{s}": keras.layers.UpSampling2D(s)(image) for s in (2, 3)}
    with pytest.raises(UserError, match="several scales"):
        Upscaler(keras.Model(image, outputs))


@pytest.mark.parametrize("channels", [(), (2,), (4,)])
@pytest.mark.parametrize("alpha", ["bicubic", "network"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_bands_are_the_whole_image_of_every_kind(channels, alpha, dtype):
    model, image = edsr(gain=1, **DEMO), noise(67, 50, *channels, dtype=dtype)
    level = np.iinfo(dtype).max // 255
    for self_ensemble in (False, True):
        whole = Upscaler(model, tile=1000, self_ensemble=self_ensemble)
        tiled = Upscaler(model, tile=20, self_ensemble=self_ensemble)
        whole.alpha = tiled.alpha = alpha
        bands = list(tiled.bands(image))
        assert [len(band) for band in bands] == [40, 40, 40, 14]
        assert all(band.dtype == dtype for band in bands)
        assert np.abs(np.concatenate(bands).astype(int) - whole(image)).max() <= level


def test_self_ensemble_in_blocks_is_the_same_whole_and_tiled():
    model, image = blocks(4), noise(45, 31, 3)
    whole = Upscaler(model, self_ensemble=True)(image)
    tiled = Upscaler(model, tile=12, self_ensemble=True)(image)
    assert np.abs(whole.astype(int) - tiled).max() <= 1
