"""Enlarge images with a network: `python -m scripts.upscale IN... -o OUT`."""

import logging
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from common.cli import UserError, one_line, run_command
from common.device.quiet import quiet_tensorflow
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
    sources = find_sources(arguments.inputs)
    if arguments.frozen:
        return _with_frozen_graph(sources, arguments)
    choice = choose_weights(arguments)
    work = plan(sources, arguments.inputs, arguments.output, choice.scale)
    make_folder(work[0][1].parent)
    return _enlarge(work, open_upscaler(choice, arguments, progress=True))


def find_sources(inputs):
    """List the image files given as files or folders, each once.

    Raises:
        UserError: a folder has no images, or none of the files exists.
    """
    sources = []
    for item in map(Path, inputs):
        sources += list_images(item) if item.is_dir() else [item]
    if not any(source.exists() for source in sources):
        raise UserError(f"no such file: {sources[0]}")
    return list({source.resolve(): source for source in reversed(sources)}.values())[::-1]


def plan(sources, inputs, output, scale):
    """Choose the output file of each input, as a list of (source, target).

    If `output` has an image suffix, it is the file for the only input; otherwise it is a folder,
    and the results are named `<name>_x<scale>`.

    Raises:
        UserError: two results would share a name, or one would replace an input or could not be
            written.
    """
    output = Path(output)
    if _is_other_image(output):
        check_writable(output, (1, 1))
    names_file = output.suffix.lower() in IMAGE_SUFFIXES and not output.is_dir()
    if names_file:
        if len(inputs) > 1 or Path(inputs[0]).is_dir():
            raise UserError(f"cannot write several results to one file, {output}; name a folder")
        targets = {output: sources[0]}
    else:
        if output.exists() and not output.is_dir():
            raise UserError(f"{output} is a file without an image suffix; name a folder or an "
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
            continue  # reported when it is read, so that the other images are still enlarged
        check_writable(target, (scale * height, scale * width))
    return [(source, target) for target, source in targets.items()]


def _is_other_image(path):
    """Whether a path has a suffix of images that can be read but not written, and is no folder."""
    suffix = path.suffix.lower()
    return (suffix and suffix not in IMAGE_SUFFIXES and suffix in Image.registered_extensions()
            and not path.is_dir())


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
        return _enlarge(work, upscaler)


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
                    error = f"{source}: out of memory: {error}"
                bar.write(f"error: {one_line(error)}", file=sys.stderr)
                continue
            seconds = time.perf_counter() - begin
            bar.write(f"{source} {image.shape[1]}x{image.shape[0]} -> "
                      f"{target} {sr.shape[1]}x{sr.shape[0]}, {seconds:.1f} s")
    return 2 if failed else 0


# Options that are fixed in a frozen graph.
_SETTLED = ("weights", "tile", "tile_overlap", "recursions", "interpolate", "to_weights",
            "precision")


def _parser():
    parser = OneLineParser(
        prog="python -m scripts.upscale",
        description="Enlarge images. Grey or colour, alpha, bit depth (8 or 16), colour profile "
                    "and EXIF are kept.")
    parser.add_argument("inputs", nargs="+", metavar="IN", help="image files or folders")
    parser.add_argument("-o", "--output", required=True, metavar="OUT",
                        help="folder to write to, or an image file if there is one input file")
    add_weights_options(parser)
    parser.add_argument("--frozen", metavar="PB",
                        help="run a graph written by scripts.export --format frozen_pb in a "
                             "TensorFlow session, without Keras")
    parser.add_argument("--precision_mode", default="allow_mix_precision", metavar="MODE",
                        help="precision mode of an NPU, with --frozen")
    add_network_options(parser)
    return parser


if __name__ == "__main__":
    run_command(main)
