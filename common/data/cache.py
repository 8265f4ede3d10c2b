"""A cache of generated LR images and resized HR images, as PNG files."""

import hashlib
import zlib
from dataclasses import replace

from common.cli import UserError
from common.data.contents import sampled_hash
from common.data.prepare import Preparation
from common.data.threads import in_threads
from common.files import make_folder
from common.images.files import read_size, write_image


def make_missing_lr(pairs: list, scale: int, cache_dir, with_lr: bool = True) -> list:
    """Generate the LR images that are missing, and resize the HR images that need it.

    The files are `lr_<reduction>/X<scale>/*.png`, or `lr_photo/...`, and `resized/<side>/*.png`. A
    file is reused while it is whole by its checksums and its source (path, size, modification time,
    samples of its content) and preparation are unchanged.

    Args:
        pairs: list of measured `Pair`.
        scale: integer.
        cache_dir: folder, created when needed.
        with_lr: False: only resize.

    Returns:
        list of `Pair` that all have LR files (if `with_lr`), and HR files that need at most a crop.

    Raises:
        UserError: an HR image cannot be read, or the folder cannot be written.
    """
    def is_complete(pair):
        return pair.lr is not None or not (with_lr or pair.preparation.resize)

    if all(map(is_complete, pairs)):
        return pairs
    cache_dir = make_folder(cache_dir)

    def complete(pair):
        if is_complete(pair):
            return pair
        wanted = pair.preparation
        way = wanted.reduction if wanted.degradation == "none" else wanted.degradation
        path = cache_dir / f"lr_{way}" / f"X{scale}" / _file_name(pair.hr, wanted)
        pair = _with_resized_hr(pair, cache_dir)
        if not with_lr:
            return pair
        if not _is_complete(path, pair.lr_size):
            write_image(path, pair.read(scale)[0])
        return replace(pair, lr=path)

    return in_threads(complete, pairs, f"LR images x{scale}" if with_lr else "HR images")


def _with_resized_hr(pair, cache_dir):
    whole = pair.preparation
    if not whole.resize:
        return pair
    wanted = Preparation(whole.crop, whole.resize)
    path = cache_dir / "resized" / str(wanted.resize) / _file_name(pair.hr, wanted)
    if not _is_complete(path, pair.hr_size):
        write_image(path, pair.read_hr())
    return replace(pair, hr=path, preparation=replace(whole, crop=0, resize=0))


def _is_complete(path, size):
    """Whether a PNG has the expected size, and an end and checksums that are right."""
    try:
        return _is_whole(path.read_bytes()) and read_size(path) == size
    except (OSError, UserError):
        return False


def _is_whole(png):
    """Whether the chunks of a PNG have the checksums that they hold; no decoder looks at all."""
    place = 8
    while place + 12 <= len(png):
        end = place + 12 + int.from_bytes(png[place:place + 4], "big")
        if int.from_bytes(png[end - 4:end], "big") != zlib.crc32(png[place + 4:end - 4]):
            return False
        if png[place + 4:place + 8] == b"IEND":
            return png.startswith(b"\x89PNG\r\n\x1a\n") and end == len(png)
        place = end
    return False


def _file_name(source, preparation):
    stat = source.stat()
    text = f"{source.resolve()}|{stat.st_size}|{stat.st_mtime_ns}|{sampled_hash(source)}"
    if preparation.key:
        text += f"|{preparation.key}"
    return f"{source.stem}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.png"
