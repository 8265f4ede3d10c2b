"""An image on standard input or standard output, named `-`."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from common.cli import UserError
from common.images.opening import Opened
from common.images.picture_file import WRITTEN_SUFFIXES

_SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "MPO": ".jpg", "WEBP": ".webp", "TIFF": ".tif",
             "BMP": ".bmp"}


@contextlib.contextmanager
def piped(inputs: list[str], output: str, suffix: str | None) -> Iterator[tuple[list[str], str]]:
    """Yield inputs and output with files in place of `-`, which are gone after the block.

    With an output of `-`, what the block prints goes to standard error, and the file that it has
    written is copied to standard output.

    Args:
        inputs, output: as they were given.
        suffix: of the result, or None for that of the input.

    Raises:
        UserError: several inputs for standard output.
    """
    if "-" not in (*inputs, output):
        yield inputs, output
        return
    if output == "-" and (len(inputs) > 1 or Path(inputs[0]).is_dir()):
        raise UserError("cannot write several results to standard output; name a folder with -o")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        inputs = [str(_received(Path(folder))) if item == "-" else item for item in inputs]
        if output != "-":
            yield inputs, output
            return
        own = Path(inputs[0]).suffix.lower()
        own = own if own in WRITTEN_SUFFIXES else ".png"
        result = Path(folder) / "out" / f"stdout{suffix or own}"
        real = sys.stdout
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield inputs, str(result)
        if result.exists():
            with open(result, "rb") as file:
                shutil.copyfileobj(file, real.buffer)
            real.buffer.flush()


def _received(folder):
    """Standard input as a file whose suffix is that of its format."""
    path = folder / "stdin"
    with open(path, "wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    suffix = ""
    with contextlib.suppress(Exception), Opened(path) as image:  # told when it is read
        suffix = _SUFFIXES.get(image.format, "")
    return path.rename(path.with_suffix(suffix))
