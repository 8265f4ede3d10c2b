"""How far what another program computes is from what Keras computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from common.data.sets import open_images
from common.images.files import read_rgb

TOLERANCE = 0.05  # largest accepted difference from Keras in any value (0 to 255)
SIZES = ((64, 96), (37, 53))  # height and width of the images that are compared


def largest_difference(model: Any, run: Callable[[np.ndarray], np.ndarray],
                       sizes: Sequence[tuple[int, int]] = SIZES) -> float:
    """Return the largest difference between a network and its model on photographs.

    Args:
        model: the Keras model, of one scale.
        run: function of float32 NHWC arrays in [0, 255].
        sizes: heights and widths that it takes.

    Returns:
        the difference in grey levels (0 to 255), over images of these sizes; where an untrained
        network exceeds 255, relative to its largest value. Infinite if the shapes differ.
    """
    photo = read_rgb(open_images("demo", None, 1)[0].hr)
    differences = []
    for height, width in sizes:
        # np.resize repeats the photograph where a window is larger.
        lr = np.resize(photo[-height:, -width:], (1, height, width, 3)).astype("float32")
        ours, theirs = np.asarray(model(lr, training=False)), run(lr)
        scale = 255 / max(255, np.abs(ours).max())
        differences.append(np.abs(ours - theirs).max() * scale if ours.shape == theirs.shape
                           else np.inf)
    return float(np.max(differences))
