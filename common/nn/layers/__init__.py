"""The zoo's own Keras layers, which both versions of Keras lack.

Importing this package registers every layer, so that stock `keras.models.load_model` opens the
zoo's `.h5` files. The registered names ("sr_zoo>PReLU", ...) are part of that file format.
"""

from common.nn.layers.blocks import Channels, PReLU, Scale, Split, WeightedMean, ZeroState
from common.nn.layers.colour import RgbToYcbcr, ShiftScale, YcbcrToRgb
from common.nn.layers.initializers import fan_in_uniform, he_normal
from common.nn.layers.resize import (
    BicubicUpscale,
    BilinearUpscale,
    CropTo,
    DepthToSpace,
    EdgePad,
    NearestUpscale,
    SpaceToDepth,
)
from common.nn.layers.spectral import SpectralConv2D

__all__ = ["BicubicUpscale", "BilinearUpscale", "Channels", "CropTo", "DepthToSpace", "EdgePad",
           "NearestUpscale", "PReLU", "RgbToYcbcr", "Scale", "ShiftScale", "SpaceToDepth",
           "SpectralConv2D", "Split", "WeightedMean", "YcbcrToRgb", "ZeroState",
           "fan_in_uniform", "he_normal"]
