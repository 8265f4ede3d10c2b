"""The discriminators of ESRGAN (arXiv 1809.00219) and Real-ESRGAN (arXiv 2107.10833)."""

from __future__ import annotations

from common.cli import UserError
from common.nn.keras_compat import Tensor, keras
from common.nn.layers import BilinearUpscale, ShiftScale, SpectralConv2D, fan_in_uniform
from models.srgan.network import batch_normalisation

layers = keras.layers


def vgg_style(size: int, num_filters: int = 64) -> keras.Model:
    """Build ESRGAN's discriminator as published in BasicSR: one logit per patch.

    Five pairs of a 3x3 and a strided 4x4 convolution, batch normalisation after all but the first
    convolution, and two dense layers.

    Args:
        size: side of the HR patches in pixels, a multiple of 32; 128 in the paper.
        num_filters: channels of the first layer; they double three times.

    Returns:
        a Keras model: RGB float32 (N, size, size, 3) in [0, 255] -> float32 logits (N, 1), higher
        for photographs.

    Raises:
        UserError: another size.
    """
    _check_multiple(size, 32, "VGG-style")
    image = keras.Input((size, size, 3), name="image")
    x = ShiftScale(0, 1 / 255, name="to_unit")(image)
    for i in range(5):
        filters = num_filters * 2 ** min(i, 3)
        for j, (kernel, stride) in enumerate([(3, 1), (4, 2)]):
            first = i == j == 0
            x = layers.Conv2D(filters, kernel, strides=stride, padding="same", use_bias=first,
                              kernel_initializer=fan_in_uniform(), name=f"conv{i}_{j}")(x)
            if not first:
                x = batch_normalisation(f"bn{i}_{j}")(x)
            x = lrelu(x, f"lrelu{i}_{j}")
    x = layers.Dense(100, kernel_initializer=fan_in_uniform(),
                     name="dense")(layers.Flatten(name="flatten")(x))
    logits = layers.Dense(1, kernel_initializer=fan_in_uniform(), dtype="float32",
                          name="logits")(lrelu(x, "dense_lrelu"))
    return keras.Model(image, logits, name="vgg_discriminator")


def unet(size: int | None = None, num_filters: int = 64) -> keras.Model:
    """Build Real-ESRGAN's discriminator: a U-Net with spectral normalisation, one logit per pixel.

    Args:
        size: side of the HR patches in pixels, a multiple of 8; None for any such height and width.
        num_filters: channels of the first layer; they double three times.

    Returns:
        a Keras model: RGB float32 (N, H, W, 3) in [0, 255] -> float32 logits (N, H, W, 1), higher
        for photographs. It has 4,376,897 trainable parameters, and a vector u per spectral
        normalisation, one number per channel.

    Raises:
        UserError: another size.
    """
    if size is not None:
        _check_multiple(size, 8, "U-Net")
    image = keras.Input((size, size, 3), name="image")
    x = layers.Conv2D(num_filters, 3, padding="same", kernel_initializer=fan_in_uniform(),
                      name="conv0")(ShiftScale(0, 1 / 255, name="to_unit")(image))
    skips = [lrelu(x, "lrelu0")]
    for i in range(1, 4):
        x = SpectralConv2D(num_filters * 2**i, 4, strides=2, name=f"conv{i}")(skips[-1])
        skips.append(lrelu(x, f"lrelu{i}"))
    x = skips.pop()
    for i in range(4, 7):
        x = BilinearUpscale(2, name=f"bilinear{i}")(x)
        x = lrelu(SpectralConv2D(num_filters * 2 ** (6 - i), 3, name=f"conv{i}")(x), f"lrelu{i}")
        x = layers.Add(name=f"skip{i}")([x, skips.pop()])
    for i in range(7, 9):
        x = lrelu(SpectralConv2D(num_filters, 3, name=f"conv{i}")(x), f"lrelu{i}")
    logits = layers.Conv2D(1, 3, padding="same", kernel_initializer=fan_in_uniform(),
                           dtype="float32", name="conv9")(x)
    return keras.Model(image, logits, name="unet_discriminator")


def lrelu(x: Tensor, name: str) -> Tensor:
    return layers.LeakyReLU(0.2, name=name)(x)


def _check_multiple(size, multiple, name):
    if size % multiple:
        raise UserError(f"the {name} discriminator needs HR patches of a multiple of {multiple} "
                        f"pixels, not {size}; change patch_size (LR pixels)")


DISCRIMINATORS = {"vgg": vgg_style, "unet": unet}
