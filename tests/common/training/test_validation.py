"""Validation images scored beside the network, against the same work one after the other."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from common.bicubic import downscale, upscale
from common.cli import UserError
from common.metrics import psnr, ssim
from common.nn.keras_compat import keras
from common.nn.layers import BicubicUpscale
from common.training import validation as module
from common.training.validation import Validation


@pytest.fixture
def validation(photo):
    """Of x2 and x3, nine images of several sizes; the model is bicubic enlargement."""
    hr = [photo(48 + 6 * i, 80)[:, 3 * i:][:, :42] for i in range(9)]
    stores = {scale: SimpleNamespace(hr=hr, lr=[downscale(image, scale) for image in hr],
                                     pairs=[SimpleNamespace(name=f"{i}") for i in range(9)])
              for scale in (2, 3)}
    image = keras.Input((None, None, 3))
    model = keras.Model(image, {f"x{scale}": BicubicUpscale(scale)(image) for scale in stores})
    return Validation(model, stores, channel="y")


def test_scores_and_pictures_come_in_the_order_of_the_images(validation, monkeypatch):
    expected = {scale: [tuple(f(validation._upscale[scale](lr), hr, scale, "y")
                              for f in (psnr, ssim)) for lr, hr in zip(store.lr, store.hr)]
                for scale, store in validation.stores.items()}
    waiting, most, lock = 0, 0, threading.Lock()

    def slower_at_first(sr, hr, *arguments, **options):
        nonlocal waiting
        time.sleep(0.02 if len(hr) < 66 else 0)
        with lock:
            waiting -= 1
        return psnr(sr, hr, *arguments, **options)

    for scale, upscaler in list(validation._upscale.items()):
        def counted(lr, upscaler=upscaler):
            nonlocal waiting, most
            with lock:
                waiting += 1
                most = max(most, waiting)
            return upscaler(lr)
        validation._upscale[scale] = counted
    monkeypatch.setattr(module, "THREADS", 2)
    monkeypatch.setattr(module, "WAITING", 3)
    monkeypatch.setattr(module, "psnr", slower_at_first)
    scores, pictures = validation()
    assert scores == expected and pictures == []
    assert 2 <= most <= 5  # at most WAITING and those that are just made and scored

    scores, pictures = validation(samples=4)
    assert scores == expected
    assert [(p.name, p.scale) for p in pictures] == [("0", 2), ("1", 2), ("0", 3), ("1", 3)]
    for picture in pictures:
        bicubic = upscale(picture.lr, picture.scale)
        np.testing.assert_array_equal(picture.bicubic, bicubic)
        assert picture.psnr == psnr(picture.sr, picture.hr, picture.scale, "y")
        assert picture.bicubic_psnr == psnr(bicubic, picture.hr, picture.scale, "y")
    assert [p.name for p in validation.pictures(1)] == ["0", "0"]
    assert validation.bicubic(3) == [
        tuple(f(upscale(lr, 3), hr, 3, "y") for f in (psnr, ssim))
        for lr, hr in zip(validation.stores[3].lr, validation.stores[3].hr)]


def test_an_image_that_cannot_be_scored_or_made_is_no_silent_gap(validation, monkeypatch):
    validation.stores[2].hr[4] = validation.stores[2].hr[4][:-1]
    with pytest.raises(ValueError, match="different shapes"):
        validation()

    def fails(lr):
        raise UserError("the network's output is not finite")
    validation._upscale[2] = fails
    with pytest.raises(UserError, match="not finite"):
        validation()
