import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from common import files
from common.cli import UserError
from common.data import store as module
from common.data.pairs import Pair, measure
from common.data.sets import open_images
from common.data.store import ImageStore
from common.files import write_text


@pytest.fixture
def pairs(shared):
    return open_images("paired", shared / "data" / "Set5", 3)


def no_work(*arguments):
    raise AssertionError("the decoded file was not used")


def test_it_holds_the_pixels_of_the_files(pairs, tmp_path):
    store = ImageStore(pairs, 3, tmp_path / "cache")
    assert store.in_memory and len(store) == 5 and not (tmp_path / "cache").exists()
    for pair, lr, hr in zip(pairs, store.lr, store.hr):
        np.testing.assert_array_equal(lr, np.array(Image.open(pair.lr)))
        height, width = lr.shape[0] * 3, lr.shape[1] * 3
        np.testing.assert_array_equal(hr, np.array(Image.open(pair.hr))[:height, :width])
        assert lr.dtype == hr.dtype == np.uint8
    assert store.bytes == sum(array.nbytes for array in store.lr + store.hr)


@pytest.mark.parametrize("budget", [10**9, 0])
def test_it_can_do_without_lr_images(pairs, tmp_path, budget):
    own = [replace(pair, lr=None) for pair in pairs]
    whole, half = (ImageStore(own, 3, tmp_path / name, budget, name == "whole")
                   for name in ("whole", "half"))
    assert half.lr is None and not list((tmp_path / "half").rglob("*.png"))
    assert half.bytes == sum(array.nbytes for array in half.hr) and half.in_memory == bool(budget)
    for left, right in zip(half.hr, whole.hr):
        np.testing.assert_array_equal(left, right)
    assert [pair.hr for pair in half.pairs] == [pair.hr for pair in own]


def test_the_mapped_file_equals_memory(pairs, tmp_path, monkeypatch):
    memory = ImageStore(pairs, 3, tmp_path)
    budget = memory.bytes - 1
    mapped = ImageStore(pairs, 3, tmp_path / "cache", budget)
    assert not mapped.in_memory
    with monkeypatch.context() as patch:
        patch.setattr(module, "read_rgb", no_work)
        again = ImageStore(pairs, 3, tmp_path / "cache", budget)
    for store in (mapped, again):
        for expected, array in zip(memory.lr + memory.hr, store.lr + store.hr):
            assert isinstance(array, np.memmap)
            np.testing.assert_array_equal(array, expected)
        with pytest.raises(ValueError):
            store.hr[0][0, 0, 0] = 1
    names = sorted(path.suffix for path in (tmp_path / "cache").iterdir())
    assert names == [".json", ".u8"]
    assert ImageStore(pairs, 3, tmp_path / "cache", memory.bytes).in_memory


def test_a_killed_or_damaged_file_is_not_trusted(pairs, tmp_path, monkeypatch, caplog):
    pairs = pairs[1:3]
    expected = ImageStore(pairs, 3, tmp_path)
    calls = []

    def killed(path):
        calls.append(path)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return np.array(Image.open(path))

    with monkeypatch.context() as patch:
        patch.setattr(module, "read_rgb", killed)
        with pytest.raises(KeyboardInterrupt):
            ImageStore(pairs, 3, tmp_path, 0)
    assert not list(tmp_path.iterdir())

    def check():
        store = ImageStore(pairs, 3, tmp_path, 0)
        for left, right in zip(expected.lr + expected.hr, store.lr + store.hr):
            np.testing.assert_array_equal(left, right)
        return next(tmp_path.glob("*.u8"))

    path = check()
    path.write_bytes(path.read_bytes()[:-1000])
    check()
    path.write_bytes(bytes(path.stat().st_size))
    path.with_suffix(".json").unlink()  # as when a run ends between the two
    check()
    for change in (lambda data: data[:1000] + bytes(len(data) - 1000),
                   lambda data: data[:-1] + bytes([data[-1] ^ 1])):
        path.write_bytes(change(path.read_bytes()))
        check()
        assert caplog.text.count(f"{path} is damaged and is made again") == 1
        caplog.clear()
    for text in ("", "[]", "{}", '{"crc32": 5}', '{"crc32": [1]}', "\0"):
        path.with_suffix(".json").write_text(text)
        check()


def test_what_a_killed_run_decoded_makes_room_first(pairs, tmp_path, monkeypatch):
    """Its temporary file is gone before the free space is looked at."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    left = tmp_path / f".decoded-0.tmp-{files._machine()}-{process.pid}-abc_12.u8"
    left.write_bytes(bytes(1000))
    usage = module.shutil.disk_usage

    def disk_usage(path):
        assert not left.exists()
        return usage(path)

    monkeypatch.setattr(module.shutil, "disk_usage", disk_usage)
    write_text(tmp_path / "a.txt", "the folder has been written in")
    left.write_bytes(bytes(1000))
    ImageStore(pairs[:1], 3, tmp_path, 0)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".txt", ".u8"]


def test_changed_files_are_decoded_again(tmp_path):
    paths = [tmp_path / name for name in ("hr.png", "lr.png")]
    for value in (10, 200):
        for path, size in zip(paths, (16, 8)):
            Image.new("RGB", (size, size), (value,) * 3).save(path)
        store = ImageStore(measure([Pair("a", *paths)], 2), 2, tmp_path / "cache", 0)
        assert (store.hr[0] == value).all() and (store.lr[0] == value).all()


def test_mistakes_are_named(pairs, tmp_path, monkeypatch):
    cut = tmp_path / "cut.png"
    cut.write_bytes(pairs[0].hr.read_bytes()[:100_000])
    torn = replace(pairs[0], hr=cut)
    for budget in (10**9, 0):
        with pytest.raises(UserError, match="cannot read .*cut.png"):
            ImageStore([pairs[1], torn], 3, tmp_path, budget)
    monkeypatch.setattr(module.shutil, "disk_usage",
                        lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(UserError, match="need 0.0 GB and .* has 0.0 GB free"):
        ImageStore(pairs, 3, tmp_path, 0)
