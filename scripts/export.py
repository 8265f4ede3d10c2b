"""Export a network to other formats: `python -m scripts.export --format F --output PATH`.

Like the Keras network, an export maps the input `lr`, RGB float32 NHWC in [0, 255] of any batch
size, height and width, to the output `sr`, `scale` times as large and not clipped. A frozen graph
takes one window of fixed size; see `common.inference.frozen`.
"""

from collections import namedtuple
from functools import partial
from pathlib import Path
from typing import Any, Optional

import numpy as np

import models
from common.cli import UserError, require_packages, run_command, unknown
from common.data.sets import open_images
from common.files import atomic_folder, atomic_path, check_is_no_folder, check_suffix
from common.flags import OneLineParser
from common.images import read_rgb
from common.inference import exports, frozen
from common.inference.engines import open_engine
from models.choose import add_weights_options, choose_weights

TOLERANCE = 0.05  # largest accepted difference from Keras in any value (0 to 255)
_SIZES = ((64, 96), (37, 53))  # height and width of the images that are compared


def main(argv):
    """Run the command."""
    arguments = _parser().read(argv)
    arguments.chip = "cpu"  # the export is the same on every chip
    check_target(arguments.format, arguments.output, arguments.tile)
    choice = choose_weights(arguments)
    model = models.load(choice.path, scale=choice.scale)
    difference = export(model, arguments.format, arguments.output, arguments.tile)
    print(f"{arguments.output}: {choice.model} x{choice.scale} as {arguments.format}; largest "
          f"difference from Keras on a photograph: {difference:.6f} of 255")


def export(model: Any, format: str, path: Any, tile: Optional[int] = None) -> float:
    """Write a network and compare the result with Keras; if they differ, nothing is written.

    Args:
        model: from `models.create` or `models.load`, with one scale, in float32.
        format: a key of `FORMATS`.
        path: the file or folder to write; an older one is replaced.
        tile: side of a frozen graph's input, see `common.inference.frozen.write`.

    Returns:
        the largest difference from the model, see `check`.

    Raises:
        UserError: an unknown format, a missing package, a path that holds something else, an
            impossible tile, or a difference above `TOLERANCE`.
    """
    from common.inference.forms.form import inference_form

    check_target(format, path, tile)
    if isinstance(model.output, dict):
        raise UserError(f"{model.name} has several scales; load it with one of them")
    with FORMATS[format].atomic(path) as temporary:
        FORMATS[format].write(inference_form(model), temporary,
                              **({} if tile is None else {"tile": tile}))
        difference = check(model, format, temporary)
        if not difference <= TOLERANCE:
            raise UserError(f"the {format} of {model.name} differs from Keras by {difference:.4f} "
                            f"of 255, more than {TOLERANCE}; {path} was not written")
    return difference


def check(model: Any, format: str, path: Any) -> float:
    """Return the largest difference between an export and its model on photographs.

    Args:
        model: the Keras model.
        format: a key of `FORMATS`.
        path: what `export` wrote.

    Returns:
        the difference in grey levels (0 to 255), over images of two sizes; where an untrained
        network exceeds 255, relative to its largest value. Infinite if the shapes differ.
    """
    run = FORMATS[format].open(path)
    photo = read_rgb(open_images("demo", None, 1)[0].hr)
    differences = []
    for height, width in getattr(run, "sizes", _SIZES):
        # np.resize repeats the photograph where a window is larger.
        lr = np.resize(photo[-height:, -width:], (1, height, width, 3)).astype("float32")
        ours, theirs = np.asarray(model(lr, training=False)), run(lr)
        scale = 255 / max(255, np.abs(ours).max())
        differences.append(np.abs(ours - theirs).max() * scale if ours.shape == theirs.shape
                           else np.inf)
    return float(np.max(differences))


def check_target(format: str, path: Any, tile: Optional[int] = None) -> None:
    """Raise a `UserError` if a format cannot be written to a path or has no tiles."""
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    if tile is not None and format != "frozen_pb":
        raise UserError(f"--tile is the input's side in a frozen_pb; {format} takes any size")
    path, suffix, marker = Path(path), FORMATS[format].suffix, FORMATS[format].marker
    require_packages(format, FORMATS[format].packages)
    if suffix:
        check_suffix(path, suffix)
        check_is_no_folder(path)
    if marker and path.exists() and not (path / marker).exists():
        raise UserError(f"{path} exists and is not a {format}; name another folder")


# ---- the formats --------------------------------------------------------------------------------

def _write_saved_model(model, folder):
    from common.nn.keras_compat import tf, tf_variables

    module = tf.Module()
    module.network = tf_variables(model)
    module.serve = exports.serving_function(model)
    tf.saved_model.save(module, str(folder), signatures=module.serve)


def _open_saved_model(folder):
    from common.nn.keras_compat import tf

    # A module lives as long as a reference to it does.
    module = tf.saved_model.load(str(folder))
    return lambda lr: module.signatures["serving_default"](lr=tf.constant(lr))["sr"].numpy()


class _OpenFrozen:
    """A frozen graph on one window, in a new session for each call."""

    def __init__(self, path):
        self.graph = frozen.read(path)
        self.sizes = [(self.graph.tile, self.graph.tile)]

    def __call__(self, lr):
        with frozen.FrozenUpscaler(self.graph, "cpu") as upscaler:
            return upscaler.predict(lr[0])[None]


# suffix of the file, or None for a folder that contains the file `marker`; packages it needs;
# atomic: from common.files; write(model, path); open(path) returns a function of NHWC arrays.
Format = namedtuple("Format", "suffix marker packages atomic write open")
FORMATS = {
    "saved_model": Format(None, "saved_model.pb", (), atomic_folder, _write_saved_model,
                          _open_saved_model),
    "onnx": Format(".onnx", None, ("tf2onnx", "onnx", "onnxruntime"), atomic_path,
                   exports.write_onnx, partial(open_engine, "onnxruntime")),
    "frozen_pb": Format(".pb", None, (), atomic_path, frozen.write, _OpenFrozen),
}


def _parser():
    parser = OneLineParser(
        prog="python -m scripts.export",
        description="Export a network and check the result against Keras. Input and output are "
                    "RGB float32 NHWC in 0..255, of any size except in a frozen graph.")
    add_weights_options(parser)
    parser.add_argument("--format", required=True, choices=list(FORMATS),
                        help="saved_model: a folder; onnx: a file (opset 13); frozen_pb: a "
                             "TensorFlow 1.15 GraphDef, for NPUs and scripts.upscale --frozen")
    parser.add_argument("--output", required=True, metavar="PATH", help="file or folder to write")
    parser.add_argument("--tile", type=int, metavar="N",
                        help="input side of a frozen_pb in LR pixels; the middle of its output is "
                             f"kept; default: {frozen.TILE}, more for a large receptive field")
    return parser


if __name__ == "__main__":
    run_command(main)
