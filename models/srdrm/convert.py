"""Convert the authors' Keras weights of SRDRM and SRDRM-GAN."""

from common.weights.source import keras_layers

EXPECTS = {"keras": "the generator of SRDRM or SRDRM-GAN as published by its authors"}


def convert(source):
    """Take the arrays of the authors' generator, whose layers are only numbered."""
    convs, norms = keras_layers(source, "conv", "norm")
    # Each module has two more convolutions than normalisations; the tail adds one convolution.
    modules = (len(convs) - 1 - len(norms)) // 2
    blocks = (len(norms) // modules - 1) // 2 if modules > 0 else 0
    if blocks < 1 or [len(convs), len(norms)] != [modules * (2 * blocks + 3) + 1,
                                                  modules * (2 * blocks + 1)]:
        raise source.unfit(f"it has {len(convs)} convolutions and {len(norms)} batch "
                           "normalisations; expected 20 and 17 (x2), 39 and 34 (x4) or 58 and 51 "
                           "(x8)")
    held = 2**modules
    options = {"num_blocks": blocks, "num_filters": len(convs[0][1]),
               "tail_kernel": len(convs[-1][0])}
    convs, norms, arrays = iter(convs), iter(norms), {}
    for name in (f"module{i}" for i in range(modules)):
        arrays[f"{name}_head"] = next(convs)
        for block in (f"{name}_block{i}" for i in range(blocks)):
            for i in (1, 2):
                arrays[f"{block}_conv{i}"], arrays[f"{block}_bn{i}"] = next(convs), next(norms)
        arrays[f"{name}_body"], arrays[f"{name}_body_bn"] = next(convs), next(norms)
        arrays[f"{name}_upsample_conv"] = next(convs)
    arrays["tail"] = next(convs)
    return held, options, arrays
