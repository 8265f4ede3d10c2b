"""Images decoded once, into memory or into a memory-mapped file."""

import hashlib
import json
import logging
import shutil
import zlib
from pathlib import Path

import numpy as np

from common.cli import UserError
from common.data.cache import make_missing_lr
from common.data.contents import sampled_hash
from common.data.threads import in_threads
from common.files import atomic_path, make_folder, remove_leftovers, write_text
from common.images.files import read_rgb

log = logging.getLogger("sr_zoo")


class ImageStore:
    """The LR and HR images of a set as uint8 RGB arrays, `store.lr[i]` and `store.hr[i]`.

    HR images are cropped to `scale` times their LR image, or the one that they would have.

    Args:
        pairs: list of measured `Pair`; missing LR images are generated.
        scale: integer.
        cache_dir: folder for generated images and the memory-mapped file, which later runs reuse.
        budget_bytes: a set of a larger decoded size is memory-mapped.
        with_lr: False: `lr` is None, and no LR images are read or generated.

    Raises:
        UserError: a file cannot be read, or the disk of `cache_dir` is full.
    """

    def __init__(self, pairs: list, scale: int, cache_dir, budget_bytes: int = 8_000_000_000,
                 with_lr: bool = True):
        self.pairs = make_missing_lr(pairs, scale, cache_dir, with_lr)
        times = {"lr": 1, "hr": scale} if with_lr else {"hr": scale}
        images = [(pair, kind) for pair in self.pairs for kind in times]
        shapes = [(pair.lr_size[0] * times[kind], pair.lr_size[1] * times[kind], 3)
                  for pair, kind in images]
        self.bytes = sum(int(np.prod(shape)) for shape in shapes)
        self.in_memory = self.bytes <= budget_bytes
        arrays = (_decoded(images, shapes) if self.in_memory
                  else _mapped(images, shapes, Path(cache_dir)))
        self.lr = arrays[0::2] if with_lr else None
        self.hr = arrays[1::2] if with_lr else arrays

    def __len__(self):
        return len(self.pairs)


def _decoded(images, shapes, keep=lambda position, image: image):
    """The results of `keep(position, image)` for each of [(pair, "lr" or "hr")], as a list.

    `keep` runs in the decoding threads: if it writes the image to a slow disk and returns None,
    decoding waits for it and few images are in memory at a time.
    """
    def decode(position):
        pair, kind = images[position]
        image = pair.read_hr() if kind == "hr" else read_rgb(pair.lr)
        height, width, _ = shapes[position]
        return keep(position, np.ascontiguousarray(image[:height, :width]))

    return in_threads(decode, range(len(shapes)), "decoding")


def _mapped(images, shapes, cache_dir):
    index = json.dumps([_identity(getattr(pair, kind)) for pair, kind in images] + shapes)
    name = hashlib.sha256(index.encode()).hexdigest()[:16]
    path = cache_dir / f"decoded-{name}.u8"
    offsets = np.cumsum([0] + [int(np.prod(shape)) for shape in shapes])
    ranges = list(zip(offsets, offsets[1:]))
    # The index is written last: without it the data file is not trusted.
    if not _is_whole(path, ranges):
        _write_decoded(path, images, shapes, ranges, index)
    data = np.memmap(str(path), np.uint8, "r")
    return [data[start:end].reshape(shape) for (start, end), shape in zip(ranges, shapes)]


def _write_decoded(path, images, shapes, ranges, index):
    folder, size = make_folder(path.parent), ranges[-1][1]
    remove_leftovers(folder)
    free = shutil.disk_usage(str(folder)).free
    if free < size:
        raise UserError(f"the decoded images need {size / 1e9:.1f} GB and {folder} has "
                        f"{free / 1e9:.1f} GB free; make room, or allow more memory")
    with atomic_path(path) as temporary:
        def put(position, image):
            with open(temporary, "r+b") as file:
                file.seek(ranges[position][0])
                file.write(image)
            return zlib.crc32(image)

        sums = _decoded(images, shapes, put)
    write_text(path.with_suffix(".json"), json.dumps({"images": index, "crc32": sums}))


def _is_whole(path, ranges):
    """Whether a file of decoded images and its index are there, with the checksums it names."""
    if not path.is_file() or path.stat().st_size != ranges[-1][1]:
        return False
    try:
        sums = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["crc32"]
        known = dict(zip(ranges, sums))
        data = np.memmap(str(path), np.uint8, "r")
        right = in_threads(lambda image: zlib.crc32(data[slice(*image)]) == known.get(image),
                           ranges, "checking decoded images")
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False
    if not all(right):
        log.warning("%s is damaged and is made again", path)
    return all(right)


def _identity(path):
    stat = Path(path).stat()
    return [str(Path(path).resolve()), stat.st_size, stat.st_mtime_ns, sampled_hash(path)]
