"""Archives, honest and hostile."""

import io
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import PurePosixPath

import pytest

from common.cli import UserError
from common.data import unpack as module
from common.data.unpack import unpack

FILES = {"set/images/a.png": b"a" * 300, "set/images/deep/b.png": b"b", "set/notes.txt": b"left"}


def make_zip(path, files, links=()):
    with zipfile.ZipFile(str(path), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        for name, target in links:
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, target)
    return path


def make_tar(path, files, others=(), mode="w:gz"):
    with tarfile.open(str(path), mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, kind, target in others:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    return path


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("make, options", [(make_zip, {}), (make_tar, {}),
                                           (make_tar, {"mode": "w"})])
def test_only_what_is_wanted_appears(tmp_path, make, options):
    archive = make(tmp_path / "x.bin", FILES, **options)
    unpack(archive, {"set/images": "Set/images"}, tmp_path / "out")
    assert tree(tmp_path / "out") == ["Set/images/a.png", "Set/images/deep/b.png"]
    assert (tmp_path / "out/Set/images/a.png").read_bytes() == FILES["set/images/a.png"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["Set"]
    with pytest.raises(UserError, match="no folder set/other.*not the expected"):
        unpack(archive, {"set/other": "other"}, tmp_path / "out")


def test_a_killed_unpacking_leaves_nothing_for_long(tmp_path, monkeypatch):
    archive = make_zip(tmp_path / "x.zip", FILES)
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with monkeypatch.context() as patch:
        patch.setattr(module.os, "getpid", lambda: process.pid)
        patch.setattr(module.os, "replace", lambda *paths: None)
        patch.setattr(module.shutil, "rmtree", lambda *args, **options: None)
        unpack(archive, {"set/images": "images"}, tmp_path / "out")
    left, = (tmp_path / "out").iterdir()
    assert left.name.startswith(".unpacking.") and len(tree(left)) == 2
    unpack(archive, {"set/images": "images"}, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["images"]


@pytest.mark.parametrize("name", ["../evil", "set/images/../../../evil", "/tmp/evil",
                                  "set\\..\\evil", "C:/evil"])
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_nothing_lands_outside(tmp_path, make, name):
    inner = tmp_path / "one" / "two"
    archive = make(tmp_path / "x.bin", {**FILES, name: b"evil"})
    with pytest.raises(UserError, match="entry outside its own folder.*not unpacked"):
        unpack(archive, {"set/images": "images"}, inner)
    assert tree(tmp_path) == ["x.bin"] and list(inner.iterdir()) == []


def test_links_and_devices_are_refused(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    archives = [make_zip(tmp_path / "x.zip", FILES, [("set/images/link", str(outside))])]
    for i, other in enumerate([("set/images/link", tarfile.SYMTYPE, str(outside)),
                               ("set/images/link", tarfile.LNKTYPE, "/etc/hostname"),
                               ("set/images/null", tarfile.CHRTYPE, ""),
                               ("set/images/pipe", tarfile.FIFOTYPE, "")]):
        archives.append(make_tar(tmp_path / f"{i}.tgz", FILES, [other]))
    for archive in archives:
        with pytest.raises(UserError, match="has a (link|device) set/images.*not unpacked"):
            unpack(archive, {"set/images": "images"}, tmp_path / "out")
    assert not tree(tmp_path / "out") and not tree(outside)
    # where the link is not among what is wanted, it is left out
    archive = make_tar(tmp_path / "y.tgz", FILES, [("set/latest", tarfile.SYMTYPE, str(outside))])
    unpack(archive, {"set/images": "images"}, tmp_path / "out")
    assert len(tree(tmp_path / "out")) == 2


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_bombs_are_not_unpacked(tmp_path, make):
    archive = make(tmp_path / "x.bin", {**FILES, "set/images/zeros": bytes(80_000_000)})
    assert archive.stat().st_size < 200_000
    with pytest.raises(UserError, match="far more than"):
        unpack(archive, {"set/images": "images"}, tmp_path / "out")
    assert not tree(tmp_path / "out")


def test_too_many_entries_and_a_full_disk(tmp_path, monkeypatch):
    archive = make_zip(tmp_path / "x.zip", FILES)
    usage = module.shutil.disk_usage(str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "disk_usage", lambda path: usage._replace(free=100))
        with pytest.raises(UserError, match="make room"):
            unpack(archive, {"set/images": "images"}, tmp_path / "out")
    monkeypatch.setattr(module, "MOST_ENTRIES", 2)
    with pytest.raises(UserError, match="far more than"):
        unpack(archive, {"set/images": "images"}, tmp_path / "out")
    assert not tree(tmp_path / "out")


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_damage_is_named(tmp_path, make):
    noise = bytes((i * i * 31 + i // 7) % 251 for i in range(50_000))
    whole = make(tmp_path / "x.bin", {"set/images/a.png": noise, **FILES}).read_bytes()
    for name, data in (("cut", whole[:len(whole) // 2]), ("text", b"<html>404</html>" * 90),
                       ("empty", b"")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=f"{name} is (damaged|neither).*download it again"):
            unpack(tmp_path / name, {"set/images": "images"}, tmp_path / "out")
    middle = len(whole) // 3
    (tmp_path / "flip").write_bytes(whole[:middle] + bytes(64) + whole[middle + 64:])
    with pytest.raises(UserError, match="flip is (damaged|neither)"):
        unpack(tmp_path / "flip", {"set/images": "images"}, tmp_path / "out")
    assert not tree(tmp_path / "out")


@pytest.mark.skipif(not hasattr(tarfile, "data_filter"), reason="this Python has no data_filter")
def test_pythons_own_filter_is_a_second_lock(tmp_path, monkeypatch):
    archive = make_tar(tmp_path / "x.tar", {**FILES, "set/images/../../../evil": b"evil"})
    monkeypatch.setattr(module, "_checked_name", lambda name, archive: PurePosixPath(name))
    with pytest.raises(UserError, match="evil.* outside the destination"):
        unpack(archive, {"set/images": "images"}, tmp_path / "one" / "two")
    assert tree(tmp_path) == ["x.tar"]
