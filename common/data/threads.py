"""Work on many image files at once, with a progress bar."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Callable

from tqdm import tqdm

THREADS = min(16, os.cpu_count() or 1)


def in_threads(function: Callable, items: Sequence, title: str) -> list:
    """`[function(item) for item in items]`, computed in threads; the first error ends it."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(tqdm(pool.map(function, items), total=len(items), desc=title, unit="image",
                         leave=False, disable=None))
