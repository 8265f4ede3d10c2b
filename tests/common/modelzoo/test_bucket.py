import functools
import sys
from pathlib import Path

import pytest

from common.cli import UserError
from common.modelzoo.bucket import Bucket, fetch, moxing_file

STANDINS = Path(__file__).resolve().parents[2] / "standins"
ADDRESS = "obs://b/out/"


@pytest.fixture
def there(tmp_path, monkeypatch):
    """The folder behind the address."""
    monkeypatch.setenv("MOXING_BUCKETS", str(tmp_path / "buckets"))
    (tmp_path / "buckets" / "b" / "out").mkdir(parents=True)
    return tmp_path / "buckets" / "b" / "out"


@pytest.fixture
def file(monkeypatch, there):
    """The stand-in for `moxing.file`, which starts no processes here."""
    monkeypatch.syspath_prepend(str(STANDINS))
    file = moxing_file("folder", ADDRESS)
    monkeypatch.setattr(file, "copy_parallel",
                        functools.partial(file.copy_parallel, is_processing=False))
    yield file
    for name in ("moxing", "moxing.file"):
        sys.modules.pop(name)


@pytest.fixture
def bucket(file, tmp_path):
    return Bucket(file, ADDRESS, tmp_path / "cache" / "result")


def write(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_moxing_is_asked_for_where_an_address_needs_it(tmp_path):
    assert moxing_file("folder", None) is None


def test_data_are_fetched(file, there, tmp_path):
    write(there, "HR/0001.png")
    assert names(fetch(file, "obs://b/out", tmp_path / "data")) == {"HR/0001.png"}
    with pytest.raises(UserError, match="nothing at obs://b/none; correct --data_url"):
        fetch(file, "obs://b/none", tmp_path / "data")


def test_files_that_are_complete_are_sent_when_they_change(bucket, there, capsys):
    bucket.fetch()
    write(bucket.folder, "a.h5", "run/train.log", "cache/x", ".a.tmp-1", "a_temp/x", "x.tempstate1")
    bucket.send()
    assert names(there) == {"a.h5", "run/train.log"}
    assert capsys.readouterr().out == "[CANN-Modelzoo] 2 files copied to obs://b/out\n"
    bucket.send()
    assert capsys.readouterr().out == ""
    (bucket.folder / "a.h5").write_text("changed")
    bucket.send()
    assert (there / "a.h5").read_text() == "changed"
    assert not list(bucket.folder.glob(".sending*"))


def test_checkpoints_that_are_deleted_are_deleted_there(bucket, there):
    bucket.fetch()
    write(bucket.folder, "checkpoints/step-1.index", "checkpoints/step-2.index", "train.log")
    bucket.send()
    (bucket.folder / "checkpoints" / "step-1.index").unlink()
    (bucket.folder / "train.log").unlink()
    bucket.send()
    assert names(there) == {"checkpoints/step-2.index", "train.log"}


def test_what_an_earlier_job_left_is_fetched_once(file, bucket, there, capsys):
    write(there, "checkpoints/step-1.index", "train.log")
    bucket.fetch()
    assert names(bucket.folder) - {".train_url"} == names(there)
    bucket.send()  # nothing has changed
    bucket.fetch()
    assert capsys.readouterr().out.splitlines() == [
        "[CANN-Modelzoo] 2 files of an earlier job fetched from obs://b/out",
        f"[CANN-Modelzoo] going on with the results in {bucket.folder}"]
    with pytest.raises(UserError, match="holds files of obs://b/out; empty it"):
        Bucket(file, "obs://b/other", bucket.folder).fetch()


def test_where_moxing_fails_the_next_copy_may_succeed(bucket, there, monkeypatch, capsys):
    bucket.fetch()
    write(bucket.folder, "a.h5")
    monkeypatch.setenv("MOXING_FAILS", "upload")
    with pytest.raises(UserError, match="results were not copied to obs://b/out: ObsError: "
                                        r"\[Errno 403\] Access Denied"):
        bucket.send()
    bucket.try_to_send()
    assert capsys.readouterr().out.endswith("Access Denied; this is tried again\n")
    monkeypatch.delenv("MOXING_FAILS")
    bucket.try_to_send()
    assert names(there) == {"a.h5"}
