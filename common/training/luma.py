"""Training a luma model: what of it runs, and its loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from common.nn.keras_compat import keras
from common.nn.layers import RgbToYcbcr
from common.nn.luma import CORE
from common.scales import scale_tuple
from common.training.losses import PIXEL_LOSSES


def luma_heads(model: keras.Model, options: Any) -> dict[int | None, keras.Model]:
    """The models that training runs, as `heads` of a `PixelStep`.

    Returns:
        {scale: model from RGB to the refined luma (N, H*scale, W*scale, 1)} over the same layers;
        for luma patches (--dataset hdf5) {None: the core}.
    """
    if options.dataset == "hdf5":
        return {None: model.get_layer(CORE)}
    return {s: keras.Model(model.input, model.get_layer(f"ycbcr_x{s}").input[0])
            for s in scale_tuple(options.scale)}


def luma_loss(name: str) -> Callable:
    """A pixel loss between a luma head's output and the luma of the HR patch, both over 255.

    The HR patch is RGB or luma (one channel) in [0, 255].
    """
    loss, to_ycbcr = PIXEL_LOSSES[name], RgbToYcbcr()

    def luma_of(hr):
        return hr if hr.shape[-1] == 1 else to_ycbcr(hr)[..., :1]

    return lambda luma, hr: loss(luma / 255, luma_of(hr) / 255)
