"""What a network needs around a tile: of networks whose answer is known, and of EDSR."""

import numpy as np
import pytest

import models
from common.inference.footprint import MAX_OVERLAP, footprint, model_scale
from common.inference.upscaler import Upscaler
from common.nn.keras_compat import keras, set_seed
from common.nn.layers import BilinearUpscale, DepthToSpace, EdgePad, NearestUpscale, SpaceToDepth


def test_scale_is_found_with_and_without_metadata():
    image = keras.Input((None, None, 3))
    assert model_scale(keras.Model(image, keras.layers.UpSampling2D(3)(image))) == 3
    assert model_scale(models.create("edsr", 4, num_blocks=1, num_filters=4, res_scale=1)) == 4


def test_footprint_of_a_known_network():
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(16, 5, padding="same")(image)  # 2
    a = keras.layers.Conv2D(16, 3, padding="same", dilation_rate=4)(x)  # 4
    x = keras.layers.Add()([x, a])
    x = DepthToSpace(2)(x)
    x = keras.layers.Conv2D(20, 3, padding="same")(x)  # 1 of the output's pixels: 0.5
    model = keras.Model(image, keras.layers.Conv2D(3, 1)(x))
    assert footprint(model) == (2, 7, 20 * 4 * 4, 1)


@pytest.mark.parametrize("layers, expected", [
    ([SpaceToDepth(2), DepthToSpace(2)], (1, 1, 2)),
    ([SpaceToDepth(2), keras.layers.Conv2D(12, 3, padding="same"), SpaceToDepth(2),
      keras.layers.Conv2D(3, 1), NearestUpscale(4)], (1, 5, 4)),
    ([keras.layers.Conv2D(4, 4, strides=2, padding="same"), NearestUpscale(4)], (2, 2, 2)),
    ([keras.layers.MaxPooling2D(2), NearestUpscale(2)], (1, 1, 2)),
    ([EdgePad(2), keras.layers.Conv2D(3, 5)], (1, 2, 1)),
    ([BilinearUpscale(3)], (3, 2, 1))])  # one down and one across
def test_footprint_of_blocks_padding_and_enlargement(layers, expected):
    image = x = keras.Input((None, None, 3))
    for layer in layers:
        x = layer(x)
    found = footprint(keras.Model(image, x))
    assert (found.scale, found.radius, found.grid) == expected


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_footprint_holds_all_that_a_pixel_sees(scale):
    """Change one LR pixel: nothing moves beyond the radius, something moves near it."""
    set_seed(5)
    model = models.create("edsr", scale, num_blocks=2, num_filters=32, res_scale=1)
    for weight in model.trainable_weights:
        if len(weight.shape) == 4:
            weight.assign(weight * 1.7)  # a fresh network hardly changes its input
    radius = footprint(model).radius
    image = np.full((41, 41, 3), 100, np.float32)
    changed = image.copy()
    changed[20, 20] = 250
    upscaler = Upscaler(model)
    moved = np.abs(upscaler.predict(changed) - upscaler.predict(image)).max(axis=(0, 2)) > 0
    columns = np.flatnonzero(moved) // scale
    reached = max(20 - columns.min(), columns.max() - 20)
    assert radius - 1 <= reached <= radius <= MAX_OVERLAP
