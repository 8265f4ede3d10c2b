"""Imports run one way: scripts -> models -> common, and between the rooms of common."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Room of common -> rooms that it may import beside images; modules directly in common only that.
BELOW = {"images": set(), "nn": set(), "device": {"nn"}, "weights": {"nn"}, "data": {"nn"},
         "inference": {"nn", "device", "data"}, "modelzoo": {"device"},
         "training": {"nn", "device", "weights", "data", "inference"}}


def imported(path):
    """The full names of all modules that a file imports, at its top or in a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(name):
    """The room of a module "common.room.module", or None."""
    part = name.split(".")[1]
    return part if (ROOT / "common" / part).is_dir() else None


@pytest.mark.parametrize("part, above", [("common", ("models", "scripts")),
                                         ("models", ("scripts",))])
def test_nothing_imports_upwards(part, above):
    files = sorted((ROOT / part).rglob("*.py"))
    assert files
    found = [(path.relative_to(ROOT).as_posix(), name) for path in files
             for name in imported(path) if name.split(".")[0] in above]
    assert found == []


def test_rooms_of_common_import_those_below():
    rooms = {path.parent.name for path in (ROOT / "common").glob("*/__init__.py")}
    assert rooms == set(BELOW)
    found = []
    for path in sorted((ROOT / "common").rglob("*.py")):
        where = path.relative_to(ROOT / "common").parts
        room = where[0] if len(where) > 1 else None
        for name in imported(path):
            target = room_of(name) if name.startswith("common.") else None
            if target not in (None, room, "images") and target not in BELOW.get(room, ()):
                found.append((path.name, name))
    assert found == []
