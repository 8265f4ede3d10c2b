"""Pixel losses: float32 scalars of two image batches (N, H, W, C) in [0, 255]."""

from common.keras_compat import tf


def l1(sr, hr):
    """Mean absolute difference."""
    return tf.reduce_mean(tf.abs(sr - hr))


def mse(sr, hr):
    """Mean squared difference."""
    return tf.reduce_mean(tf.square(sr - hr))


def charbonnier(sr, hr, epsilon=0.255):
    """Smooth L1, sqrt(d^2 + eps^2), with LapSRN's eps of 1e-3 on [0, 1] (arXiv 1710.01992)."""
    return tf.reduce_mean(tf.sqrt(tf.square(sr - hr) + epsilon**2))


PIXEL_LOSSES = {"l1": l1, "mse": mse, "charbonnier": charbonnier}
