"""What tells that a file is not what it was: its size and a hash of samples of its content."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from common.data.threads import in_threads

LEAST, MOST = 1 << 14, 1 << 28  # bytes read of a file at least, and of a set in all
_BLOCKS = 16


def sampled_hash(path: str | os.PathLike, most: int = 1 << 16) -> str:
    """Hash the size of a file and its content, beyond `most` bytes that of 16 blocks of it."""
    path = os.path.realpath(path)
    stat = os.stat(path)
    # The time of the last change, which no program can set, tells whether it was read before.
    return _sampled_hash(path, stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, most)


def set_hash(paths: Sequence[Path]) -> str:
    """Hash the contents of the files of a set, 256 MB of them, or 16 KB of each if that is more."""
    paths = list(dict.fromkeys(paths))
    most = max(LEAST, MOST // max(1, len(paths)))
    hashes = in_threads(lambda path: sampled_hash(path, most), paths, "image contents")
    return hashlib.sha256("".join(hashes).encode()).hexdigest()[:16]


@functools.lru_cache(None)
def _sampled_hash(path, size, inode, written, changed, most):
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        if size <= most:
            digest.update(file.read())
        else:
            block = most // _BLOCKS
            for i in range(_BLOCKS):
                file.seek((size - block) * i // (_BLOCKS - 1))
                digest.update(file.read(block))
    return digest.hexdigest()
