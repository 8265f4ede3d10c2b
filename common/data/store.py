"""Images decoded once: in memory, or in one memory-mapped file where they would not fit."""

import hashlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from common.cli import UserError
from common.data.pairs import hr_size, read_hr
from common.files import atomic_path, make_folder, remove_leftovers, write_text
from common.images import read_rgb, read_size

THREADS = min(16, os.cpu_count() or 1)


class ImageStore:
    """The LR and HR images of a set as uint8 RGB arrays, `store.lr[i]` and `store.hr[i]`.

    Args:
        pairs: list of `Pair` with both files.
        cache_dir: folder of the memory-mapped file, which a later run uses again.
        budget_bytes: sets of a larger decoded size are not kept in memory.
        scale: HR images are cut to scale times the size of their LR image.

    Raises:
        UserError: a file cannot be read, or the sizes of a pair do not fit (it is named), or the
            disk of `cache_dir` has no room.
    """

    def __init__(self, pairs, cache_dir, budget_bytes=8_000_000_000, scale=2):
        self.pairs = pairs
        sizes = [_checked_sizes(pair, scale) for pair in pairs]
        shapes = [shape for lr, hr in sizes for shape in ((*lr, 3), (*hr, 3))]
        self.bytes = sum(int(np.prod(shape)) for shape in shapes)
        self.in_memory = self.bytes <= budget_bytes
        if self.in_memory:
            arrays = _decoded(pairs, sizes)
        else:
            arrays = _mapped(pairs, sizes, shapes, Path(cache_dir))
        self.lr, self.hr = arrays[0::2], arrays[1::2]

    def __len__(self):
        return len(self.pairs)


def _checked_sizes(pair, scale):
    """((h, w) of LR, (h, w) of the HR that is used)."""
    lr, hr = read_size(pair.lr), hr_size(pair)
    if (hr[0] // scale, hr[1] // scale) != lr:
        raise UserError(f"{pair.lr} ({lr[1]}x{lr[0]}) is not {pair.hr} ({hr[1]}x{hr[0]}) reduced "
                        f"by {scale}; check --scale and the folders")
    return lr, (lr[0] * scale, lr[1] * scale)


def _decoded(pairs, sizes, keep=lambda position, image: image):
    """What `keep(position, image)` makes of LR, HR, LR, HR, ... as a list in this order.

    `keep` is called in the decoding threads: where it stores an image elsewhere and returns
    nothing, a slow disk holds up the decoding, and few images are in memory at a time.
    """
    def decode(position):
        pair = pairs[position // 2]
        image = read_hr(pair) if position % 2 else read_rgb(pair.lr)
        height, width = sizes[position // 2][position % 2]
        return keep(position, np.ascontiguousarray(image[:height, :width]))

    count = 2 * len(pairs)
    with ThreadPoolExecutor(THREADS) as pool:
        return list(tqdm(pool.map(decode, range(count)), total=count, desc="decoding",
                         unit="image", leave=False, disable=None))


def _mapped(pairs, sizes, shapes, cache_dir):
    index = json.dumps([[_identity(pair.lr), _identity(pair.hr)] for pair in pairs] + shapes)
    name = hashlib.sha256(index.encode()).hexdigest()[:16]
    path = cache_dir / f"decoded-{name}.u8"
    offsets = np.cumsum([0] + [int(np.prod(shape)) for shape in shapes])
    # The index is written last: without it the file is not trusted.
    if not (path.with_suffix(".json").is_file() and path.is_file()
            and path.stat().st_size == offsets[-1]):
        remove_leftovers(make_folder(cache_dir))
        free = shutil.disk_usage(str(cache_dir)).free
        if free < offsets[-1]:
            raise UserError(f"the decoded images need {offsets[-1] / 1e9:.1f} GB and {cache_dir} "
                            f"has {free / 1e9:.1f} GB free; make room, or allow more memory")
        with atomic_path(path) as temporary:
            def put(position, image):
                with open(temporary, "r+b") as file:
                    file.seek(offsets[position])
                    file.write(image)

            _decoded(pairs, sizes, put)
        write_text(path.with_suffix(".json"), index)
    data = np.memmap(str(path), np.uint8, "r")
    return [data[start:start + int(np.prod(shape))].reshape(shape)
            for start, shape in zip(offsets, shapes)]


def _identity(path):
    stat = Path(path).stat()
    return [str(Path(path).resolve()), stat.st_size, stat.st_mtime_ns]
