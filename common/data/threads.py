"""Work on many image files at once, with a progress bar."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Callable

from tqdm import tqdm

from common.cli import UserError
from common.files import NoRoom

THREADS = min(16, os.cpu_count() or 1)


def in_threads(function: Callable, items: Sequence, title: str) -> list:
    """`[function(item) for item in items]`, computed in threads.

    Raises:
        UserError: of any of the items, with what is wrong with each. Other errors and a full disk
            end it at once.
    """
    problems = []

    def attempt(item):
        try:
            return function(item)
        except NoRoom:
            raise
        except UserError as error:
            problems.append(str(error))

    with ThreadPoolExecutor(THREADS) as pool:
        results = list(tqdm(pool.map(attempt, items), total=len(items), desc=title, unit="image",
                            leave=False, disable=None))
    if problems:
        raise UserError("; ".join(sorted(set(problems))))
    return results
