"""Enlarge images with a network: `python -m scripts.upscale IN... -o OUT`."""

import logging
import sys
from contextlib import contextmanager

from jsonargparse.typing import restricted_number_type

from common.batch import convert_each, find_sources, plan
from common.cli import UserError, run_command
from common.device.quiet import quiet_tensorflow
from common.files import make_folder
from common.flags import OneLineParser
from common.images.files import at_most
from common.images.picture_file import QUALITY
from common.inference.enlarge import enlarge_file
from common.inference.upscaler import ALPHAS
from common.piped import piped
from models.choose import (
    add_network_options,
    add_weights_options,
    choose_weights,
    wrong_content,
)
from models.engine_exports import ENGINE_NAMES, open_with_engine

_Factor = restricted_number_type("_Factor", float, [(">", 0), ("<=", 64)])
_Quality = restricted_number_type("_Quality", int, [(">=", 1), ("<=", 100)])


def main(argv):
    """Run the command; returns 2 if an input could not be enlarged."""
    arguments = _parser().read(argv)
    with at_most(arguments.max_megapixels), piped(
            arguments.inputs, arguments.output, _suffix(arguments)) as (inputs, output):
        arguments.inputs, arguments.output = inputs, output
        return _run(arguments)


def _run(arguments):
    sources = find_sources(arguments.inputs, arguments.recursive, arguments.output)
    if arguments.frozen:
        return _with_frozen_graph(sources, arguments)
    choice = choose_weights(arguments)
    work = _plan(sources, arguments, choice.scale)
    return _enlarge(work, open_with_engine(choice, arguments, progress=True), arguments)


def _with_frozen_graph(sources, arguments):
    """`main` for a frozen graph; it must also run on TensorFlow 1.15 and Python 3.7."""
    for name in _SETTLED:
        if getattr(arguments, name) not in (None, 0, "auto"):
            raise UserError(f"--{name} cannot change a frozen graph; leave out --{name} or "
                            "--frozen")
    quiet_tensorflow(arguments.chip)
    from common.inference import frozen

    graph = frozen.read(arguments.frozen)
    holds = f"{graph.path} holds {graph.model} x{graph.scale}"
    if arguments.model not in (None, graph.model):
        raise wrong_content(holds, arguments.model, "--model or --frozen")
    if arguments.scale not in (None, graph.scale):
        raise wrong_content(holds, f"x{arguments.scale}", "--scale or --frozen")
    work = _plan(sources, arguments, graph.scale)
    with _log_shown():
        upscaler = frozen.FrozenUpscaler(graph, arguments.chip, arguments.precision_mode,
                                         arguments.self_ensemble, progress=True)
    print(f"{holds}, tiles of {graph.tile}x{graph.tile}")
    with upscaler:
        return _enlarge(work, upscaler, arguments)


@contextmanager
def _log_shown():
    """Print the zoo's log, which names the device."""
    log, handler = logging.getLogger("sr_zoo"), logging.StreamHandler(sys.stdout)
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def _suffix(arguments):
    return arguments.format and f".{arguments.format}"


def _plan(sources, arguments, scale):
    work = plan(sources, arguments.inputs, arguments.output, arguments.outscale or scale,
                _suffix(arguments), arguments.suffix)
    make_folder(work[0][1].parent)
    return work


def _enlarge(work, upscaler, arguments):
    from tqdm import tqdm

    upscaler.alpha = arguments.alpha

    def enlarge(source, target):
        return enlarge_file(source, target, upscaler, arguments.outscale, arguments.quality,
                            lambda line: tqdm.write(line, file=sys.stderr))

    return convert_each(work, enlarge, arguments.skip_existing, upscaler.engine)


def _add_file_options(parser):
    parser.add_argument("--recursive", action="store_true",
                        help="include sub-folders; the results lie in the same sub-folders of OUT")
    parser.add_argument("--outscale", type=_Factor, metavar="F",
                        help="how many times larger the results are, such as 3.3: the network's "
                             "result is resized by bicubic interpolation; default: its scale")
    parser.add_argument("--format", choices=("png", "jpg", "webp", "tif", "bmp"),
                        help="format of the results; default: that of OUT or of the input")
    parser.add_argument("--quality", type=_Quality, default=QUALITY, metavar="N",
                        help=f"quality of JPEG and WebP, 1 to 100; default: {QUALITY}")
    parser.add_argument("--suffix", metavar="TEXT",
                        help="end of the results' names in a folder; default: _x and the scale")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--skip_existing", action="store_true",
                          help="leave out inputs whose results exist")
    existing.add_argument("--overwrite", action="store_true",
                          help="replace results that exist, which is the default")


# Options that are fixed in a frozen graph.
_SETTLED = ("engine", "weights", "tile", "tile_overlap", "recursions", "interpolate", "to_weights",
            "precision")


def _parser():
    parser = OneLineParser(
        prog="python -m scripts.upscale",
        description="Enlarge images. Grey or colour, alpha, bit depth (8 or 16), colour profile, "
                    "EXIF and resolution (DPI) are kept; the result is upright. CMYK and Lab "
                    "become sRGB. GIF, AVIF, JPEG 2000, PPM and TGA become PNG. All frames of an "
                    "animation are enlarged, and all pages of a TIFF file.")
    parser.add_argument("inputs", nargs="+", metavar="IN",
                        help="image files or folders; -: one image from standard input")
    parser.add_argument("-o", "--output", required=True, metavar="OUT",
                        help="folder to write to, or an image file if there is one input file; "
                             "-: standard output")
    _add_file_options(parser)
    add_weights_options(parser)
    parser.add_argument("--engine", choices=ENGINE_NAMES, default="auto",
                        help="what runs the network; auto: openvino on a CPU where it is "
                             "installed and agrees with Keras to one grey level, else keras. "
                             "Others than keras start faster; their first run with some weights "
                             "exports them to the user's cache")
    parser.add_argument("--frozen", metavar="PB",
                        help="run a graph written by scripts.export --format frozen_pb in a "
                             "TensorFlow session, without Keras")
    parser.add_argument("--precision_mode", default="allow_mix_precision", metavar="MODE",
                        help="precision mode of an NPU, with --frozen")
    parser.add_argument("--alpha", choices=ALPHAS, default=ALPHAS[0],
                        help="how transparency is enlarged: bicubic, or network: as a grey image")
    add_network_options(parser)
    return parser


if __name__ == "__main__":
    run_command(main)
