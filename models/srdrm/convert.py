"""SRDRM and SRDRM-GAN of their authors' Keras files as weights of the zoo."""

from common.weights.source import keras_layers

EXPECTS = {"keras": "the generator of SRDRM or SRDRM-GAN as its authors publish it"}


def convert(source):
    """The arrays of the authors' generator, whose layers have nothing but running numbers."""
    convs, norms = keras_layers(source, "conv", "norm")
    # A module has two convolutions more than normalisations, and the tail is one.
    modules = (len(convs) - 1 - len(norms)) // 2
    blocks = (len(norms) // modules - 1) // 2 if modules > 0 else 0
    if blocks < 1 or [len(convs), len(norms)] != [modules * (2 * blocks + 3) + 1,
                                                  modules * (2 * blocks + 1)]:
        raise source.unfit(f"it has {len(convs)} convolutions and {len(norms)} batch "
                           "normalisations; 2x has 20 and 17, 4x 39 and 34, 8x 58 and 51")
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
