import json
import math
import os
import subprocess
import sys
import time

import pytest

from common import files as module
from common.cli import UserError
from common.files import (
    atomic_folder,
    atomic_path,
    make_folder,
    remove_leftovers,
    write_json,
    write_text,
)


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "new" / "a.txt"
    write_text(path, "first")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "new" / "folder"
    for text in ("first", "second"):
        with atomic_folder(path) as temporary:
            (temporary / "sub").mkdir()
            (temporary / "sub" / text).write_text(text)
    with pytest.raises(RuntimeError), atomic_folder(path) as temporary:
        (temporary / "third").write_text("half")
        raise RuntimeError
    assert [p.name for p in path.rglob("*")] == ["sub", "second"]
    assert list(path.parent.iterdir()) == [path]
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o777 & ~mask


def test_a_signal_between_its_renames_keeps_the_older_folder(tmp_path, monkeypatch):
    path, replace = tmp_path / "folder", os.replace
    with atomic_folder(path) as temporary:
        (temporary / "first").write_text("x")

    def stopped(source, target):
        replace(source, target)
        if target != path:
            raise SystemExit(143)

    with monkeypatch.context() as patch, pytest.raises(SystemExit), \
            atomic_folder(path) as temporary:
        patch.setattr(module.os, "replace", stopped)
        (temporary / "second").write_text("x")
    assert [each.name for each in path.iterdir()] == ["first"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture(scope="module")
def dead():
    """The number of a process that there was."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def leave(monkeypatch, folder, process, machine=None):
    """A file and a folder as they lie there when a process is killed."""
    with monkeypatch.context() as patch:
        patch.setattr(module.os, "getpid", lambda: process)
        if machine:
            patch.setattr(module, "_machine", lambda: machine)
        patch.setattr(module.os, "replace", lambda *paths: None)
        patch.setattr(module.shutil, "rmtree", lambda *args, **options: None)
        patch.setattr(module.Path, "unlink", lambda path: None)
        with atomic_path(folder / "decoded-1.2.u8") as temporary:
            temporary.write_text("half")
        with atomic_folder(folder / "saved model") as beside:
            (beside / "variables").mkdir()
            (beside / "variables" / "data").write_text("half")
    return {temporary, beside.parent}


def test_what_a_killed_process_left_is_removed_before_the_next_write(tmp_path, dead, monkeypatch):
    left = leave(monkeypatch, tmp_path, dead)
    assert set(tmp_path.iterdir()) == left
    kept = tmp_path / f".mine.tmp-{dead}.txt", tmp_path / f"a.tmp-{'0' * 12}-{dead}-x"
    for path in kept:
        path.write_text("another program's")
    monkeypatch.setattr(module, "_swept", set())  # as in the next process
    write_text(tmp_path / "a.txt", "x")
    assert set(tmp_path.iterdir()) == {tmp_path / "a.txt", *kept}


def test_what_a_living_process_or_another_machine_writes_stays(tmp_path, dead, monkeypatch):
    alive = leave(monkeypatch, tmp_path, os.getppid())
    mine = leave(monkeypatch, tmp_path, os.getpid())
    afar = leave(monkeypatch, tmp_path, dead, machine="0123456789ab")
    everything = alive | mine | afar
    assert len(everything) == 6
    remove_leftovers(tmp_path)
    assert set(tmp_path.iterdir()) == everything
    old = time.time() - module.ABANDONED - 60
    for path in sorted(tmp_path.rglob("*"), reverse=True):
        if path.name != "data":
            os.utime(str(path), (old, old))
    remove_leftovers(tmp_path)  # in the folders there is a file of late
    assert set(tmp_path.iterdir()) == {path for path in everything if path.is_dir()}
    for path in list(tmp_path.rglob("data")):
        os.utime(str(path), (old, old))
    remove_leftovers(tmp_path)
    assert not list(tmp_path.iterdir())
    remove_leftovers(tmp_path / "none")


def test_the_file_has_the_users_mode(tmp_path):
    write_text(tmp_path / "a.txt", "x")
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot create the folder .*file/sub"):
        make_folder(tmp_path / "file" / "sub")


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace

    def synced(handle):
        done.append(os.path.basename(os.readlink(f"/proc/self/fd/{handle}")))
        fsync(handle)

    monkeypatch.setattr(module.os, "fsync", synced)
    monkeypatch.setattr(module.os, "replace",
                        lambda a, b: (done.append("renamed"), replace(a, b)))
    write_text(tmp_path / "a.txt", "x")
    assert done[0].startswith(".a.tmp-") and done[1:] == ["renamed", tmp_path.name]
    del done[:]
    with atomic_folder(tmp_path / "saved") as temporary:
        (temporary / "sub").mkdir()
        (temporary / "sub" / "file").write_text("x")
    assert set(done[:3]) == {"sub", "file", "new"} and done[3:] == ["renamed", tmp_path.name]


def test_a_full_disk_names_the_file_and_keeps_the_old_one(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "first")
    words = "cannot write .*a.txt: No space left on device; make room"
    with pytest.raises(UserError, match=words), atomic_path(path) as temporary, \
            open("/dev/full", "w") as file:
        file.write(str(temporary))
    assert path.read_text() == "first" and list(tmp_path.iterdir()) == [path]
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="folder: a folder of that name is there; move it"):
        write_text(tmp_path / "folder", "x")
    assert len(list(tmp_path.iterdir())) == 2


def test_json_has_no_infinity(tmp_path):
    write_json(tmp_path / "a.json", {"a": [math.inf, 1.5, (math.nan, -math.inf)], "b": "inf"})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [None, 1.5, [None, None]],
                                                             "b": "inf"}
