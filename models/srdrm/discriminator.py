"""The PatchGAN discriminator of SRDRM-GAN (arXiv 1909.09437)."""

from __future__ import annotations

from common.nn.keras_compat import keras
from common.nn.layers import ShiftScale

layers = keras.layers


def build(size: int | None = None, num_filters: int = 64) -> keras.Model:
    """Build the discriminator: one logit per patch of 16x16 pixels.

    It does not see the LR images. The authors' dense layers act on every position of the feature
    map, so they are 1x1 convolutions here.

    Args:
        size: side of the images in pixels; None for any.
        num_filters: channels of the first layer; later layers have up to sixteen times as many.

    Returns:
        a Keras model: RGB float32 (N, size, size, 3) in [0, 255] -> float32 logits (N, h, w, 1),
        where h and w are size / 16, rounded up.
    """
    image = keras.Input((size, size, 3), name="image")
    x = ShiftScale(-127.5, 1 / 127.5, name="to_signed")(image)
    for i in range(8):
        x = layers.Conv2D(num_filters * 2 ** (i // 2), 3, strides=1 + i % 2, padding="same",
                          name=f"conv{i}")(x)
        if i:
            x = layers.BatchNormalization(momentum=0.45, name=f"bn{i}")(x)
        x = layers.LeakyReLU(0.2, name=f"relu{i}")(x)
    x = layers.Conv2D(16 * num_filters, 1, name="dense")(x)
    x = layers.LeakyReLU(0.2, name="dense_relu")(x)
    logits = layers.Conv2D(1, 1, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name="srdrm_discriminator")
