"""What a network needs around a tile: its receptive field, read from its graph."""

from __future__ import annotations

import json
from collections import namedtuple
from typing import TYPE_CHECKING

import numpy as np

from common.cli import UserError

if TYPE_CHECKING:
    from common.nn.keras_compat import keras

MAX_OVERLAP = 32  # LR pixels, or pixels of the network's coarsest features

# scale: enlargement. radius: of the receptive field, in LR pixels. bytes_per_pixel: of the largest
# tensor, per LR pixel. grid: side of the blocks of LR pixels that it works on, 1 for most networks.
Footprint = namedtuple("Footprint", "scale radius bytes_per_pixel grid")

_PROBE = 64
_POOLS = ("MaxPool", "AvgPool")
_RESIZES = ("ResizeNearestNeighbor", "ResizeBilinear", "ResizeBicubic")
_SHRINKING = ("SpaceToDepth", "Conv2D", "DepthwiseConv2dNative", *_POOLS)
_CALLS = ("PartitionedCall", "StatefulPartitionedCall", "While", "StatelessWhile", "If")


def model_scale(model: keras.Model) -> int:
    """The scale of a model: its output's side over its input's.

    Raises:
        UserError: the model has outputs of several scales.
    """
    metadata = getattr(model, "zoo_metadata", None)
    scale = json.loads(metadata)["scale"] if metadata else None
    # A list of scales: this may be the view of one of them.
    return scale if isinstance(scale, int) else footprint(model).scale


def footprint(model: keras.Model) -> Footprint:
    """Trace a network on a small input and read its `Footprint` from the graph.

    An operation whose reach is unknown (a function call, a loop) counts `MAX_OVERLAP` LR pixels.

    Raises:
        UserError: the model has outputs of several scales.
    """
    from common.nn.keras_compat import tf

    spec = tf.TensorSpec([1, _PROBE, _PROBE, 3], tf.float32)
    concrete = tf.function(lambda x: model(x, training=False)).get_concrete_function(spec)
    if len(concrete.outputs) != 1:
        raise UserError("a model of several scales: load one of them with models.load(path, scale)")
    radius, largest, grid = {}, 0, 1
    for op in concrete.graph.get_operations():
        reach = max((radius[t.ref()] for t in op.inputs), default=0) + _reach(op)
        for tensor in op.outputs:
            radius[tensor.ref()] = reach
            if tensor.shape.rank == 4 and tensor.shape[0] == 1:
                largest = max(largest, tensor.shape.num_elements() * tensor.dtype.size)
        if op.type in _SHRINKING and op.outputs[0].shape[0] == 1:
            grid = max(grid, round(_PROBE / op.outputs[0].shape[1]))
    output = concrete.outputs[0]
    return Footprint(int(output.shape[1]) // _PROBE, int(np.ceil(radius[output.ref()])),
                     largest / _PROBE**2, grid)


def needed_overlap(found: Footprint) -> int:
    """LR pixels to read around a tile, a multiple of the footprint's grid."""
    return up_to(min(found.radius, MAX_OVERLAP * found.grid), found.grid)


def checked_tile(tile: int, found: Footprint, name: str) -> int:
    """Return the side of a tile in LR pixels that a network can be given alone.

    Raises:
        UserError: it is not larger than twice the overlap, or not a multiple of the blocks of
            pixels that the network works on.
    """
    overlap, grid = needed_overlap(found), found.grid
    least = 2 * overlap + grid
    if tile < least or tile % grid:
        multiple = f" and a multiple of {grid}" if grid > 1 else ""
        raise UserError(f"--tile {tile}: {name} needs {overlap} pixels around a tile, so the side "
                        f"must be at least {least}{multiple}")
    return tile


def up_to(value: int, multiple: int) -> int:
    """Round up to a multiple."""
    return -(-value // multiple) * multiple


def _reach(op):
    """How many LR pixels beyond its own place an output pixel of a graph operation depends on."""
    if op.type in _CALLS:
        return MAX_OVERLAP
    if op.type in ("Conv2D", "DepthwiseConv2dNative"):
        size, image = op.inputs[1].shape[0], op.inputs[0]
        size = (size - 1) * max(op.get_attr("dilations")) + 1
    elif op.type == "Conv2DBackpropInput":
        size, image = op.inputs[1].shape[0], op.outputs[0]
    elif op.type in _POOLS:
        size, image = max(op.get_attr("ksize")), op.inputs[0]
    elif op.type in _RESIZES:
        size, image = 5, op.inputs[0]
    elif op.type == "StridedSlice" and op.inputs[0].shape.rank == 4:
        # An image shifted by a pixel, one term of a bilinear enlargement.
        image, kept = op.inputs[0], op.outputs[0].shape
        size = max(image.shape[axis] - kept[axis] for axis in (1, 2)) + 1
        size = size if size <= 3 else 1
    elif op.type == "SpaceToDepth":
        return (op.get_attr("block_size") - 1) * _PROBE / op.inputs[0].shape[1]
    else:
        return 0
    return (size // 2) * _PROBE / image.shape[1]
