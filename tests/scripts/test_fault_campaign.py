"""The fault campaign: a small one of each attack, and that it sees what it looks for."""

import ctypes
import os
import time

import pytest

from common.cli import UserError
from scripts.fault_campaign import command, fuzz


def test_damaged_files_are_read_or_refused_in_one_line(run, tmp_path):
    done = run("-m", "scripts.fault_campaign", "--fuzz", "54", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [[cell.strip() for cell in line.strip("| ").split("|")]
             for line in done.stdout.splitlines()]
    assert lines[0] == ["input", "read", "refused", "traceback", "crash", "hang", "memory"]
    read, refused, *wrong = map(int, lines[-1][1:])
    assert read + refused >= 48 and read > 5 and refused > 20 and not any(wrong)


@pytest.mark.parametrize("read, outcome", [
    (lambda path: None, "read"), (lambda path: time.sleep(60), "hang"),
    (lambda path: 1 / 0, "traceback"), (lambda path: ctypes.string_at(0), "crash"),
    (lambda path: bytearray(1500 << 20), "memory"),
])
def test_every_outcome_is_seen(tmp_path, monkeypatch, capsys, read, outcome):
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "net").write_bytes(b"0123")
    monkeypatch.setattr(fuzz, "SECONDS", 1 if outcome == "hang" else 60)
    monkeypatch.setattr(fuzz, "good_files", lambda folder, names: {
        "kind": (tmp_path / "good" / "net", read)})
    status = command.main(["--fuzz", "1", "--keep", str(tmp_path / "kept")])
    out = capsys.readouterr().out
    assert status == (outcome != "read") and (f"kind, input 0 of seed 0: {outcome}" in out
                                              ) == bool(status)
    assert bool(status) == (tmp_path / "kept").is_dir()
    assert not status or os.listdir(tmp_path / "kept" / "0-0-kind") == ["net"]


def test_mistakes_are_told():
    with pytest.raises(UserError, match="--fuzz N"):
        command.main([])
    with pytest.raises(UserError, match="unknown kind 'pth'"):
        command.main(["--fuzz", "1", "--only", "pth"])
