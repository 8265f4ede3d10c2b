"""The files of a run's checkpoints, found by looking for them: `step-N.index`, `.data-*`, `.json`.

`step-N.json`, the record, holds what the checkpoint knows of its run beside the weights, with a
checksum. It imports no TensorFlow.
"""

import hashlib
import json
import re
from pathlib import Path

from common.cli import UserError
from common.files import finite, write_text

_INDEX = re.compile(r"step-(\d+)\.index")


def checkpoints_in(folder) -> list:
    """The checkpoints of a folder as paths without suffix, the newest first."""
    found = [(int(match.group(1)), path.with_suffix("")) for path in Path(folder).glob("step-*")
             for match in [_INDEX.fullmatch(path.name)] if match and path.is_file()]
    return [path for _, path in sorted(found, reverse=True)]


def step_of(checkpoint) -> int:
    """The step after which a checkpoint of `checkpoints_in` was saved."""
    return int(checkpoint.name.split("-")[1])


def named_checkpoints(path) -> list:
    """The checkpoints that a user means, the newest first: prefix, one of its files, or a folder.

    Raises:
        UserError: no checkpoint there.
    """
    path = Path(path)
    if path.suffix in (".h5", ".keras"):
        raise UserError(f"{path} holds weights, not a run; start from them with --load")
    found = checkpoints_in(path) or checkpoints_in(path / "checkpoints")
    prefix = path.with_suffix("") if path.suffix == ".index" else path
    if not found and prefix.name and Path(f"{prefix}.index").is_file():
        found = [prefix]
    if not found:
        raise UserError(f"no checkpoint at {path}; name a run's folder or a checkpoint without "
                        "suffix")
    return found


def files_of(checkpoint) -> list:
    """The files of a checkpoint, first the one by which it is found."""
    return sorted(checkpoint.parent.glob(f"{checkpoint.name}.*"),
                  key=lambda path: path.suffix != ".index")


def remove(checkpoint) -> None:
    """Remove the files of a checkpoint."""
    for path in files_of(checkpoint):
        path.unlink()


def write_sealed(path, content) -> None:
    """Write a value as JSON with its checksum."""
    text = json.dumps(finite(content))
    write_text(path, f'{{"sha256": "{_sum(text)}",\n"content": {text}}}\n')


def read_sealed(path):
    """The value that `write_sealed` wrote; None where the file is missing or damaged."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
        whole = value["sha256"] == _sum(json.dumps(value["content"]))
        return value["content"] if whole else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _sum(text):
    return hashlib.sha256(text.encode()).hexdigest()
