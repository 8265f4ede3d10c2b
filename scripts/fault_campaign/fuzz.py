"""Damaged files of every kind through the real readers, each in a process of its own."""

import contextlib
import faulthandler
import os
import random
import resource
import select
import shutil
import signal
import tempfile
import time
import traceback
from pathlib import Path
from typing import Optional

from tqdm import tqdm

from common.cli import UserError, unknown
from common.files import make_folder
from scripts.fault_campaign.inputs import KINDS, good_files

OUTCOMES = ("read", "refused", "traceback", "crash", "hang", "memory")
RIGHT = OUTCOMES[:2]
SECONDS, MEMORY = 15, 2**30  # 10 s for the reader, and what starting it takes; bytes


def fuzz(number: int, seed: int = 0, only: Optional[list] = None,
         keep: Optional[str] = None) -> tuple:
    """Damage good files at random and read them.

    Args:
        number: how many in all.
        seed: of all draws; the n-th input of a seed is always the same.
        only: names of kinds; None: all.
        keep: folder for the inputs that went wrong.

    Returns:
        ({kind: {outcome of `OUTCOMES`: number}}, lines that describe what went wrong).

    Raises:
        UserError: an unknown kind.
    """
    for name in only or ():
        if name not in KINDS:
            raise unknown("kind", name, KINDS)
    with tempfile.TemporaryDirectory() as folder:
        kinds = good_files(Path(folder), only or list(KINDS))
        counts, failures = {name: dict.fromkeys(OUTCOMES, 0) for name in kinds}, []
        for n in tqdm(range(number), "fuzz", unit="file", disable=None):
            name = list(kinds)[n % len(kinds)]
            good, read = kinds[name]
            work = Path(folder) / "work"
            shutil.rmtree(str(work), ignore_errors=True)
            bad = _damaged(good, work, random.Random(f"{seed} {n} {name}"))
            outcome, told = _outcome(read, bad)
            counts[name][outcome] += 1
            if outcome not in RIGHT:
                failures.append(f"{name}, input {n} of seed {seed}: {outcome}: {told}")
                if keep:
                    shutil.copytree(str(work), str(make_folder(keep) / f"{seed}-{n}-{name}"))
    return counts, failures


def _damaged(good, work, draw):
    """A copy of a file's folder with one file damaged; the path of the file to read."""
    shutil.copytree(str(good.parent), str(work))
    target = draw.choice(sorted(path for path in work.iterdir() if path.is_file()))
    data = bytearray(target.read_bytes())
    for _ in range(draw.choice((1, 1, 2, 5))):
        draw.choice(_DAMAGES)(data, draw)
    target.write_bytes(bytes(data))
    return work / good.name


def _flip(data, draw):
    if data:
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def _noise(data, draw):
    at = draw.randrange(len(data) + 1)
    data[at:at + 16] = bytes(draw.randrange(256) for _ in range(draw.randrange(1, 17)))


def _zeros(data, draw):
    at = draw.randrange(len(data) + 1)
    data[at:at + 64] = bytes(len(data[at:at + 64]))


def _cut(data, draw):
    del data[draw.randrange(len(data) + 1):]


def _number(data, draw):
    """A size that no file has, in one of the widths and orders that sizes have."""
    width, order = draw.choice((2, 4, 8)), draw.choice(("little", "big"))
    value = draw.choice((2**(8 * width) - 1, 2**(8 * width - 1) - 1, 2**(8 * width - 2), 0))
    at = draw.randrange(len(data) + 1)
    data[at:at + width] = value.to_bytes(width, order)


def _repeat(data, draw):
    at = draw.randrange(len(data) + 1)
    data[at:at] = data[at:at + draw.randrange(1, 200)]


_DAMAGES = (_flip, _flip, _noise, _zeros, _cut, _number, _number, _repeat)


def _outcome(read, path):
    """One of `OUTCOMES` and what was said, of reading a file in a child."""
    receiver, sender = os.pipe()
    process = os.fork()
    if not process:
        _child(sender, read, path)
    os.close(sender)
    begin, told = time.monotonic(), b""
    try:
        while select.select([receiver], [], [], max(0, begin + SECONDS - time.monotonic()))[0]:
            part = os.read(receiver, 65536)
            if not part:
                break
            told += part
        else:
            return "hang", f"more than {SECONDS} s"
    finally:
        os.close(receiver)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
    outcome, _, text = told.decode().partition("\n")
    if not outcome:
        return "crash", signal.Signals(os.WTERMSIG(status)).name
    return outcome, text


def _child(sender, read, path):
    try:
        faulthandler.disable()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        before = _peak()
        try:
            read(path)
            answer = "read"
        except UserError as error:
            answer = f"refused\n{error}"
            if "\n" in str(error).strip():
                answer = f"traceback\nnot one line: {error!r}"
        except BaseException as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            answer = f"traceback\n{error!r} ({place.filename}:{place.lineno})"
        if _peak() - before > MEMORY:
            answer = f"memory\n{(_peak() - before) / 1e9:.1f} GB"
        os.write(sender, answer.encode(errors="replace"))
    finally:
        os._exit(0)


def _peak():
    return 1024 * max(resource.getrusage(who).ru_maxrss
                      for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
