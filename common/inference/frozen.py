"""Frozen graphs: a network as one `.pb` of a fixed input size, written with Keras and run without.

The graph takes a window `lr`, float32 RGB (1, tile, tile, 3) in [0, 255], and gives `sr`, float32
(1, tile*scale, tile*scale, 3), not clipped. It has only operations of TensorFlow 1.15, and this
module reads and runs it there too, on Python 3.7, in a graph session; an Ascend NPU runs it so.
"""

from __future__ import annotations

import json
import warnings
from collections import namedtuple
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.cli import UserError, one_line
from common.inference.footprint import checked_tile, footprint, needed_overlap
from common.inference.upscaler import AUTOMATIC_SIDES, Enlarger, fixed_window
from common.untrusted import isolated

if TYPE_CHECKING:
    import os

    from common.nn.keras_compat import keras

INPUT, OUTPUT = "lr", "sr"
TILE = AUTOMATIC_SIDES[0]

# An attribute of the input node: TensorFlow accepts any name that begins with an underscore, and
# the graph has no extra node that another device's compiler would have to convert.
_METADATA = "_sr_zoo"

# Attributes newer than TensorFlow 1.15; their defaults mean what 1.15 does without them.
_LATER = {"BatchMatMul": ("grad_x", "grad_y"), "BatchMatMulV2": ("grad_x", "grad_y"),
          "DepthwiseConv2dNative": ("explicit_paddings",),
          "FusedBatchNorm": ("exponential_avg_factor",),
          "FusedBatchNormV2": ("exponential_avg_factor",),
          "FusedBatchNormV3": ("exponential_avg_factor",), "GatherNd": ("bad_indices_policy",),
          "MatMul": ("grad_a", "grad_b"), "MaxPool": ("explicit_paddings",),
          "ScatterNd": ("bad_indices_policy",), "TopKV2": ("Tk", "index_type")}

# What a stranger's graph must not do beside what has a state: read files, run loops.
_REFUSED = {"ReadFile", "MatchingFiles", "Enter", "RefEnter", "NextIteration", "RefNextIteration"}
_MOST_TILE, _MOST_NUMBERS = 4096, 1 << 28

# definition: the GraphDef. tile: side of the window; overlap: margin around the kept part of the
# window; grid: both are multiples of it; all in LR pixels. notes: of `exports.notes`.
FrozenGraph = namedtuple("FrozenGraph", "path definition model scale tile overlap grid notes",
                         defaults=({},))


def write(model: keras.Model, path: str | os.PathLike, tile: int | None = None,
          said: dict | None = None) -> None:
    """Write a float32 Keras model of one scale as a frozen graph.

    Args:
        model: from `models.create` or `models.load`.
        path: the file.
        tile: side of the input in LR pixels; by default `TILE`, or four times the overlap where
            that is more.
        said: notes of `common.inference.exports.notes`.

    Raises:
        UserError: the tile is not larger than twice the network's overlap, or not a multiple of
            the blocks of pixels that it works on.
    """
    found = footprint(model)
    overlap = needed_overlap(found)
    tile = (fixed_window(overlap, found.grid) if tile is None
            else checked_tile(tile, found, model.name))
    definition = _freeze(model, tile)
    metadata = {"notes": said or {}, "model": json.loads(model.zoo_metadata)["model"],
                "scale": found.scale, "tile": tile, "overlap": overlap, "grid": found.grid}
    placeholder = next(node for node in definition.node if node.name == INPUT)
    placeholder.attr[_METADATA].s = json.dumps(metadata).encode()
    Path(path).write_bytes(definition.SerializeToString(deterministic=True))


def read(path: str | os.PathLike) -> FrozenGraph:
    """Read a graph that `write` has written.

    Raises:
        OSError: the file cannot be read.
        UserError: it is not a frozen graph of the zoo, is damaged, or does more than compute.
    """
    import tensorflow  # noqa: F401  (see `isolated`)

    isolated(_check, path)
    return _parsed(path)


def _parsed(path):
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    definition = tf.compat.v1.GraphDef()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # older protobufs warn about other files and go on
            definition.ParseFromString(Path(path).read_bytes())
        placeholder = next(node for node in definition.node if node.name == INPUT)
        metadata = json.loads(placeholder.attr[_METADATA].s.decode())
        return FrozenGraph(path=str(path), definition=definition, **metadata)
    except (DecodeError, StopIteration, ValueError, TypeError) as error:
        raise UserError(f"{path} is not a frozen graph of the zoo; make one with python -m "
                        "scripts.export --format frozen_pb") from error


def _check(path):
    """Raise what is wrong with a graph; TensorFlow's reader may also end the process."""
    import tensorflow as tf

    frozen = _parsed(path)
    sizes = scale, tile, overlap, grid = frozen.scale, frozen.tile, frozen.overlap, frozen.grid
    if not (all(type(size) is int for size in sizes) and 1 <= scale <= 16 and grid >= 1
            and 0 <= 2 * overlap < tile <= _MOST_TILE):
        raise ValueError(f"it states the sizes {sizes}")
    if frozen.definition.library.function:
        raise ValueError("it has functions")
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(frozen.definition, name="")
    for operation in graph.get_operations():
        if operation.op_def.is_stateful or operation.type in _REFUSED:
            raise UserError(f"{path} has an operation {operation.type}, which no network needs; "
                            "it is not run")
        for output in operation.outputs:
            if (output.shape.num_elements() or 0) > _MOST_NUMBERS:
                raise ValueError(f"{operation.name} states {output.shape.num_elements():,} numbers")
    for name, side in ((INPUT, tile), (OUTPUT, tile * scale)):
        found = graph.get_tensor_by_name(name + ":0")
        if found.dtype != tf.float32 or found.shape.as_list() != [1, side, side, 3]:
            raise ValueError(f"{name} is {found.dtype.name} {found.shape}, not 1x{side}x{side}x3")


class FrozenUpscaler(Enlarger):
    """Enlarges images with a frozen graph in a session; `with` or `close()` ends the session.

    All windows have the graph's one size; a smaller image is padded with its edge pixels.

    Args:
        graph: from `read`.
        chip, precision_mode: see `common.device.session.session_config`.
        self_ensemble, progress: see `common.inference.upscaler.Upscaler`.

    Raises:
        UserError: the machine lacks the chip, or the NPU cannot be opened.
    """

    engine = "tensorflow"

    def __init__(self, graph: FrozenGraph, chip: str = "auto",
                 precision_mode: str = "allow_mix_precision", self_ensemble: bool = False,
                 progress: bool = False):
        # Neither Keras nor eager execution is used, so TensorFlow 1.15 is enough.
        import tensorflow as tf

        from common.device.session import plain_errors, session_config

        self.graph, self.scale, self.window = graph, graph.scale, graph.tile
        self.self_ensemble, self.progress = self_ensemble, progress
        config = session_config(chip, precision_mode)
        with tf.Graph().as_default() as tf_graph:
            tf.import_graph_def(graph.definition, name="")
        self._plain_errors = lambda: plain_errors(config, graph.path)
        with self._plain_errors():
            self._session = tf.compat.v1.Session(graph=tf_graph, config=config)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """End the session, which releases an NPU."""
        self._session.close()

    def _tiling(self, height, width):
        kept = self.graph.tile - 2 * self.graph.overlap
        return (kept, kept), self.graph.overlap, self.graph.grid

    def _forward(self, window):
        import tensorflow as tf

        lr = np.ascontiguousarray(window[np.newaxis], np.float32)
        with self._plain_errors():
            try:
                return self._session.run(OUTPUT + ":0", {INPUT + ":0": lr})[0]
            except tf.errors.ResourceExhaustedError as error:
                raise UserError(f"out of memory at {self.graph.tile}x{self.graph.tile} pixels; "
                                "export the network with a smaller --tile") from error
            except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
                raise UserError(f"{self.graph.path} is damaged: {one_line(error)[:120]}") from error


def _freeze(model, tile):
    """The GraphDef of a model for windows of one size, its constants folded."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    from common.nn.keras_compat import tf

    window = tf.TensorSpec((1, tile, tile, 3), tf.float32, name=INPUT)
    network = tf.function(lambda lr: model(lr, training=False), input_signature=[window])
    frozen = convert_variables_to_constants_v2(network.get_concrete_function())
    definition = _folded(frozen.graph.as_graph_def(), frozen.outputs[0].name)
    for node in definition.node:
        if node.name == frozen.outputs[0].op.name:
            node.name = OUTPUT
    return definition


def _folded(definition, output):
    """The graph after Grappler's constant folding, without attributes unknown to TF 1.15."""
    from tensorflow.python.framework import op_def_registry
    from tensorflow.python.grappler import tf_optimizer

    from common.nn.keras_compat import tf

    meta = tf.compat.v1.MetaGraphDef(graph_def=definition)
    meta.collection_def["train_op"].node_list.value.extend([output, INPUT + ":0"])  # to be kept
    config = tf.compat.v1.ConfigProto()
    rewrites = config.graph_options.rewrite_options
    rewrites.optimizers.extend(["constfold", "dependency"])
    rewrites.min_graph_nodes = -1  # small ones too
    with tf.Graph().as_default() as graph:  # adds default attributes, which atc needs
        tf.import_graph_def(tf_optimizer.OptimizeGraph(config, meta), name="")
    definition = graph.as_graph_def()
    for node in definition.node:
        node.device = ""
        for name in [name for name in node.attr if name.startswith("_")]:
            del node.attr[name]
        defaults = {attr.name: attr.default_value for attr in op_def_registry.get(node.op).attr}
        for name in set(_LATER.get(node.op, ())) & set(node.attr):
            if node.attr[name] != defaults[name]:
                raise UserError(f"{node.name} needs {name} of {node.op}, which TensorFlow 1.15 "
                                "does not have; the network cannot be exported as frozen_pb")
            del node.attr[name]
    return definition
