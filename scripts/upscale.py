"""Enlarge image files with a network: `python -m scripts.upscale IN... -o OUT`."""

import logging
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from common.cli import UserError, one_line, run_command
from common.device.open import quiet_tensorflow
from common.files import make_folder
from common.flags import OneLineParser
from common.images import (
    IMAGE_SUFFIXES,
    any_size,
    check_writable,
    list_images,
    read_image,
    read_size,
    write_image,
)
from models.choose import add_network_options, choose_weights, open_upscaler


def main(argv):
    """Run the command; status 2 if an input could not be enlarged."""
    arguments = _parser().read(argv)
    sources = find_sources(arguments.inputs)
    if arguments.frozen:
        return _with_frozen_graph(sources, arguments)
    choice = choose_weights(arguments)
    work = plan(sources, arguments.inputs, arguments.output, choice.scale)
    make_folder(work[0][1].parent)
    return _enlarge(work, open_upscaler(choice, arguments, progress=True))


def find_sources(inputs):
    """The image files that the inputs, files and folders, name; each once.

    Raises:
        UserError: a folder without images, or none of the files exists.
    """
    sources = []
    for item in map(Path, inputs):
        sources += list_images(item) if item.is_dir() else [item]
    if not any(source.exists() for source in sources):
        raise UserError(f"no such file: {sources[0]}")
    return list({source.resolve(): source for source in reversed(sources)}.values())[::-1]


def plan(sources, inputs, output, scale):
    """Which file becomes which, as a list of (source, target).

    A single file goes to `output` where that has an image's suffix; otherwise `output` is a folder
    and the results are called `<name>_x<scale>`.

    Raises:
        UserError: two results would share a name, one would replace an input, or one could not be
            written.
    """
    output = Path(output)
    if _is_other_image(output):
        check_writable(output, (1, 1))
    names_file = output.suffix.lower() in IMAGE_SUFFIXES and not output.is_dir()
    if names_file:
        if len(inputs) > 1 or Path(inputs[0]).is_dir():
            raise UserError(f"several results cannot go into one file {output}; name a folder")
        targets = {output: sources[0]}
    else:
        if output.exists() and not output.is_dir():
            raise UserError(f"{output} is a file without an image's suffix; name a folder or an "
                            "image file")
        targets = {}
        for source in sources:
            target = output / f"{source.stem}_x{scale}{source.suffix}"
            if target in targets:
                raise UserError(f"{targets[target]} and {source} would both become {target}; "
                                "enlarge them into different folders")
            targets[target] = source
    read = {path.resolve() for path in (*sources, *map(Path, inputs))}
    for path in (output, *targets):
        if path.resolve() in read:
            raise UserError(f"{path} is an input; name another place with -o")
    for target, source in targets.items():
        try:
            with any_size():
                height, width = read_size(source)
        except UserError:
            continue  # told when its turn comes, and the others are done
        check_writable(target, (scale * height, scale * width))
    return [(source, target) for target, source in targets.items()]


def _is_other_image(path):
    """Whether a path that is no folder has the suffix of images that are read but not written."""
    suffix = path.suffix.lower()
    return (suffix and suffix not in IMAGE_SUFFIXES and suffix in Image.registered_extensions()
            and not path.is_dir())


def _with_frozen_graph(sources, arguments):
    """`main` with a frozen graph: all that it runs works on TensorFlow 1.15 and Python 3.7 too."""
    for name in _SETTLED:
        if getattr(arguments, name) not in (None, 0, "auto"):
            raise UserError(f"--{name} has no effect on a frozen graph: give it to what makes the "
                            "graph, or leave out --frozen")
    quiet_tensorflow(arguments.chip)
    from common.inference import frozen

    graph = frozen.read(arguments.frozen)
    holds = f"{graph.path} holds {graph.model} x{graph.scale}"
    if arguments.model not in (None, graph.model):
        raise UserError(f"{holds}, not {arguments.model}; correct --model or --frozen")
    if arguments.scale not in (None, graph.scale):
        raise UserError(f"{holds}, not x{arguments.scale}; correct --scale or --frozen")
    work = plan(sources, arguments.inputs, arguments.output, graph.scale)
    make_folder(work[0][1].parent)
    with _log_shown():
        upscaler = frozen.FrozenUpscaler(graph, arguments.chip, arguments.precision_mode,
                                         arguments.self_ensemble, progress=True)
    print(f"{holds}, tiles of {graph.tile}x{graph.tile}")
    with upscaler:
        return _enlarge(work, upscaler)


@contextmanager
def _log_shown():
    """Show what the zoo logs: which device it is."""
    log, handler = logging.getLogger("sr_zoo"), logging.StreamHandler(sys.stdout)
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def _enlarge(work, upscaler):
    from tqdm import tqdm

    failed = 0
    with tqdm(work, "images", leave=False, disable=None if len(work) > 1 else True) as bar:
        for source, target in bar:
            begin = time.perf_counter()
            try:
                with any_size():
                    image, kind = read_image(source)
                sr = upscaler(image)
                write_image(target, sr, kind)
            except (UserError, MemoryError) as error:
                failed += 1
                if isinstance(error, MemoryError):
                    error = f"{source}: memory is exhausted: {error}"
                bar.write(f"error: {one_line(error)}", file=sys.stderr)
                continue
            seconds = time.perf_counter() - begin
            bar.write(f"{source} {image.shape[1]}x{image.shape[0]} -> "
                      f"{target} {sr.shape[1]}x{sr.shape[0]}, {seconds:.1f} s")
    return 2 if failed else 0


# What a frozen graph was made with.
_SETTLED = ("weights", "tile", "tile_overlap", "recursions", "interpolate", "to_weights",
            "precision")


def _parser():
    parser = OneLineParser(
        prog="python -m scripts.upscale",
        description="Enlarge images. Grey, colour, alpha, 8 and 16 bits, colour profile and EXIF "
                    "come back as they were.")
    parser.add_argument("inputs", nargs="+", metavar="IN", help="image files or folders of them")
    parser.add_argument("-o", "--output", required=True, metavar="OUT",
                        help="a folder, or an image file for a single input file")
    parser.add_argument("--model", metavar="M",
                        help="the network; default: edsr, or what --weights holds")
    parser.add_argument("--scale", type=int, metavar="S",
                        help="how many times larger; default: 2, or what --weights holds")
    parser.add_argument("--weights", metavar="W",
                        help="weight file of the zoo (.h5); default: the one that comes with it")
    parser.add_argument("--frozen", metavar="PB",
                        help="run this graph of scripts.export --format frozen_pb, in a graph "
                             "session and without Keras")
    parser.add_argument("--precision_mode", default="allow_mix_precision", metavar="MODE",
                        help="of --frozen on an NPU")
    add_network_options(parser)
    return parser


if __name__ == "__main__":
    run_command(main)
