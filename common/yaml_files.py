"""Read YAML files that anyone may have written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from common.cli import UserError, one_line

LARGEST = 200_000  # bytes, read in a second; options and recipes are a few thousand
NODES = 100_000  # values, counting what an alias repeats each time


def read_yaml(path: str | os.PathLike) -> Any:
    """The content of a YAML file, by PyYAML's safe loader.

    Raises:
        UserError: no such file, not YAML in UTF-8, too large, or with aliases that repeat its
            contents without end.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no such file: {path}")
    if path.stat().st_size > LARGEST:
        raise UserError(f"{path} has {path.stat().st_size:,} bytes; a YAML file of options has "
                        f"at most {LARGEST:,}")
    try:
        text = path.read_text(encoding="utf-8")
        if _count(yaml.compose(text, Loader=yaml.SafeLoader), {}) > NODES:
            raise UserError(f"{path} is not read: its aliases make more than {NODES:,} values")
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        raise UserError(f"{path} is not YAML: {one_line(error)[:150]}") from error


def _count(node, counts):
    """How many values a node stands for; those of an alias count each time."""
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in counts:
        counts[id(node)] = float("inf")  # of a node that holds itself
        inner = [part for item in node.value
                 for part in (item if isinstance(item, tuple) else (item,))]
        counts[id(node)] = 1 + sum(_count(part, counts) for part in inner)
    return counts[id(node)]
