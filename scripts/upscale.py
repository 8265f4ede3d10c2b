"""Enlarge images with a network: `python -m scripts.upscale IN... -o OUT`."""

import logging
import sys
from contextlib import contextmanager

from common.batch import convert_each, find_sources, plan
from common.cli import UserError, run_command
from common.device.quiet import quiet_tensorflow
from common.files import make_folder
from common.flags import OneLineParser
from common.images import at_most, read_image
from common.inference.upscaler import ALPHAS
from common.picture_file import PictureFile
from models.choose import (
    add_network_options,
    add_weights_options,
    choose_weights,
    open_upscaler,
    wrong_content,
)


def main(argv):
    """Run the command; returns 2 if an input could not be enlarged."""
    arguments = _parser().read(argv)
    with at_most(arguments.max_megapixels):
        return _run(arguments)


def _run(arguments):
    sources = find_sources(arguments.inputs)
    if arguments.frozen:
        return _with_frozen_graph(sources, arguments)
    choice = choose_weights(arguments)
    work = plan(sources, arguments.inputs, arguments.output, choice.scale)
    make_folder(work[0][1].parent)
    return _enlarge(work, open_upscaler(choice, arguments, progress=True), arguments)


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
    work = plan(sources, arguments.inputs, arguments.output, graph.scale)
    make_folder(work[0][1].parent)
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


def _enlarge(work, upscaler, arguments):
    from tqdm import tqdm

    upscaler.alpha = arguments.alpha

    def enlarge(source, target):
        image, kind = read_image(source)
        for line in kind.losses(source, "enlarged"):
            tqdm.write(line, file=sys.stderr)
        after = tuple(upscaler.scale * side for side in image.shape[:2])
        with PictureFile(target) as file:
            file.picture((*after, *image.shape[2:]), image.dtype, upscaler.bands(image), kind)
        return image.shape, after

    return convert_each(work, enlarge)


# Options that are fixed in a frozen graph.
_SETTLED = ("weights", "tile", "tile_overlap", "recursions", "interpolate", "to_weights",
            "precision")


def _parser():
    parser = OneLineParser(
        prog="python -m scripts.upscale",
        description="Enlarge images. Grey or colour, alpha, bit depth (8 or 16), colour profile, "
                    "EXIF and resolution (DPI) are kept; the result is upright. CMYK and Lab "
                    "become sRGB. GIF, AVIF, JPEG 2000, PPM and TGA become PNG.")
    parser.add_argument("inputs", nargs="+", metavar="IN", help="image files or folders")
    parser.add_argument("-o", "--output", required=True, metavar="OUT",
                        help="folder to write to, or an image file if there is one input file")
    add_weights_options(parser)
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
