"""Images decoded once, into memory or into a memory-mapped file."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np

from common.cli import UserError
from common.data.cache import make_missing_lr
from common.data.threads import in_threads
from common.files import atomic_path, make_folder, remove_leftovers, write_text
from common.images import read_rgb


class ImageStore:
    """The LR and HR images of a set as uint8 RGB arrays, `store.lr[i]` and `store.hr[i]`.

    HR images are cropped to `scale` times their LR image.

    Args:
        pairs: list of measured `Pair`; missing LR images are generated.
        scale: integer.
        cache_dir: folder for generated images and the memory-mapped file, which later runs reuse.
        budget_bytes: a set of a larger decoded size is memory-mapped.

    Raises:
        UserError: a file cannot be read, or the disk of `cache_dir` is full.
    """

    def __init__(self, pairs: list, scale: int, cache_dir, budget_bytes: int = 8_000_000_000):
        self.pairs = make_missing_lr(pairs, scale, cache_dir)
        shapes = [(height * times, width * times, 3) for height, width in
                  (pair.lr_size for pair in pairs) for times in (1, scale)]
        self.bytes = sum(int(np.prod(shape)) for shape in shapes)
        self.in_memory = self.bytes <= budget_bytes
        arrays = (_decoded(self.pairs, shapes) if self.in_memory
                  else _mapped(self.pairs, shapes, Path(cache_dir)))
        self.lr, self.hr = arrays[0::2], arrays[1::2]

    def __len__(self):
        return len(self.pairs)


def _decoded(pairs, shapes, keep=lambda position, image: image):
    """The results of `keep(position, image)` for LR, HR, LR, HR, ..., as a list.

    `keep` runs in the decoding threads: if it writes the image to a slow disk and returns None,
    decoding waits for it and few images are in memory at a time.
    """
    def decode(position):
        pair = pairs[position // 2]
        image = pair.read_hr() if position % 2 else read_rgb(pair.lr)
        height, width, _ = shapes[position]
        return keep(position, np.ascontiguousarray(image[:height, :width]))

    return in_threads(decode, range(len(shapes)), "decoding")


def _mapped(pairs, shapes, cache_dir):
    index = json.dumps([[_identity(pair.lr), _identity(pair.hr)] for pair in pairs] + shapes)
    name = hashlib.sha256(index.encode()).hexdigest()[:16]
    path = cache_dir / f"decoded-{name}.u8"
    offsets = np.cumsum([0] + [int(np.prod(shape)) for shape in shapes])
    # The index is written last: without it the data file is not trusted.
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

            _decoded(pairs, shapes, put)
        write_text(path.with_suffix(".json"), index)
    data = np.memmap(str(path), np.uint8, "r")
    return [data[start:start + int(np.prod(shape))].reshape(shape)
            for start, shape in zip(offsets, shapes)]


def _identity(path):
    stat = Path(path).stat()
    return [str(Path(path).resolve()), stat.st_size, stat.st_mtime_ns]
