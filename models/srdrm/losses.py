"""SRDRM's losses (arXiv 1909.09437): float32 scalars for batches (N, H, W, 3) in [0, 255]."""

from common.device.chip import in_float32
from common.nn.keras_compat import tf
from common.training.losses import mse


@in_float32
def colour_distance(sr, hr):
    """Mean squared "redmean" colour distance of the pixels, divided by 255 as by the authors.

    The redder two colours are, the more their red difference counts and the less their blue one
    (https://www.compuphase.com/cmetric.htm). Without that formula's square root the gradient stays
    finite where both images are equal.
    """
    red = (sr[..., 0] + hr[..., 0]) / 2
    d = tf.square(sr - hr)
    squares = (2 + red / 256) * d[..., 0] + 4 * d[..., 1] + (2 + (255 - red) / 256) * d[..., 2]
    return tf.reduce_mean(squares) / 255


@in_float32
def srdrm_loss(sr, hr):
    """0.8 * MSE of images in [-1, 1] + 0.2 * `colour_distance` of images in [0, 255]."""
    return 0.8 * mse(sr, hr) / 127.5**2 + 0.2 * colour_distance(sr, hr)
