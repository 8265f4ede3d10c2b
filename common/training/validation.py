"""How good a model is on the validation images, beside bicubic enlargement."""

import numpy as np
from tqdm import tqdm

from common.data.bicubic import upscale
from common.inference import Upscaler
from common.metrics import psnr, ssim


class Validation:
    """Measures a model on whole images.

    Args:
        model: a model of the zoo; its weights may change between calls.
        store: an `ImageStore` of the validation images (lr and hr, uint8 RGB).
        names: of the images.
        scale: of the model; that many border pixels are left out of PSNR and SSIM.
        channel: rgb, y or gray.
    """

    def __init__(self, model, store, names, scale, channel="rgb"):
        self.names = names
        self.store = store
        self.scale = scale
        self._measure = {"crop_border": scale, "channel": channel}
        self._upscale = Upscaler(model)
        self._bicubic = None

    def bicubic(self):
        """PSNR and SSIM of bicubic enlargement, [(psnr, ssim)] per image; measured once."""
        if self._bicubic is None:
            self._bicubic = [self._scores(upscale(lr, self.scale), hr)
                             for lr, hr in zip(self.store.lr, self.store.hr)]
        return self._bicubic

    def __call__(self, samples=0):
        """Measure now.

        Args:
            samples: of so many first images the pictures are returned too.

        Returns:
            ([(psnr, ssim)] per image, [(name, lr, sr, hr, bicubic_psnr, psnr)] for a sheet).
        """
        scores, pictures = [], []
        images = zip(self.names, self.store.lr, self.store.hr)
        for i, (name, lr, hr) in enumerate(tqdm(images, total=len(self.names), desc="validation",
                                                unit="image", leave=False,
                                                disable=None)):
            sr = self._upscale(np.asarray(lr))
            scores.append(self._scores(sr, hr))
            if i < samples:
                before = self._scores(upscale(lr, self.scale), hr)[0]
                pictures.append((name, lr, sr, hr, before, scores[-1][0]))
        return scores, pictures

    def _scores(self, sr, hr):
        return psnr(sr, hr, **self._measure), ssim(sr, hr, **self._measure)


def mean(scores):
    """(mean PSNR, mean SSIM) of a list of both."""
    return tuple(float(value) for value in np.mean(scores, axis=0))
