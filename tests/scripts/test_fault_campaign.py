"""The fault campaign: a small one of each attack, and that it sees what it looks for."""

import ctypes
import os
import time

import numpy as np
import pytest

from common.cli import UserError
from scripts.fault_campaign import command, fuzz, trainings


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


def test_killed_trainings_end_as_whole_ones(run, tmp_path):
    done = run("-m", "scripts.fault_campaign", "--kills", "2", "--model", "edsr", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    header, counts = ([cell.strip() for cell in line.strip("| ").split("|")]
                      for line in (done.stdout.splitlines()[0], done.stdout.splitlines()[2]))
    found = dict(zip(header, counts))
    assert found["input"] == "edsr" and found["kills"] == "2" and int(found["runs"]) >= 1
    assert {found[name] for name in header[4:]} == {"0"}


def test_what_differs_is_seen():
    whole = ({"a.h5": {"conv": [np.ones(3)]}}, {"metrics.jsonl": [{"step": 1}]},
             {"train.log": {"x"}})
    assert trainings.differences(whole, whole) == []
    changed = [({"a.h5": {"conv": [np.full(3, 1 + 1e-7, "f4")]}}, "other weights"),
               ({}, "other weights"), ({"metrics.jsonl": []}, "other rows"),
               ({"train.log": {"x", "y"}}, "other log lines")]
    for part, (value, what) in zip((0, 0, 1, 2), changed):
        other = list(whole)
        other[part] = value
        assert trainings.differences(whole, tuple(other)) == [what]
