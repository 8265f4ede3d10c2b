"""VGG19 features, on a file laid out as Keras publishes it with random values in it.

The ImageNet weights themselves are not used: nothing here says that the features mean anything.
"""
import shutil

import h5py
import numpy as np
import pytest
import scipy.signal

from common.cli import UserError
from common.nn.keras_compat import tf
from common.training import vgg
from common.training.losses import l1, perceptual


def by_hand(path, image, layers):
    """The same features with scipy, from the file's arrays and the images' blue, green, red."""
    found, x = {}, image[..., ::-1].astype("float64") - [103.939, 116.779, 123.68]
    with h5py.File(str(path), "r") as file:
        for block, (_, count) in enumerate(vgg.BLOCKS, 1):
            for i in range(1, count + 1):
                name = f"block{block}_conv{i}"
                kernel, bias = file[name][f"{name}_W_1:0"][:], file[name][f"{name}_b_1:0"][:]
                y = np.stack([bias[o] + sum(
                    scipy.signal.correlate2d(x[..., c], kernel[..., c, o], "same")
                    for c in range(x.shape[-1])) for o in range(len(bias))], -1)
                x = np.maximum(y, 0)
                found[f"conv{block}_{i}"] = y, x
                if f"conv{block}_{i}" == layers[-1]:
                    return [found[name] for name in layers]
            h, w = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
            x = x[:h, :w].reshape(h // 2, 2, w // 2, 2, -1).max((1, 3))


@pytest.mark.parametrize("before_relu", [True, False])
def test_features_are_those_of_the_files_arrays(vgg_file, photo, before_relu):
    image = photo(12, 15)
    features = vgg.VggFeatures(vgg_file, ("conv1_2", "conv2_1"), before_relu, scale=0.5)
    expected = [maps[0 if before_relu else 1] * 0.5
                for maps in by_hand(vgg_file, image, ("conv1_2", "conv2_1"))]
    for ours, theirs in zip(features(image[None].astype("float32")), expected):
        assert ours.dtype == tf.float32 and ours.shape[1:] == theirs.shape
        np.testing.assert_allclose(ours[0], theirs, atol=1e-2)


def test_the_default_layer_is_a_sixteenth_of_the_size_and_does_not_learn(vgg_file, photo):
    features = vgg.VggFeatures(vgg_file)
    maps = features(photo(64, 96)[None].astype("float32"))
    assert [tuple(m.shape) for m in maps] == [(1, 4, 6, 512)]
    assert features.model.trainable_variables == [] and len(features.model.weights) == 32
    assert features.model.count_params() == 20_024_384


def test_the_perceptual_loss_is_the_weighted_distance_of_the_maps(vgg_file, photo):
    features = vgg.VggFeatures(vgg_file, ("conv1_1", "conv2_2"))
    sr, hr = (photo(40, 60)[i:i + 24, :32][None].astype("float32") for i in (0, 9))
    loss = perceptual(features, l1, (0.25, 3.0))
    a, b = features(sr), features(hr)
    expected = 0.25 * np.abs(a[0] - b[0]).mean() + 3 * np.abs(a[1] - b[1]).mean()
    assert float(loss(tf.constant(sr), tf.constant(hr))) == pytest.approx(expected, rel=1e-5)
    with tf.GradientTape() as tape:
        x = tf.constant(sr)
        tape.watch(x)
        value = loss(x, tf.constant(hr))
    assert np.abs(tape.gradient(value, x)).max() > 0


def test_a_layer_that_is_not_there_is_named(vgg_file):
    with pytest.raises(UserError, match="no VGG19 layer conv5_9.*conv5_4"):
        vgg.VggFeatures(vgg_file, ("conv5_9",))


def test_another_file_is_refused(tmp_path, vgg_file):
    path = tmp_path / "other.h5"
    shutil.copy(vgg_file, path)
    with h5py.File(str(path), "r+") as file:
        kernel = file["block3_conv1"]["block3_conv1_W_1:0"]
        values = kernel[..., :100]
        del file["block3_conv1"]["block3_conv1_W_1:0"]
        file["block3_conv1"]["block3_conv1_W_1:0"] = values
    with pytest.raises(UserError, match="VGG19: block3_conv1 has arrays"):
        vgg.VggFeatures(path)
    path.write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(UserError, match="is a PNG image"):
        vgg.VggFeatures(path)
    with pytest.raises(UserError, match="correct --vgg_weights"):
        vgg.VggFeatures(tmp_path / "none.h5")


def test_the_file_is_found_where_the_modelzoo_description_puts_it(tmp_path, monkeypatch, vgg_file):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "h5").mkdir()
    shutil.copy(vgg_file, tmp_path / vgg.MODELZOO_PLACE)
    assert vgg.find_weights() == vgg.MODELZOO_PLACE


def test_without_any_weights_one_line_says_which_file_to_put_where(tmp_path, monkeypatch):
    def unreachable(*args, **kwargs):
        raise OSError("URL fetch failure")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(vgg.keras.utils, "get_file", unreachable)
    with pytest.raises(UserError) as caught:
        vgg.find_weights()
    text = str(caught.value)
    assert vgg.FILE in text and "into h5/" in text and "--perceptual_weight 0" in text
