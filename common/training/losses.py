"""Pixel losses: float32 scalars of two image batches (N, H, W, C) in [0, 255]."""

from __future__ import annotations

from typing import Callable, Sequence

from common.device.chip import in_float32
from common.nn.keras_compat import tf

Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@in_float32
def l1(sr: tf.Tensor, hr: tf.Tensor) -> tf.Tensor:
    """Mean absolute difference."""
    return tf.reduce_mean(tf.abs(sr - hr))


@in_float32
def mse(sr: tf.Tensor, hr: tf.Tensor) -> tf.Tensor:
    """Mean squared difference."""
    return tf.reduce_mean(tf.square(sr - hr))


@in_float32
def charbonnier(sr: tf.Tensor, hr: tf.Tensor, epsilon: float = 0.255) -> tf.Tensor:
    """Smooth L1, sqrt(d^2 + eps^2), with LapSRN's eps of 1e-3 on [0, 1] (arXiv 1710.01992)."""
    return tf.reduce_mean(tf.sqrt(tf.square(sr - hr) + epsilon**2))


PIXEL_LOSSES = {"l1": l1, "mse": mse, "charbonnier": charbonnier}


def perceptual(features: Callable[[tf.Tensor], list[tf.Tensor]], distance: Loss,
               weights: Sequence[float]) -> Loss:
    """The distance between two images in the features of a network.

    Args:
        features: function from images to a list of feature maps, e.g. a `VggFeatures`.
        distance: function from two feature maps to a scalar, e.g. `l1`.
        weights: one per feature map.

    Returns:
        function from (sr, hr), both (N, H, W, 3) in [0, 255], to a float32 scalar.
    """
    def loss(sr, hr):
        # Two passes instead of one of both, so that the gradient goes through SR's alone.
        truth = features(tf.stop_gradient(hr))
        return weighted_distance(features(sr), list(map(tf.stop_gradient, truth)))

    @in_float32
    def weighted_distance(ours, theirs):
        return tf.add_n([weight * distance(a, b) for weight, a, b in zip(weights, ours, theirs)])
    return loss
