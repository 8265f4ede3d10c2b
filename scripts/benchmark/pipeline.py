"""Time the input pipeline alone."""

import statistics
import tempfile
import time

from scripts.benchmark.settings import BATCH, PATCH, SCALE

STEPS = 200


def input_pipeline(name, arguments):
    """Time the way from decoded images to batches, with nothing else running.

    Args:
        name: of the measurement.
        arguments: of the command; `data_dir` and `runs` are used.

    Returns:
        one row; `seconds` are per patch.
    """
    from common.data.patches import PatchSampler, patch_dataset
    from common.data.sets import open_dataset
    from common.data.store import ImageStore

    seconds = []
    with tempfile.TemporaryDirectory() as cache:
        pairs = open_dataset("auto", arguments.data_dir, SCALE).train
        store = ImageStore(pairs, SCALE, cache, budget_bytes=4 * 10**9)
        sampler = PatchSampler(store, SCALE, PATCH, BATCH, seed=0)
        for _ in range(arguments.runs):
            batches = iter(patch_dataset(sampler, 0, STEPS + 1))
            next(batches)
            began = time.perf_counter()
            for _ in range(STEPS):
                next(batches)
            seconds.append((time.perf_counter() - began) / STEPS / BATCH)
    median = statistics.median(seconds)
    return [{"name": name, "engine": "sr-zoo", "precision": "uint8", "seconds": median,
             "patches_per_second": 1 / median, "runs": arguments.runs}]


MEASUREMENTS = {"input_pipeline": input_pipeline}
