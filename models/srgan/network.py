"""SRResNet, the generator of SRGAN (arXiv 1609.04802), and two widely used variants of it."""

from __future__ import annotations

from common.cli import UserError, did_you_mean
from common.nn.keras_compat import Tensor, keras
from common.nn.layers import (
    BilinearUpscale,
    DepthToSpace,
    NearestUpscale,
    PReLU,
    ShiftScale,
    fan_in_uniform,
    he_normal,
)

layers = keras.layers

SCALES = (2, 3, 4)


def build(scale: int, variant: str = "srresnet", num_blocks: int = 16,
          num_filters: int = 64) -> keras.Model:
    """Build a generator; the defaults are the paper's.

    Args:
        scale: 2, 3 or 4; 4 is two stages of 2.
        variant: "srresnet" (the paper's), "keras" (the Keras-SRGAN that ModelZoo's SRGAN is; x2
            and x4) or "msrresnet" (BasicSR's MSRResNet, without batch normalisation).
        num_blocks: residual blocks.
        num_filters: features of every layer.

    Returns:
        a Keras model: RGB float32 (N, H, W, 3) in [0, 255] -> (N, H*scale, W*scale, 3), unclipped;
        srresnet and keras end in a tanh and stay within [0, 255].

    Raises:
        UserError: an unknown variant, or keras at x3.
    """
    if variant not in VARIANTS:
        raise UserError(f"srgan has no variant {variant!r}{did_you_mean(variant, VARIANTS)}; it "
                        f"has {', '.join(VARIANTS)}")
    lr = keras.Input((None, None, 3), name="lr")
    sr = VARIANTS[variant](lr, scale, num_blocks, num_filters)
    return keras.Model(lr, sr, name=f"{variant}_x{scale}")


def srresnet(lr: Tensor, scale: int, num_blocks: int, num_filters: int) -> Tensor:
    """Figure 4 of the paper: LR in [0, 1], SR in [-1, 1]."""
    x = trunk(ShiftScale(0, 1 / 255, name="to_unit")(lr), num_blocks, num_filters)
    for i, stage in enumerate(stages(scale)):
        x = conv(num_filters * stage**2, 3, f"upsample{i}_conv")(x)
        x = DepthToSpace(stage, name=f"upsample{i}_shuffle")(x)
        x = PReLU(name=f"upsample{i}_prelu")(x)
    return tanh_image(conv(3, 9, "tail")(x))


def keras_srgan(lr: Tensor, scale: int, num_blocks: int, num_filters: int) -> Tensor:
    """The paper's trunk with LR in [-1, 1], and repeated pixels instead of pixel shuffles."""
    if scale == 3:
        raise UserError("the keras variant of srgan has scales 2 and 4, not 3; choose srresnet or "
                        "msrresnet")
    x = trunk(ShiftScale(-127.5, 1 / 127.5, name="to_unit")(lr), num_blocks, num_filters,
              {"momentum": 0.5, "epsilon": 1e-3}, first_alpha=0.0)
    for i, stage in enumerate(stages(scale)):
        x = conv(num_filters * 4, 3, f"upsample{i}_conv")(x)
        # Before the enlargement instead of after it: the same at a quarter of the cost.
        x = layers.LeakyReLU(0.2, name=f"upsample{i}_lrelu")(x)
        x = NearestUpscale(stage, name=f"upsample{i}_nearest")(x)
    return tanh_image(conv(3, 9, "tail")(x))


def msrresnet(lr: Tensor, scale: int, num_blocks: int, num_filters: int) -> Tensor:
    """Residual blocks without batch normalisation, added to a bilinear enlargement."""
    def lrelu(x, name):
        return layers.LeakyReLU(0.1, name=name)(x)

    def small_conv(filters, name, **kwargs):
        return conv(filters, 3, name, kernel_initializer=he_normal(0.1), **kwargs)

    unit = ShiftScale(0, 1 / 255, name="to_unit")(lr)
    x = lrelu(small_conv(num_filters, "head")(unit), "head_lrelu")
    for i in range(num_blocks):
        y = small_conv(num_filters, f"block{i}_conv1", activation="relu")(x)
        y = small_conv(num_filters, f"block{i}_conv2")(y)
        x = layers.Add(name=f"block{i}_add")([x, y])
    for i, stage in enumerate(stages(scale)):
        x = small_conv(num_filters * stage**2, f"upsample{i}_conv")(x)
        x = DepthToSpace(stage, name=f"upsample{i}_shuffle")(x)
        x = lrelu(x, f"upsample{i}_lrelu")
    x = lrelu(small_conv(num_filters, "hr_conv")(x), "hr_lrelu")
    base = BilinearUpscale(scale, dtype="float32", name="bilinear")(unit)
    x = layers.Add(dtype="float32", name="add_base")([base, small_conv(3, "tail")(x)])
    return ShiftScale(0, 255, name="to_range")(x)


VARIANTS = {"srresnet": srresnet, "keras": keras_srgan, "msrresnet": msrresnet}


def trunk(image: Tensor, num_blocks: int, num_filters: int,
          normalisation: dict[str, float] | None = None, first_alpha: float = 0.25) -> Tensor:
    """conv9 - PReLU, residual blocks, conv3 - BN, and the long skip around them."""
    def normalised(x, name):
        return batch_normalisation(name, **(normalisation or {}))(x)

    head = PReLU(first_alpha, name="head_prelu")(conv(num_filters, 9, "head")(image))
    x = head
    for i in range(num_blocks):
        y = normalised(conv(num_filters, 3, f"block{i}_conv1")(x), f"block{i}_bn1")
        y = PReLU(first_alpha, name=f"block{i}_prelu")(y)
        y = normalised(conv(num_filters, 3, f"block{i}_conv2")(y), f"block{i}_bn2")
        x = layers.Add(name=f"block{i}_add")([x, y])
    x = normalised(conv(num_filters, 3, "body")(x), "body_bn")
    return layers.Add(name="long_skip")([head, x])


def stages(scale: int) -> tuple[int, ...]:
    """Factors of the successive enlargements: one for 2 and 3, 2 and 2 for 4."""
    return (2, 2) if scale == 4 else (scale,)


def tanh_image(x: Tensor) -> Tensor:
    """tanh in float32, then [-1, 1] to [0, 255]."""
    x = layers.Activation("tanh", dtype="float32", name="tanh")(x)
    return ShiftScale(1, 127.5, name="to_range")(x)


def batch_normalisation(name: str, momentum: float = 0.9,
                        epsilon: float = 1e-5) -> keras.layers.Layer:
    """Batch normalisation with PyTorch's defaults; its momentum 0.1 is Keras's 0.9."""
    return layers.BatchNormalization(momentum=momentum, epsilon=epsilon, name=name)


def conv(filters: int, kernel_size: int, name: str, **kwargs) -> keras.layers.Layer:
    """A convolution that keeps the size, by default initialised with `fan_in_uniform`."""
    return layers.Conv2D(filters, kernel_size, padding="same", name=name,
                         **{"kernel_initializer": fan_in_uniform(), **kwargs})
