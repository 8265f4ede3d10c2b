"""Images through a network: whole or in tiles, of any kind, clipped and rounded."""

import itertools
import json
from collections import namedtuple

import numpy as np

from common.cli import UserError
from common.device import npu

MAX_OVERLAP = 32
# Automatic tiles keep the network's largest tensor below this; the process peaks at about two to
# three times as much. The sides of a window stay within AUTOMATIC_SIDES, in LR pixels.
AUTOMATIC_BYTES = 384 * 2**20
AUTOMATIC_SIDES = (192, 1024)

Footprint = namedtuple("Footprint", "scale radius bytes_per_pixel grid")
Window = namedtuple("Window", "start stop first last")  # [start, stop) is read, [first, last) kept

_PROBE = 64
_POOLS = ("MaxPool", "AvgPool")
_RESIZES = ("ResizeNearestNeighbor", "ResizeBilinear", "ResizeBicubic")
_SHRINKING = ("SpaceToDepth", "Conv2D", "DepthwiseConv2dNative", *_POOLS)
_CALLS = ("PartitionedCall", "StatefulPartitionedCall", "While", "StatelessWhile", "If")


class Enlarger:
    """Enlarges images by `scale`, in windows that a subclass puts through a network.

    The subclass sets `scale`, `self_ensemble` and `progress`, and has `_tiling(height, width)` and
    `_forward(window)` as `Upscaler` has them; `window` is the side that all windows must have.
    """

    window = None

    def __call__(self, image):
        """Enlarge an image of any kind.

        Grey goes through the network as equal R, G and B and comes back as their mean; alpha is
        enlarged by bicubic interpolation.

        Args:
            image: uint8 or uint16, [H, W] grey, [H, W, 2] grey and alpha, [H, W, 3] RGB, or
                [H, W, 4] RGB and alpha.

        Returns:
            the same kind, `scale` times the size, clipped and rounded.

        Raises:
            UserError: the network's output is not finite, or memory is exhausted.
        """
        image = np.asarray(image)
        channels = 1 if image.ndim == 2 else image.shape[-1]
        if image.dtype not in (np.uint8, np.uint16) or image.ndim not in (2, 3) or channels > 4:
            raise ValueError(f"no image: {image.dtype} of shape {image.shape}")
        colours = 3 if channels > 2 else 1
        planes = image.reshape(*image.shape[:2], channels)
        per_level = np.iinfo(image.dtype).max / 255
        rgb = np.float32(planes[..., :colours]) / np.float32(per_level)
        sr = self.predict(np.repeat(rgb, 3, axis=-1) if colours == 1 else rgb)
        if not np.isfinite(sr).all():
            raise UserError("the network's output is not finite; use float32 precision, or other "
                            "weights")
        if colours == 1:
            sr = sr.mean(axis=-1, keepdims=True)
        sr = _to_levels(sr, per_level, image.dtype)
        if channels > colours:
            from common import bicubic

            alpha = bicubic.upscale(planes[..., -1].astype(np.float64), self.scale)
            sr = np.dstack([sr, _to_levels(alpha, 1, image.dtype)])
        return sr.reshape(*sr.shape[:2], *image.shape[2:])

    def predict(self, image):
        """The network's output: float32 [H, W, 3] in 0..255 to [H*scale, W*scale, 3], unclipped."""
        if not self.self_ensemble:
            return self._enlarge(image)
        total = np.zeros((image.shape[0] * self.scale, image.shape[1] * self.scale, 3), np.float32)
        for turns, flipped in itertools.product(range(4), (False, True)):
            turned = np.rot90(image, turns)
            sr = self._enlarge(turned[:, ::-1] if flipped else turned)
            total += np.rot90(sr[:, ::-1] if flipped else sr, -turns)
        total /= 8
        return total

    def _enlarge(self, image):
        height, width = image.shape[:2]
        (rows, columns), overlap, grid = self._tiling(height, width)
        sides = [max(_up_to(side, grid), self.window or 0) for side in (height, width)]
        windows = list(itertools.product(cut(sides[0], rows, overlap),
                                         cut(sides[1], columns, overlap)))
        if len(windows) == 1 and not self.window:
            return self._forward(image)
        # As the network itself pads a whole image, so that its blocks lie where they would.
        image = np.pad(image, ((0, sides[0] - height), (0, sides[1] - width), (0, 0)), "edge")
        s = self.scale
        result = np.empty((sides[0] * s, sides[1] * s, 3), np.float32)
        for y, x in self._bar(windows):
            sr = self._forward(image[y.start:y.stop, x.start:x.stop])
            result[y.first * s:y.last * s, x.first * s:x.last * s] = sr[
                (y.first - y.start) * s:(y.last - y.start) * s,
                (x.first - x.start) * s:(x.last - x.start) * s]
        return result[:height * s, :width * s]

    def _bar(self, windows):
        if not self.progress:
            return windows
        from tqdm import tqdm

        return tqdm(windows, "tiles", leave=False, disable=None, unit="tile")


class Upscaler(Enlarger):
    """Enlarges images with a network that maps RGB float32 NHWC in [0, 255] to `scale` the size.

    Args:
        model: a Keras model of one scale.
        tile: 0 for automatic (whole images, and tiles where the network's tensors would pass
            `AUTOMATIC_BYTES`), or N for tiles of N LR pixels.
        tile_overlap: LR pixels around a tile that the network sees as well; by default the radius
            of its receptive field, at most `MAX_OVERLAP` pixels of its coarsest features.

    For a network that works on blocks of LR pixels both are rounded up to a multiple of the block.

        self_ensemble: mean over the 8 flips and rotations (arXiv 1511.02228): 8 times the work.
        progress: a bar over the tiles of a large image.
        fixed: all windows of one size, which an image's edge is repeated to fill; by default on an
            NPU, which compiles for minutes for every other size.

    Raises:
        UserError: a negative tile or overlap, or a model of several scales.
    """

    def __init__(self, model, tile=0, tile_overlap=None, self_ensemble=False, progress=False,
                 fixed=None):
        from common.nn.keras_compat import function, tf

        if tile < 0 or (tile_overlap or 0) < 0:
            raise UserError("tile and tile_overlap are LR pixels, 0 or more")
        self.scale = model_scale(model)
        self.tile, self.tile_overlap = tile, tile_overlap
        self.self_ensemble, self.progress = self_ensemble, progress
        self._model = model
        self._network = function(lambda x: tf.cast(model(x, training=False), tf.float32))
        self._footprint = None
        self._fixed = npu.opened() is not None if fixed is None else fixed

    def _tiling(self, height, width):
        """Height and width of a tile, the overlap and what all are multiples of, for an image."""
        whole = (height, width), 0, 1
        if not (self.tile or self._fixed) and max(height, width) <= AUTOMATIC_SIDES[0]:
            return whole
        if self._footprint is None:
            self._footprint = footprint(self._model)
        grid, overlap = self._footprint.grid, self.tile_overlap
        overlap = needed_overlap(self._footprint) if overlap is None else _up_to(overlap, grid)
        tile = _up_to(self.tile, grid)
        if self._fixed:
            tile = tile or fixed_window(overlap, grid) - 2 * overlap
            self.window = tile + 2 * overlap
        if tile:
            return (tile, tile), overlap, grid
        window = int((AUTOMATIC_BYTES / self._footprint.bytes_per_pixel) ** 0.5)
        window = min(max(window, AUTOMATIC_SIDES[0]), AUTOMATIC_SIDES[1])
        if height * width <= window * window:
            return whole
        most = max(window - 2 * overlap, window // 4)
        # Equal tiles: a last one of few pixels would cost as much as a full one.
        sides = (-(-side // -(-side // most)) for side in (height, width))
        return tuple(_up_to(side, grid) for side in sides), overlap, grid

    def _forward(self, window):
        """The network's output for float32 [h, w, 3], float32 [h*scale, w*scale, 3]."""
        from common.nn.keras_compat import tf

        try:
            return self._network(np.ascontiguousarray(window[np.newaxis], np.float32)).numpy()[0]
        except tf.errors.ResourceExhaustedError as error:
            raise UserError(f"out of memory at {window.shape[1]}x{window.shape[0]} pixels; use "
                            "smaller tiles (--tile N)") from error


def cut(size, tile, overlap):
    """Windows along one side: all of one length, inside the image, kept parts side by side.

    A window reaches `overlap` beyond its tile on both sides; at the image's borders it is shifted
    inward, so that a network's zero padding falls on true borders only.

    Returns:
        list of `Window`.
    """
    length = min(size, tile + 2 * overlap)
    if length == size:
        return [Window(0, size, 0, size)]
    windows = []
    for first in range(0, size, tile):
        start = min(max(first - overlap, 0), size - length)
        windows.append(Window(start, start + length, first, min(first + tile, size)))
    return windows


def model_scale(model):
    """How many times a model's output is as large as its input.

    Raises:
        UserError: the model has outputs of several scales.
    """
    metadata = getattr(model, "zoo_metadata", None)
    scale = json.loads(metadata)["scale"] if metadata else None
    # A list of scales: this may be the view of one of them.
    return scale if isinstance(scale, int) else footprint(model).scale


def footprint(model):
    """What a network needs of its surroundings, read from its graph on a small input.

    Returns:
        `Footprint`: scale; radius of the receptive field in LR pixels, at most `MAX_OVERLAP` where
        it cannot be told; bytes of the largest tensor per LR pixel; the side of the blocks of LR
        pixels that it works on, 1 for most.
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


def needed_overlap(found):
    """LR pixels around a tile that a network of this `Footprint` sees, a multiple of its grid."""
    return _up_to(min(found.radius, MAX_OVERLAP * found.grid), found.grid)


def fixed_window(overlap, grid):
    """The side of windows that are all of one size."""
    return _up_to(max(AUTOMATIC_SIDES[0], 4 * overlap), grid)


def _reach(op):
    """How far, in LR pixels, an output of a graph operation looks beyond its own place."""
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
        # Of an image shifted by a pixel, as a bilinear enlargement sums up.
        image, kept = op.inputs[0], op.outputs[0].shape
        size = max(image.shape[axis] - kept[axis] for axis in (1, 2)) + 1
        size = size if size <= 3 else 1
    elif op.type == "SpaceToDepth":
        return (op.get_attr("block_size") - 1) * _PROBE / op.inputs[0].shape[1]
    else:
        return 0
    return (size // 2) * _PROBE / image.shape[1]


def _up_to(value, multiple):
    return -(-value // multiple) * multiple


def _to_levels(values, per_level, dtype):
    values = values * np.asarray(per_level, values.dtype)
    np.rint(values, out=values)
    return np.clip(values, 0, np.iinfo(dtype).max, out=values).astype(dtype)
