"""`scripts.download` against a server on this machine."""

import functools
import hashlib
import io
import tarfile
import threading
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from common.cli import UserError
from common.data.sets import DATASETS, open_dataset, open_images
from scripts import download


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """(folder that is served, its address)."""
    monkeypatch.setenv("no_proxy", "*")
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0),
                                 functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def picture(side):
    file = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), 90, np.uint8)).save(file, "png")
    return file.getvalue()


def make_zip(path, *names, side=24):
    with zipfile.ZipFile(str(path), "w") as archive:
        for name in names:
            archive.writestr(name, picture(side))
    return path


def make_tar(path, *names, mode="w"):
    with tarfile.open(str(path), mode) as archive:
        for name in names:
            info, data = tarfile.TarInfo(name), picture(24)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def fetched(tmp_path, server, *arguments):
    download.main([*arguments, "--data_dir", str(tmp_path / "data"), "--url_base", server[1]])
    return sorted(path.name for path in (tmp_path / "data").iterdir())


def test_bsds500_from_its_published_archive(call, server, tmp_path):
    make_tar(server[0] / "BSR_bsds500.tgz", "BSR/BSDS500/data/images/train/1.jpg",
             "BSR/BSDS500/data/images/test/2.jpg", "BSR/BSDS500/data/images/val/3.jpg",
             "BSR/BSDS500/data/groundTruth/train/1.mat", mode="w:gz")
    command = [download.main, "--dataset", "bsds500", "--data_dir", "data", "--url_base", server[1]]
    done = call(*command, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "images: 3 files" in done.stdout and "--data_dir data --dataset bsds500" in done.stdout
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["BSDS500"]
    splits = open_dataset("bsds500", tmp_path / "data", 2)
    assert [pair.name for pair in splits.train] == ["1", "2"]
    (server[0] / "BSR_bsds500.tgz").unlink()
    assert "already exists" in call(*command, cwd=tmp_path).stdout
    command[2] = "div2k"
    done = call(*command, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("error: cannot download http://127.0.0.1")
    assert "404" in done.stderr and done.stderr.count("\n") == 1


def test_div2k_with_the_scales_asked_for(server, tmp_path, monkeypatch):
    names = {"train_HR": "0001.png", "valid_HR": "0801.png"}
    for scale in (2, 4):
        names[f"train_LR_bicubic_X{scale}"] = f"X{scale}/0001x{scale}.png"
        names[f"valid_LR_bicubic_X{scale}"] = f"X{scale}/0801x{scale}.png"
    sums = {}
    for part, name in names.items():
        side = 24 // int(part[-1]) if "LR" in part else 24
        path = make_zip(server[0] / f"DIV2K_{part}.zip", f"DIV2K_{part.split('_X')[0]}/{name}",
                        side=side)
        sums[part] = "md5:" + hashlib.md5(path.read_bytes()).hexdigest()
    known = dict(download._DIV2K_CHECKSUMS)
    assert all(value.startswith(("sha256:", "md5:")) for value in known.values())
    with pytest.raises(UserError, match="checksum differs"):
        fetched(tmp_path, server, "--dataset", "div2k")
    monkeypatch.setattr(download, "_DIV2K_CHECKSUMS", {**known, **sums})
    assert fetched(tmp_path, server, "--dataset", "div2k", "--scale", "2") == ["DIV2K"]
    assert fetched(tmp_path, server, "--dataset", "div2k", "--scale", "4", "--keep") == [
        "DIV2K", "DIV2K_train_LR_bicubic_X4.zip", "DIV2K_valid_LR_bicubic_X4.zip"]
    for scale in (2, 4):
        splits = open_dataset("div2k", tmp_path / "data", scale)
        assert [pair.lr.name for pair in splits.train + splits.val] == [f"0001x{scale}.png",
                                                                       f"0801x{scale}.png"]
    with pytest.raises(UserError, match="no LR images for x5; choose 2, 3, 4 or 8"):
        fetched(tmp_path, server, "--dataset", "div2k", "--scale", "5")


def test_flickr2k_with_all_its_bicubic_images(server, tmp_path, monkeypatch):
    path = make_tar(server[0] / "Flickr2K.tar", *(
        f"Flickr2K/Flickr2K_{inside}.png" for inside in (
            "HR/000001", "HR/000002", "LR_bicubic/X2/000001x2", "LR_unknown/X2/000001x2")))
    (source,) = download.sources("flickr2k")
    value = "md5:" + hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setitem(download.SOURCES, "flickr2k",
                        lambda scales: [source._replace(checksum=value)])
    assert fetched(tmp_path, server, "--dataset", "flickr2k") == ["Flickr2K"]
    inside = sorted(path.name for path in (tmp_path / "data" / "Flickr2K").iterdir())
    assert inside == ["Flickr2K_HR", "Flickr2K_LR_bicubic"]
    assert len(open_dataset("flickr2k", tmp_path / "data", 4).train) == 1


def test_benchmarks_come_from_one_archive(server, tmp_path, monkeypatch):
    path = make_tar(server[0] / "benchmark.tar", "benchmark/Set5/HR/baby.png",
                    "benchmark/Set14/HR/man.png", "benchmark/B100/HR/3096.png")
    value = "md5:" + hashlib.md5(path.read_bytes()).hexdigest()
    for name in ("set5", "bsd100"):
        (source,) = download.sources(name)
        monkeypatch.setitem(download.SOURCES, name,
                            lambda scales, source=source: [source._replace(checksum=value)])
    assert fetched(tmp_path, server, "--dataset", "set5", "bsd100") == ["BSD100", "Set5"]
    for name, image in (("set5", "baby"), ("bsd100", "3096")):
        assert [pair.name for pair in open_images(name, tmp_path / "data", 2)] == [image]


def test_a_hostile_archive_leaves_nothing(server, tmp_path):
    make_tar(server[0] / "BSR_bsds500.tgz", "BSR/BSDS500/data/images/train/1.jpg",
             "BSR/../../../evil.jpg", mode="w:gz")
    with pytest.raises(UserError, match="entry outside its own folder"):
        fetched(tmp_path, server, "--dataset", "bsds500")
    assert not list(tmp_path.rglob("*.jpg"))
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["BSR_bsds500.tgz"]


def test_what_cannot_be_fetched_is_said(tmp_path, capsys):
    for name, words in (("t91", "no address for 't91'.*SRCNN"), ("what", "no data set 'what'"),
                        ("hdf5", "no address for 'hdf5'")):
        with pytest.raises(UserError, match=words):
            download.main(["--dataset", name, "--data_dir", str(tmp_path)])
    assert set(download.SOURCES) <= set(DATASETS)
    with pytest.raises(SystemExit):
        download.main(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert all(name in shown for name in download.SOURCES) and "t91 has no stable address" in shown
    for name in download.SOURCES:
        for source in download.sources(name, (2, 3, 4)):
            assert source.url.startswith(("https://", "http://www.eecs.berkeley.edu/"))
