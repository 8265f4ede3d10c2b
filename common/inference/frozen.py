"""Frozen graphs: a network as one `.pb` of a fixed input size, written with Keras and run without.

The graph takes a window `lr`, float32 RGB (1, tile, tile, 3) in [0, 255], and gives `sr`, float32
(1, tile*scale, tile*scale, 3), not clipped. What TensorFlow 1.15 does not know is left out of it,
and reading and running one works there too, on Python 3.7: in a graph session, which is also how
an Ascend NPU runs it.
"""

import contextlib
import json
import warnings
from collections import namedtuple
from pathlib import Path

import numpy as np

from common.cli import UserError, one_line
from common.inference.upscaler import (
    AUTOMATIC_SIDES,
    Enlarger,
    fixed_window,
    footprint,
    needed_overlap,
)

INPUT, OUTPUT = "lr", "sr"
TILE = AUTOMATIC_SIDES[0]

# On the input node: TensorFlow takes every attribute that begins with an underscore, and a compiler
# for another device has no node more to convert.
_METADATA = "_sr_zoo"

# Attributes that came after TensorFlow 1.15. With their default they do what it does without them.
_LATER = {"BatchMatMul": ("grad_x", "grad_y"), "BatchMatMulV2": ("grad_x", "grad_y"),
          "DepthwiseConv2dNative": ("explicit_paddings",),
          "FusedBatchNorm": ("exponential_avg_factor",),
          "FusedBatchNormV2": ("exponential_avg_factor",),
          "FusedBatchNormV3": ("exponential_avg_factor",), "GatherNd": ("bad_indices_policy",),
          "MatMul": ("grad_a", "grad_b"), "MaxPool": ("explicit_paddings",),
          "ScatterNd": ("bad_indices_policy",), "TopKV2": ("Tk", "index_type")}

# definition: the GraphDef. tile: side of the window; overlap: what the network sees around the part
# of it that is kept; grid: what both are multiples of; all in LR pixels.
FrozenGraph = namedtuple("FrozenGraph", "path definition model scale tile overlap grid")


def write(model, path, tile=None):
    """Write a Keras model of one scale, and of float32, as a frozen graph.

    Args:
        model: of `models.create` or `models.load`.
        path: the file.
        tile: side of the input in LR pixels; by default `TILE`, or twice the overlap on both sides
            where that is more.

    Raises:
        UserError: a tile that the network's overlap leaves nothing of, or that is no multiple of
            the blocks of pixels that it works on.
    """
    found = footprint(model)
    overlap = needed_overlap(found)
    tile = _checked(tile, overlap, found.grid, model.name)
    definition = _freeze(model, tile)
    metadata = {"model": json.loads(model.zoo_metadata)["model"], "scale": found.scale,
                "tile": tile, "overlap": overlap, "grid": found.grid}
    placeholder = next(node for node in definition.node if node.name == INPUT)
    placeholder.attr[_METADATA].s = json.dumps(metadata).encode()
    Path(path).write_bytes(definition.SerializeToString(deterministic=True))


def read(path):
    """Read a graph that `write` wrote, as a `FrozenGraph`.

    Raises:
        UserError: no such file, or another one.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    definition = tf.compat.v1.GraphDef()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # older protobufs warn of such a file and go on
            definition.ParseFromString(Path(path).read_bytes())
        placeholder = next(node for node in definition.node if node.name == INPUT)
        metadata = json.loads(placeholder.attr[_METADATA].s.decode())
        return FrozenGraph(path=str(path), definition=definition, **metadata)
    except (DecodeError, StopIteration, ValueError, TypeError) as error:
        raise UserError(f"{path} is no frozen graph of the zoo; make one with python -m "
                        "scripts.export --format frozen_pb") from error


class FrozenUpscaler(Enlarger):
    """Enlarges images with a frozen graph in a session; `with` or `close()` ends the session.

    All windows have the graph's one size. An image that is smaller is continued with its edge.

    Args:
        graph: of `read`.
        chip, precision_mode: see `common.device.open.session_config`.
        self_ensemble, progress: see `common.inference.upscaler.Upscaler`.

    Raises:
        UserError: the chip is not here, or it is an NPU that does not open.
    """

    def __init__(self, graph, chip="auto", precision_mode="allow_mix_precision",
                 self_ensemble=False, progress=False):
        # Neither Keras nor eager execution takes part, so that TensorFlow 1.15 will do.
        import tensorflow as tf

        from common.device.open import session_config
        from common.device.session import uses_npu

        self.graph, self.scale, self.window = graph, graph.scale, graph.tile
        self.self_ensemble, self.progress = self_ensemble, progress
        config = session_config(chip, precision_mode)
        with tf.Graph().as_default() as tf_graph:
            tf.import_graph_def(graph.definition, name="")
        self._on_npu = uses_npu(config)
        with self._npu_errors():
            self._session = tf.compat.v1.Session(graph=tf_graph, config=config)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """End the session, which gives an NPU back."""
        self._session.close()

    @contextlib.contextmanager
    def _npu_errors(self):
        """What an NPU cannot do is said in one line: it opens and compiles in the first run."""
        import tensorflow as tf

        try:
            yield
        except tf.errors.OpError as error:
            if not self._on_npu:
                raise
            raise UserError(f"the NPU does not run {self.graph.path}: {one_line(error)[:300]}; see "
                            "CANN's logs, or use --chip gpu or cpu") from error

    def _tiling(self, height, width):
        kept = self.graph.tile - 2 * self.graph.overlap
        return (kept, kept), self.graph.overlap, self.graph.grid

    def _forward(self, window):
        import tensorflow as tf

        lr = np.ascontiguousarray(window[np.newaxis], np.float32)
        with self._npu_errors():
            try:
                return self._session.run(OUTPUT + ":0", {INPUT + ":0": lr})[0]
            except tf.errors.ResourceExhaustedError as error:
                raise UserError(f"out of memory at {self.graph.tile}x{self.graph.tile} pixels; "
                                "export the network with a smaller --tile") from error


def _checked(tile, overlap, grid, name):
    """The side of the window, or a `UserError`."""
    least = 2 * overlap + grid
    if tile is None:
        return fixed_window(overlap, grid)
    if tile < least or tile % grid:
        multiple = f" and a multiple of {grid}" if grid > 1 else ""
        raise UserError(f"--tile {tile}: {name} sees {overlap} pixels around a tile, so that the "
                        f"side has to be at least {least}{multiple}")
    return tile


def _freeze(model, tile):
    """The GraphDef of a model on windows of one size, folded to what depends on the window."""
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
    """A graph after Grappler's constant folding, as TensorFlow 1.15 knows its operations."""
    from tensorflow.python.framework import op_def_registry
    from tensorflow.python.grappler import tf_optimizer

    from common.nn.keras_compat import tf

    meta = tf.compat.v1.MetaGraphDef(graph_def=definition)
    meta.collection_def["train_op"].node_list.value.extend([output, INPUT + ":0"])  # to be kept
    config = tf.compat.v1.ConfigProto()
    rewrites = config.graph_options.rewrite_options
    rewrites.optimizers.extend(["constfold", "dependency"])
    rewrites.min_graph_nodes = -1  # small ones too
    with tf.Graph().as_default() as graph:  # all attributes: atc knows no defaults
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
