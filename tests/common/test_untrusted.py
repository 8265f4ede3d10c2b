"""Readers in a child process: what it returns, raises, and survives."""

import ctypes
import os
import time
from pathlib import Path

import numpy as np
import pytest

from common import untrusted
from common.cli import UserError
from common.untrusted import isolated


@pytest.fixture
def path(tmp_path):
    (tmp_path / "file").write_bytes(b"0123")
    return tmp_path / "file"


def test_the_result_comes_back(path):
    array = np.arange(1_000_000)
    content, same, process = isolated(lambda path, a: (path.read_bytes(), a, os.getpid()), path,
                                      array)
    assert content == b"0123" and process != os.getpid()
    np.testing.assert_array_equal(same, array)


def raises(error):
    def read(path):
        raise error
    return read


@pytest.mark.parametrize("read, said", [
    (raises(UserError("as it says")), "^as it says$"),
    (raises(KeyError("name")), "file is damaged or cut off: 'name'"),
    (raises(RecursionError), "file is damaged or cut off: RecursionError"),
    (lambda path: ctypes.string_at(0), r"reading it ends its process \(SIGSEGV\)"),
    (lambda path: os.abort(), r"reading it ends its process \(SIGABRT\)"),
    (lambda path: os._exit(0), "reading it ends its process"),
    (lambda path: bytearray(3 << 30), "asks for more memory than its contents can need"),
])
def test_whatever_goes_wrong_is_one_line(path, read, said, capfd):
    with pytest.raises(UserError, match=said):
        isolated(read, path)
    assert capfd.readouterr() == ("", "")


def children():
    """The processes that this one has started and not waited for."""
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def test_it_does_not_wait_for_ever(path, monkeypatch):
    monkeypatch.setattr(untrusted, "SECONDS", 0.3)
    begin, before = time.monotonic(), children()
    with pytest.raises(UserError, match="takes more than 0 s"):
        isolated(lambda path: time.sleep(60), path)
    assert time.monotonic() - begin < 5
    assert children() == before


def test_readers_may_call_each_other(path):
    assert isolated(lambda path: isolated(lambda path: os.getppid(), path), path) == os.getpid()
