"""The rules that save work; each gives the same numbers up to rounding. See `graph.Rule`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from common.inference.forms import kernels
from common.inference.forms.graph import Node, Surroundings
from common.inference.forms.operations import (
    Affine,
    Concatenation,
    Convolution,
    Mean,
    Pointwise,
    Shuffle,
    Sum,
)

MOST_BLOCK = 4  # of pixels that one convolution gives at once
GAIN = 0.9  # a rule that spares multiplications must leave less than this share of them


def fold_affine(node: Node, around: Surroundings) -> Node | None:
    """A factor and shift per channel (batch normalisation) becomes part of the convolution before.

    In the same precision only: a float32 shift after a bfloat16 convolution keeps its digits.
    """
    affine = node.operation
    if not isinstance(affine, Affine) or not around.only(node.inputs[0], Convolution):
        return None
    before = node.inputs[0].operation
    if before.dtype != affine.dtype:
        return None
    return Node(replace(before, kernel=before.kernel * affine.factor,
                        bias=before.bias * affine.factor + affine.shift), node.inputs[0].inputs)


def shuffle_last(node: Node, around: Surroundings) -> Node | None:
    """What is done to each value is done before a pixel shuffle, or before pixels are repeated.

    There TensorFlow merges it with a convolution, and vectors of channels are longer.
    """
    if not isinstance(node.operation, (Affine, Pointwise)) or not around.only(node.inputs[0],
                                                                              Shuffle):
        return None
    shuffle = node.inputs[0].operation
    times = 1 if shuffle.repeats else shuffle.block**2
    before = Node(node.operation.tiled(times), node.inputs[0].inputs)
    return Node(replace(shuffle, dtype=node.operation.dtype), [before])


def activate_parts(node: Node, around: Surroundings) -> Node | None:
    """An activation of convolutions side by side is done to each, which TensorFlow merges."""
    if not isinstance(node.operation, Pointwise) or not around.only(node.inputs[0], Concatenation):
        return None
    parts = node.inputs[0].inputs
    if not all(around.only(part, Convolution) for part in parts):
        return None
    sizes = [part.operation.kernel.shape[3] for part in parts]
    return Node(node.inputs[0].operation, [Node(operation, [part]) for operation, part in
                                           zip(node.operation.split(sizes), parts)])


def block_of_pixels(node: Node, around: Surroundings) -> Node | None:
    """A convolution of few outputs gives a block of pixels at once, and a pixel shuffle places it.

    The processor computes `kernels.LANES` outputs in the time of one.
    """
    if not _plain(node) or around.size(node) is None:
        return None
    convolution = node.operation
    side, outputs = convolution.kernel.shape[0], convolution.kernel.shape[3]

    def cost(block):
        return (side + block - 1)**2 * kernels.lanes(outputs * block**2) / block**2

    possible = [block for block in range(1, MOST_BLOCK + 1)
                if not any(number % block for number in around.size(node))]
    block = min(possible, key=cost)
    if cost(block) > GAIN * cost(1):
        return None
    large = replace(convolution, kernel=kernels.blocked(convolution.kernel, block),
                    bias=np.tile(convolution.bias, block**2), stride=block)
    return Node(Shuffle(convolution.dtype, block), [Node(large, node.inputs)])


def before_shuffle(node: Node, around: Surroundings) -> Node | None:
    """A convolution of the stride of the pixel shuffle before it takes the pixels unshuffled."""
    convolution = node.operation
    if not (isinstance(convolution, Convolution) and convolution.padding == "SAME"
            and convolution.stride > 1 and around.only(node.inputs[0], Shuffle)):
        return None
    shuffle, side = node.inputs[0].operation, convolution.kernel.shape[0]
    block = convolution.stride
    if shuffle.repeats or shuffle.block != block or (side - block) % 2:
        return None
    kernel = kernels.before_shuffle(convolution.kernel, block)
    if kernel.shape[0] * block > side:
        return None
    return Node(replace(convolution, kernel=kernel, stride=1), node.inputs[0].inputs)


def before_repeats(node: Node, around: Surroundings) -> Node | None:
    """A convolution of repeated pixels becomes one of the pixels for each place in a block.

    Each kernel sees fewer pixels; where the outputs are few, one convolution gives all of them.
    """
    if not _plain(node) or not around.only(node.inputs[0], Shuffle):
        return None
    convolution, shuffle = node.operation, node.inputs[0].operation
    block, (side, _, _, outputs) = shuffle.block, convolution.kernel.shape
    if not shuffle.repeats or convolution.padding != "SAME":
        return None
    phases, below = kernels.repeat_phases(convolution.kernel, block), node.inputs[0].inputs
    now = (side * block)**2 * kernels.lanes(outputs)
    parted = sum(kernel.shape[0] * kernel.shape[1] for kernel, _ in phases) * kernels.lanes(outputs)
    united = ((2 * kernels.reach(side, block) + 1)**2 * kernels.lanes(outputs * block**2))
    if min(parted, united) > GAIN * now:
        return None
    if united <= parted:
        merged = replace(convolution, kernel=kernels.united(phases),
                         bias=np.tile(convolution.bias, block**2))
        large = Node(merged, below)
    else:
        large = Node(Concatenation(convolution.dtype), [
            Node(replace(convolution, kernel=kernel, padding=padding), below)
            for kernel, padding in phases])
    return Node(Shuffle(convolution.dtype, block), [large])


def sum_of_parts(node: Node, around: Surroundings) -> Node | None:
    """A convolution of few outputs takes tensors one by one, not side by side."""
    convolution = node.operation
    if (not isinstance(convolution, Convolution)
            or convolution.kernel.shape[3] > kernels.LANES
            or not around.only(node.inputs[0], Concatenation)):
        return None
    parts = node.inputs[0].inputs
    if not all(isinstance(_producer(part), Convolution) for part in parts):
        return None
    sizes = [_producer(part).kernel.shape[3] for part in parts]
    shares = np.split(convolution.kernel, np.cumsum(sizes)[:-1], axis=2)
    biases = [convolution.bias] + [np.zeros_like(convolution.bias)] * (len(parts) - 1)
    return Node(Sum(convolution.dtype), [
        Node(replace(convolution, kernel=kernel, bias=bias), [part])
        for kernel, bias, part in zip(shares, biases, parts)])


def mean_first(node: Node, around: Surroundings) -> Node | None:
    """The mean of what one linear operation makes of several tensors is what it makes of theirs."""
    if not isinstance(node.operation, Mean):
        return None
    first = node.inputs[0].operation
    if not all(around.only(each, Affine, Convolution, Shuffle) and _same(each.operation, first)
               for each in node.inputs):
        return None
    mean = Node(replace(node.operation, dtype=first.dtype),
                [each.inputs[0] for each in node.inputs])
    return Node(first, [mean])


def sum_of_weighted(node: Node, around: Surroundings) -> Node | None:
    """The weights of a mean become factors of the convolutions that it is of."""
    if not isinstance(node.operation, Mean) or min(node.operation.weights) <= 0:
        return None
    terms = []
    for each, weight in zip(node.inputs, node.operation.weights):
        if not (around.only(each, Pointwise) and each.operation.positively_homogeneous
                and around.only(each.inputs[0], Convolution)):
            return None
        convolution = each.inputs[0].operation
        factor = np.float32(weight)
        scaled = replace(convolution, kernel=convolution.kernel * factor,
                         bias=convolution.bias * factor)
        terms.append(Node(each.operation, [Node(scaled, each.inputs[0].inputs)]))
    return Node(Sum(node.operation.dtype), terms)


def keep_bfloat16(node: Node, around: Surroundings) -> Node | None:
    """A float32 convolution of bfloat16 tensors computes in bfloat16 too.

    Its inputs have no more digits. Not so with float16, whose range is narrow.
    """
    convolution = node.operation
    if (not isinstance(convolution, Convolution) or convolution.dtype != "float32"
            or node.inputs[0].operation.dtype != "bfloat16"):
        return None
    return Node(replace(convolution, dtype="bfloat16"), node.inputs)


RULES = (mean_first, keep_bfloat16, fold_affine, shuffle_last, before_repeats, block_of_pixels,
         before_shuffle, activate_parts, sum_of_parts, sum_of_weighted)


def _plain(node):
    """Whether it is a convolution of stride 1 with an odd kernel."""
    convolution = node.operation
    return (isinstance(convolution, Convolution) and convolution.stride == 1
            and isinstance(convolution.padding, str)
            and convolution.kernel.shape[0] == convolution.kernel.shape[1]
            and convolution.kernel.shape[0] % 2 == 1)


def _producer(node):
    """The operation that makes a tensor, before its activation."""
    return (node.inputs[0] if isinstance(node.operation, Pointwise) else node).operation


def _same(one, other):
    """Whether two operations do the same: the calls of one layer, or constants that are equal."""
    if one is other:
        return True
    if type(one) is not type(other) or isinstance(one, Convolution):
        return False
    mine, theirs = vars(one), vars(other)
    return all(np.array_equal(mine[name], theirs[name]) for name in mine)
