"""SRDRM and SRDRM-GAN of their authors' Keras files as weights of the zoo."""

import re

from common.cli import UserError

EXPECTS = {"keras": "the generator of SRDRM or SRDRM-GAN as its authors publish it"}


def convert(source, scale):
    """The arrays of the authors' generator, whose layers have nothing but running numbers.

    Args:
        source: a `common.foreign_weights.Source`.
        scale: a number that the network must have; None: what it has.

    Returns:
        scale, options of the network, `{layer name: [arrays]}`.

    Raises:
        UserError: another network's arrays or scale.
    """
    convs, norms = _layers(source)
    # A module has two convolutions more than normalisations, and the tail is one.
    modules = (len(convs) - 1 - len(norms)) // 2
    blocks = (len(norms) // modules - 1) // 2 if modules > 0 else 0
    if blocks < 1 or [len(convs), len(norms)] != [modules * (2 * blocks + 3) + 1,
                                                  modules * (2 * blocks + 1)]:
        raise source.unfit(f"it has {len(convs)} convolutions and {len(norms)} batch "
                           "normalisations; 2x has 20 and 17, 4x 39 and 34, 8x 58 and 51")
    held = 2**modules
    if scale not in (None, held):
        raise UserError(f"{source.path} is an SRDRM x{held}, not x{scale}; correct --scale")
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


def _layers(source):
    """The arrays of the convolutions and of the batch normalisations, each in their order."""
    names = {name.rpartition("/")[0] for name in source.arrays}
    found = {4: [], 1: []}  # by the number of dimensions of the first array
    for name in sorted(names, key=lambda name: int((re.findall(r"_(\d+)$", name) or [0])[0])):
        arrays = [source.take(f"{name}/{i}") for i in range(source.count(f"{name}/{{}}"))]
        dimensions = [array.ndim for array in arrays]
        if dimensions not in ([4, 1], [1] * 4):
            raise source.unfit(f"{name} is neither a convolution with a bias nor a batch "
                               "normalisation")
        found[dimensions[0]].append(arrays)
    return found[4], found[1]
