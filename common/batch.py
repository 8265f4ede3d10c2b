"""Many image files in, one out for each: the names, and what happens when one is bad."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from common.cli import UserError, one_line
from common.files import check_suffix
from common.images.files import MAX_MEGAPIXELS, list_images, read_size
from common.images.picture_file import WRITTEN_SUFFIXES, check_writable


def add_size_option(parser: argparse.ArgumentParser) -> None:
    """Add the option whose value `common.images.files.at_most` takes."""
    parser.add_argument("--max_megapixels", type=float, default=MAX_MEGAPIXELS, metavar="N",
                        help="refuse images of more than N million pixels; 0: none; default: "
                             f"{MAX_MEGAPIXELS}")


def find_sources(inputs: list, recursive: bool = False, output: str | Path = "") -> list[Path]:
    """List the image files given as files or folders, each once.

    Args:
        inputs: files and folders.
        recursive: include sub-folders, except `output` where that is one of them.
        output: where results go.

    Raises:
        UserError: a folder has no images, or none of the files exists.
    """
    sources = []
    for item in map(Path, inputs):
        sources += list_images(item, recursive) if item.is_dir() else [item]
    output = Path(output).resolve()
    if recursive and output not in {Path(item).resolve() for item in inputs}:
        sources = [source for source in sources if output not in source.resolve().parents]
    if not any(source.exists() for source in sources):
        raise UserError(f"no such file: {sources[0]}")
    return list({source.resolve(): source for source in reversed(sources)}.values())[::-1]


def plan(sources: list[Path], inputs: list, output: str | Path, scale: float,
         suffix: str | None = None, ending: str | None = None) -> list[tuple]:
    """Choose the output file of each input, as a list of (source, target).

    If `output` has an image suffix, it is the file for the only input; otherwise it is a folder,
    in which the results are named `<name>_x<scale>` and lie in the sub-folders that the inputs lie
    in. Formats that are not written become PNG.

    Args:
        sources: the images, of `find_sources`.
        inputs: what was given to `find_sources`.
        output: a folder or an image file.
        scale: for the names, and how many times larger than the inputs results are at most.
        suffix: of all results; None: as `output` or the input has it.
        ending: of the names in a folder, in place of `_x<scale>`.

    Raises:
        UserError: two results would share a name, or one would replace an input or could not be
            written.
    """
    output = Path(output)
    if _is_other_image(output):
        check_writable(output, (1, 1))
    names_file = output.suffix.lower() in WRITTEN_SUFFIXES and not output.is_dir()
    if names_file:
        if suffix:
            check_suffix(output, suffix)
        if len(inputs) > 1 or Path(inputs[0]).is_dir():
            raise UserError(f"cannot write several results to one file, {output}; name a folder")
        targets = {output: sources[0]}
    else:
        if output.exists() and not output.is_dir():
            raise UserError(f"{output} is a file without an image suffix; name a folder or an "
                            "image file")
        targets = {}
        for source in sources:
            own = source.suffix if source.suffix.lower() in WRITTEN_SUFFIXES else ".png"
            name = source.stem + (f"_x{scale:g}" if ending is None else ending)
            target = output / _below(source, inputs) / (name + (suffix or own))
            if target in targets:
                raise UserError(f"{targets[target]} and {source} would both become {target}; "
                                "write them into different folders")
            targets[target] = source
    read = {path.resolve() for path in (*sources, *map(Path, inputs))}
    for path in (output, *targets):
        if path.resolve() in read:
            raise UserError(f"{path} is an input; name another place with -o")
    for target, source in targets.items():
        try:
            height, width = read_size(source)
        except UserError:
            continue  # reported when it is read, so that the others are still done
        check_writable(target, (round(scale * height), round(scale * width)))
    return [(source, target) for target, source in targets.items()]


def convert_each(work: list[tuple], convert: Callable, skip_existing: bool = False,
                 tool: str = "") -> int:
    """Convert each image, with a line for each, and a progress bar and a last line for several.

    An image that fails is told on stderr, and the others are still done.

    Args:
        work: list of (source, target), of `plan`.
        convert: writes the target of `convert(source, target)` and returns the shapes of both
            images.
        skip_existing: leave out those whose target exists.
        tool: what converts them, for their lines.

    Returns:
        2 if an image failed, else 0.
    """
    from tqdm import tqdm

    failed, written, start = 0, 0, time.perf_counter()
    with tqdm(work, "images", leave=False, disable=None if len(work) > 1 else True) as bar:
        for source, target in bar:
            if skip_existing and target.exists():
                continue
            begin = time.perf_counter()
            try:
                before, after = convert(source, target)
            except (UserError, MemoryError) as error:
                failed += 1
                if isinstance(error, MemoryError):
                    error = f"{source}: out of memory: {error}"
                bar.write(f"error: {one_line(error)}", file=sys.stderr)
                continue
            seconds = time.perf_counter() - begin
            bar.write(f"{source} {before[1]}x{before[0]} -> {target} {after[1]}x{after[0]}, "
                      f"{seconds:.1f} s" + f" with {tool}" * bool(tool))
            written += 1
    if len(work) > 1 or not failed + written:
        skipped = len(work) - written - failed
        print(f"{written} written" + f", {skipped} existed already" * bool(skipped)
              + f", {failed} failed" * bool(failed)
              + f", {time.perf_counter() - start:.1f} s")
    return 2 if failed else 0


def _below(source, inputs):
    """The folder of a source within the input folder that it was found in; else nothing."""
    for folder in map(Path, inputs):
        if folder in source.parents and folder.is_dir():
            return source.parent.relative_to(folder)
    return Path()


def _is_other_image(path):
    """Whether a path has a suffix of images that are not written, and is no folder."""
    suffix = path.suffix.lower()
    return (suffix and suffix not in WRITTEN_SUFFIXES and suffix in Image.registered_extensions()
            and not path.is_dir())
