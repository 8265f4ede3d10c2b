"""The variables by which processes on several NPUs find each other, and their rules.

Either RANK_SIZE, RANK_ID and RANK_TABLE_FILE, or the five CM_ variables.
"""

from pathlib import Path
from typing import NamedTuple

from common.cli import UserError

CM = ("CM_CHIEF_IP", "CM_CHIEF_PORT", "CM_CHIEF_DEVICE", "CM_WORKER_IP", "CM_WORKER_SIZE")


class Ranks(NamedTuple):
    """How many processes there are in all, and whether a rank table says so (or CM_ variables)."""

    size: int
    by_table: bool


def read_ranks(environ: dict) -> Ranks:
    """Read how many processes there are, each on an NPU of its own; one where nothing says it.

    Raises:
        UserError: the variables contradict each other or lack something.
    """
    given = [name for name in CM if environ.get(name)]
    size = _count("RANK_SIZE", environ.get("RANK_SIZE") or "1")
    table = environ.get("RANK_TABLE_FILE")
    if given:
        missing = [name for name in CM if name not in given]
        if table:
            raise UserError(f"RANK_TABLE_FILE and {' '.join(given)} exclude each other; unset one "
                            "side")
        if missing:
            raise UserError(f"{' '.join(given)} set, but not {' '.join(missing)}; set all five, or "
                            "RANK_TABLE_FILE and RANK_ID")
        workers = _count("CM_WORKER_SIZE", environ["CM_WORKER_SIZE"])
        if environ.get("RANK_SIZE") and size != workers:
            raise UserError(f"RANK_SIZE is {size}, but CM_WORKER_SIZE is {workers}; set both to "
                            "the number of all devices")
        return Ranks(workers, False)
    if size > 1 and not table:
        raise UserError(f"RANK_SIZE is {size}, but neither RANK_TABLE_FILE (with RANK_ID) nor "
                        f"{' '.join(CM)} say where the devices are")
    if size > 1 and not Path(table).is_file():
        raise UserError(f"RANK_TABLE_FILE: no such file: {table}")
    return Ranks(size, True)


def check_rank(environ: dict, ranks: Ranks) -> None:
    """Raise a `UserError` unless RANK_ID says which of the processes of a rank table this is."""
    if ranks.size == 1 or not ranks.by_table:
        return
    rank, last = environ.get("RANK_ID"), ranks.size - 1
    if not rank:
        raise UserError(f"RANK_SIZE is {ranks.size}, but RANK_ID is not set; give each process its "
                        f"own, 0 to {last}")
    if not rank.isdigit() or int(rank) > last:
        raise UserError(f"RANK_ID must be 0 to {last} with RANK_SIZE {ranks.size}, got {rank!r}")


def check_environment(environ: dict) -> int:
    """Check what the adapter is about to read, and return how many processes there are.

    Raises:
        UserError: the variables contradict each other or lack something.
    """
    if environ.get("RANK_SIZE") and environ.get("CM_WORKER_SIZE"):
        raise UserError("RANK_SIZE and CM_WORKER_SIZE exclude each other: unset RANK_SIZE, RANK_ID "
                        "and RANK_TABLE_FILE, or the CM_ variables")
    if (environ.get("RANK_SIZE") or environ.get("CM_WORKER_SIZE") or "1") == "1":
        return 1
    ranks = read_ranks(environ)
    check_rank(environ, ranks)
    return ranks.size


def for_adapter(environ: dict, ranks: Ranks, device: str, rank: str) -> dict:
    """The environment of one process: RANK_SIZE and RANK_ID with a rank table, else neither.

    The adapter refuses these beside CM_WORKER_SIZE; HCCL then gives the ranks.
    """
    result = {name: value for name, value in environ.items()
              if name not in ("RANK_SIZE", "RANK_ID")}
    result.update(JOB_ID=environ.get("JOB_ID") or "10087", ASCEND_DEVICE_ID=str(device))
    if ranks.by_table:
        result.update(RANK_SIZE=str(ranks.size), RANK_ID=str(rank))
    return result


def _count(name, text):
    if not text.isdigit() or int(text) < 1:
        raise UserError(f"{name} must be a whole number from 1, got {text!r}")
    return int(text)
