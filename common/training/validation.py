"""PSNR and SSIM of a model on the validation images, beside bicubic enlargement."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from common.bicubic import upscale
from common.inference.upscaler import Upscaler
from common.metrics import IDENTICAL, psnr, ssim
from common.nn.keras_compat import function, keras
from common.nn.luma import CORE
from common.training.pictures import Picture

THREADS = min(4, os.cpu_count() or 1)  # they score images while the network enlarges the next one
WAITING = 2 * THREADS  # at most so many enlarged images wait to be scored


class Validation:
    """Measures a model on whole images, at every scale it has.

    Args:
        model: a model of the zoo; its weights may change between calls.
        stores: {scale: `ImageStore` of the validation images}.
        channel: rgb, y or gray.
        crop_border: pixels left out of PSNR and SSIM on each side; None: `scale`.
    """

    def __init__(self, model, stores, channel="rgb", crop_border=None):
        self.stores = stores
        self.channel = channel
        self.crop_border = crop_border
        self.names = [pair.name for pair in next(iter(stores.values())).pairs]
        self._upscale = {scale: Upscaler(one_scale(model, scale)) for scale in stores}
        for upscaler in self._upscale.values():
            upscaler.measures = False
        self._bicubic = {}

    def bicubic(self, scale):
        """PSNR and SSIM of bicubic enlargement, [(psnr, ssim)] per image; measured once."""
        if scale not in self._bicubic:
            store = self.stores[scale]
            with ThreadPoolExecutor(THREADS) as pool:
                self._bicubic[scale] = list(pool.map(
                    lambda lr, hr: self._scores(upscale(lr, scale), hr, scale),
                    store.lr, store.hr))
        return self._bicubic[scale]

    def __call__(self, samples=0):
        """Measure now.

        Args:
            samples: return the pictures of the first so many images too.

        Returns:
            ({scale: [(psnr, ssim)] per image}, list of `Picture` for a sheet).
        """
        return self._measure(range(len(self.names)), samples)

    def _measure(self, images, samples):
        def score(sr, scale, i):
            lr, hr = self.stores[scale].lr[i], self.stores[scale].hr[i]
            values = self._scores(sr, hr, scale)
            if i * len(self.stores) >= samples:
                return values, None
            bicubic = upscale(lr, scale)
            before = self._scores(bicubic, hr, scale)[0]
            return values, Picture(self.names[i], scale, lr, bicubic, sr, hr, before, values[0])

        work = [(scale, i) for scale in self.stores for i in images]
        results = []
        with ThreadPoolExecutor(THREADS) as pool:
            for scale, i in tqdm(work, desc="validation", unit="image", leave=False, disable=None):
                sr = self._upscale[scale](np.asarray(self.stores[scale].lr[i]))
                results.append(pool.submit(score, sr, scale, i))
                if len(results) > WAITING:
                    results[-1 - WAITING].result()
        scores, pictures = {scale: [] for scale in self.stores}, []
        for (scale, _), (values, picture) in zip(work, (result.result() for result in results)):
            scores[scale].append(values)
            pictures += [picture] if picture else []
        return scores, pictures

    def pictures(self, count):
        """Enlarge the first `count` images; return `Picture`s."""
        return self._measure(range(min(count, len(self.names))), count)[1]

    def _scores(self, sr, hr, scale):
        border = scale if self.crop_border is None else self.crop_border
        arguments = {"crop_border": border, "channel": self.channel}
        return psnr(sr, hr, **arguments), ssim(sr, hr, **arguments)


class LumaValidation:
    """`Validation` for a luma model on luma images that were enlarged beforehand.

    Args:
        model: made by `common.nn.luma.luma_model`.
        images: list of (name, lr, hr), float (H, W) in [0, 1], both of one size.
        scale: how much the images were enlarged.
        crop_border: as of `Validation`.
    """

    def __init__(self, model, images, scale, crop_border=None):
        self.names = [name for name, _, _ in images]
        self._images = images
        self._scale = scale
        self._border = scale if crop_border is None else crop_border
        core = model.get_layer(CORE)
        self._core = function(lambda x: core(x, training=False))

    def bicubic(self, scale):
        """PSNR and SSIM of the enlarged input, [(psnr, ssim)] per image."""
        return [self._scores(lr * 255, hr * 255) for _, lr, hr in self._images]

    def __call__(self, samples=0):
        """As `Validation.__call__`."""
        scores, pictures = [], []
        for name, lr, hr in self._images:
            sr = self._core(255 * lr[None, ..., None].astype("float32"))
            sr = np.clip(sr.numpy()[0, ..., 0], 0, 255)
            scores.append(self._scores(sr, hr * 255))
            if len(pictures) < samples:
                lr, sr, hr = (np.repeat(np.uint8(np.rint(np.clip(image, 0, 255)))[..., None], 3, -1)
                              for image in (lr * 255, sr, hr * 255))
                before = self._scores(lr[..., 0], hr[..., 0])[0]
                pictures.append(Picture(name, 1, lr, lr, sr, hr, before, scores[-1][0]))
        return {self._scale: scores}, pictures

    def pictures(self, count):
        """As `Validation.pictures`."""
        return self(count)[1]

    def _scores(self, sr, hr):
        return psnr(sr, hr, self._border), ssim(sr, hr, self._border)


def one_scale(model, scale):
    """A model with one output: the model itself, or the view of a joint model at one scale."""
    if not isinstance(model.output, dict):
        return model
    return keras.Model(model.input, model.output[f"x{scale}"])


def means(scores):
    """(mean PSNR, mean SSIM, {"val_psnr_x2": ...} of several scales) of a validation's scores.

    An infinite PSNR, of an image that equals its HR image, counts as `IDENTICAL`.
    """
    each = {scale: np.mean(np.minimum(values, IDENTICAL), axis=0)
            for scale, values in scores.items()}
    psnr_, ssim_ = np.mean(list(each.values()), axis=0)
    names = {} if len(each) == 1 else {f"val_psnr_x{scale}": float(value[0])
                                       for scale, value in each.items()}
    return float(psnr_), float(ssim_), names
