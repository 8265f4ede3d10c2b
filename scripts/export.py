"""Export a network to other formats: `python -m scripts.export --format F --output PATH`.

Like the Keras network, an export maps the input `lr`, RGB float32 NHWC in [0, 255] of any batch
size, height and width, to the output `sr`, `scale` times as large and not clipped; with --tile,
and always in a frozen graph (see `common.inference.frozen`), it takes one square of fixed size. A
SavedModel also has a signature `uint8`. Every file says what it holds; see `exports.notes`.
"""

import importlib.util
from collections import namedtuple
from functools import partial
from pathlib import Path
from typing import Any, Optional

import numpy as np

import models
from common.cli import UserError, one_line, require_packages, run_command, unknown
from common.device.quiet import quiet_tensorflow
from common.files import atomic_folder, atomic_path, check_is_no_folder, check_suffix
from common.flags import OneLineParser
from common.inference import exports, frozen
from common.inference.agreement import SIZES, TOLERANCE, largest_difference
from common.inference.engines import open_engine, run_with
from models.catalogue import licence
from models.choose import add_weights_options, choose_weights

NO_LICENCE = "not stated"


def main(argv):
    """Run the command."""
    arguments = _parser().read(argv)
    arguments.chip = "cpu"  # the export is the same on every chip
    check_target(arguments.format, arguments.output)
    choice = choose_weights(arguments)
    quiet_tensorflow(arguments.chip)
    model = models.load(choice.path, scale=choice.scale)
    differences = export(model, arguments.format, arguments.output, arguments.tile,
                         arguments.licence or licence(choice.path) or NO_LICENCE)
    print(f"{arguments.output}: {choice.model} x{choice.scale} as {arguments.format}; largest "
          f"difference from Keras on a photograph: {max(differences.values()):.6f} of 255")
    print("run by " + ", ".join(f"{name}: {difference:.6f}"
                                for name, difference in differences.items()))
    missing = [name for name in FORMATS[arguments.format].runtimes if name not in differences]
    if missing:
        print(f"not installed and not tried: {', '.join(missing)}")


def export(model: Any, format: str, path: Any, tile: Optional[int] = None,
           licence: str = NO_LICENCE) -> dict:
    """Write a network and compare the result with Keras; if they differ, nothing is written.

    Args:
        model: from `models.create` or `models.load`, with one scale, in float32.
        format: a key of `FORMATS`.
        path: the file or folder to write; an older one is replaced.
        tile: side of the input in LR pixels, to fix it; a frozen graph's is always fixed, see
            `common.inference.frozen.write`.
        licence: of the weights, for the file's notes.

    Returns:
        the largest difference from the model by runtime, see `check`.

    Raises:
        UserError: an unknown format, a missing package, a path that holds something else, an
            impossible tile, a runtime that cannot run it, or a difference above `TOLERANCE`.
    """
    from common.inference.forms.form import inference_form

    check_target(format, path)
    if isinstance(model.output, dict):
        raise UserError(f"{model.name} has several scales; load it with one of them")
    said = exports.notes(model, licence, tile)
    with FORMATS[format].atomic(path) as temporary:
        FORMATS[format].write(inference_form(model), temporary, tile, said)
        differences = check(model, format, temporary, tile)
        for runtime, difference in differences.items():
            if not difference <= TOLERANCE:
                raise UserError(f"the {format} of {model.name} differs from Keras by "
                                f"{difference:.4f} of 255 under {runtime}, more than {TOLERANCE}; "
                                f"{path} was not written")
    return differences


def check(model: Any, format: str, path: Any, tile: Optional[int] = None) -> dict:
    """Run an export with every runtime that is installed, on photographs.

    Args:
        model: the Keras model.
        format: a key of `FORMATS`.
        path: what `export` wrote.
        tile: as given to `export`.

    Returns:
        {runtime: largest difference from the model in grey levels (0 to 255)}, see
        `common.inference.agreement.largest_difference`.

    Raises:
        UserError: a runtime cannot read or run it.
    """
    differences = {}
    for name, (package, open_with) in FORMATS[format].runtimes.items():
        if importlib.util.find_spec(package) is None:
            continue
        try:
            run = open_with(path)
            sizes = SIZES if tile is None else [(tile, tile)]
            differences[name] = largest_difference(model, run, getattr(run, "sizes", sizes))
        except Exception as error:  # each has its own kinds of them
            raise UserError(f"{name} cannot run the {format} of {model.name}: "
                            f"{one_line(error)[:300]}") from error
    return differences


def check_target(format: str, path: Any) -> None:
    """Raise a `UserError` if a format cannot be written to a path."""
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    path, suffix, marker = Path(path), FORMATS[format].suffix, FORMATS[format].marker
    require_packages(format, FORMATS[format].packages)
    if suffix:
        check_suffix(path, suffix)
        check_is_no_folder(path)
    if marker and path.exists() and not (path / marker).exists():
        raise UserError(f"{path} exists and is not a {format}; name another folder")


# ---- the runtimes and formats -------------------------------------------------------------------

def _open_saved_model(folder):
    """Its float32 signature; the uint8 one must give the same, rounded."""
    from common.nn.keras_compat import tf

    # A module lives as long as a reference to it does.
    module = tf.saved_model.load(str(folder))

    def run(lr):
        sr = module.signatures["serving_default"](lr=tf.constant(lr))["sr"].numpy()
        levels = module.signatures["uint8"](lr=tf.constant(lr.astype(np.uint8)))["sr"].numpy()
        # Halfway between two levels the rounding may fall otherwise.
        if np.abs(np.clip(np.rint(sr), 0, 255) - levels).max() > 1:
            raise UserError("its uint8 signature does not give what its float32 one gives")
        return sr

    return run


def _open_with_tensorflow(path):
    """A `.tflite`, by the interpreter that comes with TensorFlow."""
    import warnings

    from common.nn.keras_compat import tf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it will leave TensorFlow one day
        return run_with(tf.lite.Interpreter(str(path)))


class _OpenFrozen:
    """A frozen graph on one window, in a new session for each call."""

    def __init__(self, path):
        self.graph = frozen.read(path)
        self.sizes = [(self.graph.tile, self.graph.tile)]

    def __call__(self, lr):
        with frozen.FrozenUpscaler(self.graph, "cpu") as upscaler:
            return upscaler.predict(lr[0])[None]


_OPENVINO = {"openvino": ("openvino", partial(open_engine, "openvino"))}

# suffix of the file, or None for a folder that contains the file `marker`; packages that writing
# needs; atomic: a context of the path to write to; write(model, path, tile, notes); runtimes:
# {name: (package, open)}, of which open(path) returns a function of NHWC arrays.
Format = namedtuple("Format", "suffix marker packages atomic write runtimes")
FORMATS = {
    "saved_model": Format(None, "saved_model.pb", (), atomic_folder, exports.write_saved_model,
                          {"tensorflow": ("tensorflow", _open_saved_model)}),
    "onnx": Format(".onnx", None, ("tf2onnx", "onnx", "onnxruntime"), atomic_path,
                   exports.write_onnx,
                   {"onnxruntime": ("onnxruntime", partial(open_engine, "onnxruntime")),
                    **_OPENVINO}),
    "openvino": Format(".xml", None, ("openvino",), exports.atomic_pair, exports.write_openvino,
                       _OPENVINO),
    "litert": Format(".tflite", None, (), atomic_path, exports.write_litert,
                     {"tensorflow": ("tensorflow", _open_with_tensorflow),
                      "litert": ("ai_edge_litert", partial(open_engine, "litert")), **_OPENVINO}),
    "frozen_pb": Format(".pb", None, (), atomic_path, frozen.write,
                        {"tensorflow": ("tensorflow", _OpenFrozen)}),
}


def _parser():
    parser = OneLineParser(
        prog="python -m scripts.export",
        description="Export a network and compare the result with Keras, by every runtime of the "
                    f"format that is installed; beyond {TOLERANCE} of 255 nothing is written. "
                    "Input and output are RGB float32 NHWC in 0..255, of any size without --tile.")
    add_weights_options(parser)
    parser.add_argument("--format", required=True, choices=list(FORMATS),
                        help="saved_model: a folder, with signatures for float32 and uint8; onnx: "
                             "a file (opset 13) for ONNX Runtime and OpenVINO; openvino: .xml and "
                             ".bin; litert: a .tflite; frozen_pb: a TensorFlow 1.15 GraphDef, for "
                             "NPUs and scripts.upscale --frozen")
    parser.add_argument("--output", required=True, metavar="PATH", help="file or folder to write")
    parser.add_argument("--tile", type=int, metavar="N",
                        help="fix the input to 1xNxNx3, N in LR pixels; default: any size, but in "
                             f"a frozen_pb {frozen.TILE}, more for a large receptive field; the "
                             "middle of a tile's output is exact")
    parser.add_argument("--licence", metavar="TEXT",
                        help="of the weights, noted in the file; default: what the catalogue says, "
                             f"else '{NO_LICENCE}'")
    return parser


if __name__ == "__main__":
    run_command(main)
