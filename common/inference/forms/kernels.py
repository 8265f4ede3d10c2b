"""Kernels of convolutions that do the work of others; sides in pixels, all kernels square.

A kernel is an array (side, side, inputs, outputs). The outputs of a block of pixels are ordered as
a pixel shuffle takes them: block row, block column, channel.
"""

from __future__ import annotations

import numpy as np

LANES = 16  # oneDNN computes so many output channels at once; fewer take as long


def lanes(channels: int) -> int:
    """Output channels that are paid for."""
    return -(-channels // LANES) * LANES


def blocked(kernel: np.ndarray, block: int) -> np.ndarray:
    """The kernel of stride `block` that gives a block of pixels of a convolution of stride 1.

    Its side is `block - 1` more, and it has `block**2` times the outputs.
    """
    side, _, inputs, outputs = kernel.shape
    result = np.zeros((side + block - 1, side + block - 1, inputs, block, block, outputs),
                      kernel.dtype)
    for y in range(block):
        for x in range(block):
            result[y:y + side, x:x + side, :, y, x] = kernel
    return result.reshape(*result.shape[:3], -1)


def reach(side: int, block: int) -> int:
    """Blocks beyond its own that a pixel's odd kernel of that side touches, on each side."""
    return -(-(side // 2) // block)


def before_shuffle(kernel: np.ndarray, block: int) -> np.ndarray:
    """The kernel before a pixel shuffle that equals `blocked(...)` of stride `block` after it."""
    side, _, inputs, outputs = kernel.shape
    blocks = reach(side - block + 1, block)
    full = 2 * blocks + 1
    large = np.zeros((full * block, full * block, inputs, outputs), kernel.dtype)
    first = blocks * block - (side - block) // 2
    large[first:first + side, first:first + side] = kernel
    large = large.reshape(full, block, full, block, inputs, outputs)
    return large.transpose(0, 2, 1, 3, 4, 5).reshape(full, full, block**2 * inputs, outputs)


def repeat_phases(kernel: np.ndarray, block: int) -> list[tuple]:
    """A convolution after pixels are repeated, as one before it for each pixel of a block.

    Returns:
        [(kernel, ((zeros above, below), (left, right)))], by block row and block column; here the
        kernels may have two sides.
    """
    side = kernel.shape[0]
    offsets = np.arange(side) - side // 2
    taps = [(phase + offsets) // block for phase in range(block)]
    phases = []
    for rows in taps:
        for columns in taps:
            small = np.zeros((rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1,
                              *kernel.shape[2:]), kernel.dtype)
            for y, row in enumerate(rows):
                for x, column in enumerate(columns):
                    small[row - rows[0], column - columns[0]] += kernel[y, x]
            phases.append((small, ((-rows[0], rows[-1]), (-columns[0], columns[-1]))))
    return phases


def united(phases: list[tuple]) -> np.ndarray:
    """The kernels of `repeat_phases` as one, whose outputs are those of a block of pixels."""
    blocks = max(max(zeros) for _, padding in phases for zeros in padding)
    inputs, outputs = phases[0][0].shape[2:]
    result = np.zeros((2 * blocks + 1, 2 * blocks + 1, inputs, len(phases), outputs),
                      phases[0][0].dtype)
    for i, (kernel, ((above, _), (left, _))) in enumerate(phases):
        y, x = blocks - above, blocks - left
        result[y:y + kernel.shape[0], x:x + kernel.shape[1], :, i] = kernel
    return result.reshape(*result.shape[:3], -1)
