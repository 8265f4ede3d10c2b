"""The factor of VGG19's features, such that the perceptual loss weighs what it does elsewhere.

On the first convolution before its ReLU, which is linear: there the factors are not a guess.
"""

from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.signal import correlate2d

from common.flags import parse
from common.training.gan_losses import GAN_LOSSES
from common.training.losses import PIXEL_LOSSES, perceptual
from common.training.vgg import VggFeatures
from models.esrgan.train import EsrganOptions
from models.srdrm.train import SrdrmOptions
from models.srgan.train import SrganLines, SrganOptions

ROOT = Path(__file__).resolve().parents[2]


def read(cls, *argv):
    presets = ROOT / "models" / cls.__name__[:-7].lower() / "configs"
    return parse(cls, list(argv), "train", presets)


def distance(vgg_file, sr, hr, to_input, measure):
    """Of the first convolution's features, where a program gives VGG19 `to_input(image)`."""
    with h5py.File(str(vgg_file), "r") as file:
        kernel = file["block1_conv1"]["block1_conv1_W_1:0"][:][:, :, ::-1]  # of red, green, blue
    difference = to_input(sr) - to_input(hr)
    maps = [sum(correlate2d(difference[..., c], kernel[:, :, c, o], "same") for c in range(3))
            for o in range(kernel.shape[-1])]
    return np.mean(measure(np.array(maps)))


@pytest.mark.parametrize("cls, argv, to_input, measure, exact", [
    (SrganOptions, ["--preset", "coco"], lambda x: x / 127.5 - 1, np.square, 1e-4),
    (SrdrmOptions, [], lambda x: x / 127.5 - 1, np.square, 1e-4),
    # ImageNet's means and deviations, of images in [0, 1], as torchvision has them
    (EsrganOptions, [], lambda x: (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225], np.abs,
     0.02),
])
def test_the_loss_weighs_what_it_does_in_the_program(cls, argv, to_input, measure, exact, vgg_file,
                                                     photo):
    options = read(cls, *argv)
    assert options.perceptual_weight == 1
    hr = photo(24, 24)
    sr = np.random.RandomState(0).uniform(0, 255, hr.shape)
    features = VggFeatures(vgg_file, ("conv1_1",), True, options.vgg_feature_scale)
    loss = perceptual(features, PIXEL_LOSSES[options.perceptual_loss], (1.0,))
    ours = float(loss(sr[None].astype("float32"), hr[None].astype("float32")))
    assert ours == pytest.approx(distance(vgg_file, sr, hr, to_input, measure), rel=exact)


def test_the_papers_srgan_has_its_own_factor():
    for name in ("paper", "bsd500", "short"):
        assert read(SrganOptions, "--preset", name).vgg_feature_scale == pytest.approx(1 / 12.75)


@pytest.mark.parametrize("gan_loss, expected", [("vanilla", 0.693147), ("lsgan", 0.5)])
def test_modelzoos_line_has_the_mean_of_both_discriminator_losses(gan_loss, expected):
    """Keras-SRGAN prints 0.5 * (fake + real); at logits of 0 every cross-entropy is log 2."""
    lines = SrganLines(read(SrganOptions, "--perceptual_weight", "0", "--gan_loss", gan_loss))
    logits = np.zeros((4, 1), np.float32)
    loss = float(GAN_LOSSES[gan_loss].discriminator(logits, logits, 1.0, 0.0))
    if gan_loss == "lsgan":  # (1 + 0) / 2 already
        assert loss == 0.5
    text = lines.step(1, 1, {"loss": 0.25, "perceptual": 0.2, "adversarial": 2.0,
                             "discriminator": loss}, 1e-4, None, None)
    assert text == f"discriminator_loss : {expected:f}\ngan_loss : [0.25, 0.2, 2]"
