"""Kill trainings at random moments and inside file operations; their results must not differ."""

import random
import shutil
import signal
import tempfile
import time
from pathlib import Path

from tqdm import tqdm

from common.cli import UserError
from scripts.fault_campaign.trainings import Training, differences, results

OUTCOMES = ("runs", "kills", "in file operations", "other weights", "other rows", "other log lines",
            "not finished")
PER_RUN = 5  # kills before a run may end


def kills(number: int, names: list, seed: int = 0) -> tuple:
    """Kill short trainings of models, each started again until it ends.

    Args:
        number: kills of each model, in all its runs together.
        names: of the models.
        seed: of all draws.

    Returns:
        ({model: {outcome of `OUTCOMES`: number}}, lines that describe what differs).
    """
    counts, failures = {}, []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            training = Training(name, Path(folder) / name)
            counts[name], told = _campaign(training, number, random.Random(f"{seed} {name}"))
            failures += told
    return counts, failures


def _campaign(training, number, draw):
    """Kill `number` times; the counts, and what differs in lines."""
    found = dict.fromkeys(OUTCOMES, 0)
    begin = time.monotonic()
    status, operations = training.start("whole")
    seconds = time.monotonic() - begin
    if status:
        raise UserError(f"{training.name} does not train: {training.said('whole')}")
    expected, failures = results(training.folder / "whole" / "run"), []
    with tqdm(total=number, desc=f"kill {training.name}", unit="kill", disable=None) as bar:
        while found["kills"] < number:
            place = f"run{found['runs']}"
            for _ in range(min(PER_RUN, number - found["kills"])):
                inside = draw.random() < 0.5
                at = ({"operation": draw.randrange(1, operations + 1),
                       "after": draw.random() < 0.5} if inside
                      else {"seconds": draw.uniform(0.05, seconds)})
                status, _ = training.start(place, **at)
                if status == -signal.SIGKILL:
                    found["kills"] += 1
                    found["in file operations"] += inside
                    bar.update()
                elif status:
                    break
            status, _ = training.start(place)
            found["runs"] += 1
            told = (["not finished"] if status
                    else differences(expected, results(training.folder / place / "run")))
            for what in told:
                found[what] += 1
                failures.append(f"{training.name}, {place}: {what}: {training.said(place)}")
            shutil.rmtree(str(training.folder / place))
    return found, failures
