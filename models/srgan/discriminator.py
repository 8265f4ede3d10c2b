"""The discriminator of SRGAN (arXiv 1609.04802)."""

from __future__ import annotations

from common.nn.keras_compat import keras
from common.nn.layers import ShiftScale, fan_in_uniform
from models.srgan.network import batch_normalisation

layers = keras.layers


def build(size: int, num_filters: int = 64) -> keras.Model:
    """Build figure 4 of the paper: convolutions with strides 1 and 2 in turn, two dense layers.

    Args:
        size: side of the HR patches in pixels.
        num_filters: channels of the first layer; they double three times.

    Returns:
        a Keras model: RGB float32 (N, size, size, 3) in [0, 255] -> float32 logits (N, 1), higher
        for photographs. The paper's sigmoid is part of the loss.
    """
    image = keras.Input((size, size, 3), name="image")
    x = ShiftScale(-127.5, 1 / 127.5, name="to_unit")(image)
    for i in range(8):
        x = layers.Conv2D(num_filters * 2 ** (i // 2), 3, strides=1 + i % 2, padding="same",
                          kernel_initializer=fan_in_uniform(), name=f"conv{i}")(x)
        if i > 0:
            x = batch_normalisation(f"bn{i}")(x)
        x = layers.LeakyReLU(0.2, name=f"lrelu{i}")(x)
    x = layers.Dense(num_filters * 16, kernel_initializer=fan_in_uniform(),
                     name="dense")(layers.Flatten(name="flatten")(x))
    x = layers.LeakyReLU(0.2, name="dense_lrelu")(x)
    logits = layers.Dense(1, kernel_initializer=fan_in_uniform(), dtype="float32",
                          name="logits")(x)
    return keras.Model(image, logits, name="srgan_discriminator")
