"""Damage every file of a run's folder in turn and repeat the command: no silent difference."""

import random
import shutil
import tempfile
from pathlib import Path

from tqdm import tqdm

from common.cli import UserError
from scripts.fault_campaign.trainings import Training, differences, results

OUTCOMES = ("as before", "refused", "other results", "traceback")


def folders(name: str, seed: int = 0) -> tuple:
    """Damage the folder of a finished run and of one that was killed half way.

    Args:
        name: of the model.
        seed: of the damages.

    Returns:
        ({file: {outcome of `OUTCOMES`: number}}, lines that describe what went wrong).
    """
    with tempfile.TemporaryDirectory() as temporary:
        training = Training(name, Path(temporary) / name)
        _made(training, "whole")
        _made(training, "half", train_steps=8)
        expected = results(training.folder / "whole" / "run")
        attacks = [(state, path.relative_to(training.folder / state), damage)
                   for state in ("half", "whole")
                   for path in sorted((training.folder / state / "run").rglob("*"))
                   if path.is_file() and path.name != ".lock" for damage in DAMAGES]
        counts, failures = {}, []
        for state, path, damage in tqdm(attacks, f"damage {name}", unit="file", disable=None):
            outcome, told = _attack(training, state, path, damage, expected,
                                    random.Random(f"{seed} {path} {damage}"))
            label = f"{state} run: {_kind(path)}"
            counts.setdefault(label, dict.fromkeys(OUTCOMES, 0))[outcome] += 1
            if outcome not in OUTCOMES[:2]:
                failures.append(f"{state} run, {path}, {damage}: {outcome}: {told}")
    return counts, failures


def _made(training, place, **changes):
    status, _ = training.start(place, **changes)
    if status:
        raise UserError(f"{training.name} does not train: {training.said(place)}")


def _attack(training, state, path, damage, expected, draw):
    place = training.folder / "attacked"
    shutil.rmtree(str(place), ignore_errors=True)
    shutil.copytree(str(training.folder / state), str(place))
    (place / "said").unlink()
    DAMAGES[damage](place / path, draw)
    status, _ = training.start("attacked")
    told = training.said("attacked")
    if status == 2 and told.split(" | ")[-1].startswith("error: "):
        return "refused", told
    if status or "Traceback" in (place / "said").read_text(errors="replace"):
        return "traceback", f"status {status}: {told}"
    differ = differences(expected, results(place / "run"))
    if path.name == "train.log":  # what it held cannot be known again
        differ = [what for what in differ if what != "other log lines"]
    return ("other results", f"{', '.join(differ)}: {told}") if differ else ("as before", told)


def _kind(path):
    """The name of a file without what differs between files of its kind."""
    if path.parts[1] in ("cache", "logs", "samples"):
        return path.parts[1]
    if path.parts[1] == "checkpoints":
        return f"checkpoints, {path.suffix.partition('-')[0] or path.name}"
    return path.name


def _written(change):
    def damage(path, draw):
        path.write_bytes(change(path.read_bytes(), draw))
    return damage


def _flipped(data, at):
    return data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1:] if data else data


DAMAGES = {
    "deleted": lambda path, draw: path.unlink(),
    "emptied": _written(lambda data, draw: b""),
    "cut in half": _written(lambda data, draw: data[:len(data) // 2]),
    "first byte flipped": _written(lambda data, draw: _flipped(data, 0)),
    "one byte flipped": _written(lambda data, draw: _flipped(data, draw.randrange(len(data) or 1))),
    "half zeroed": _written(lambda data, draw: data[:len(data) // 2] + bytes(len(data) // 2)),
    "noise": _written(lambda data, draw: bytes(draw.randrange(256) for _ in data[:2000])),
    "something appended": _written(lambda data, draw: data + b"\x00\xffmore"),
}
