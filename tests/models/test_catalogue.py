"""Weights by name: bundled ones, and those fetched from a package index that the tests serve."""

import functools
import hashlib
import http.server
import os
import re
import resource
import subprocess
import sys
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import models
from common.cli import UserError, run_command
from common.files import cache_folder
from common.nn.keras_compat import set_seed
from common.weights import read_arrays
from common.weights.wheel import Wheel
from models import catalogue
from scripts import download

ROOT = Path(__file__).resolve().parents[2]


class Index:
    """A package index in a folder, which pip is told to use, with one wheel on it."""

    def __init__(self, folder, address):
        self.folder, self.address, self.requests = folder, address, []

    def publish(self, members, name="tiny-weights", version="1.0"):
        """Put a wheel of {path: bytes} on the index; return the `Wheel` and its members' hashes."""
        stem = f"{name.replace('-', '_')}-{version}"
        info = {f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\n"
                                              f"Version: {version}\n",
                f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"
                                           "Tag: py3-none-any\n",
                f"{stem}.dist-info/RECORD": ""}
        page = self.folder / "simple" / name
        page.mkdir(parents=True, exist_ok=True)
        file = page / f"{stem}-py3-none-any.whl"
        with zipfile.ZipFile(str(file), "w") as wheel:
            for path, data in {**members, **info}.items():
                wheel.writestr(path, data)
        (page / "index.html").write_text(f'<a href="{file.name}">{file.name}</a>')
        return (Wheel(name, version, _sha256(file.read_bytes())),
                {path: _sha256(data) for path, data in members.items()})


def _sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def index(tmp_path, monkeypatch):
    """An `Index` on this machine, alone in pip's settings; the cache is in `tmp_path`."""
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *arguments):
            served.requests.append(arguments[0])

    served = Index(tmp_path / "index", None)
    (served.folder / "simple").mkdir(parents=True)
    handler = functools.partial(Handler, directory=str(served.folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    served.address = f"http://127.0.0.1:{server.server_port}/simple"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in [name for name in os.environ if name.upper().startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", served.address)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield served
    server.shutdown()
    server.server_close()


@pytest.fixture
def entry(index, tmp_path, monkeypatch):
    """The name of an entry whose weights, a small network in ncnn's files, are on the index."""
    wheel, members = index.publish({f"tiny/{name}": data for name, data in _network(tmp_path)})
    row = replace(catalogue.CATALOGUE["realesrgan-x4plus"], name="tiny-x4", wheel=wheel,
                  members=members)
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny-x4", row)
    return row


def _network(folder):
    """(name, content) of the two files of an RRDBNet in ncnn's format."""
    import importlib.util

    path = ROOT / "tests" / "common" / "weights" / "test_ncnn.py"
    spec = importlib.util.spec_from_file_location("written_ncnn", str(path))
    written = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(written)
    binary = written.write_ncnn(folder / "net", written.rrdbnet())
    return [(file.name, file.read_bytes()) for file in (binary, binary.with_suffix(".param"))]


def _left(tmp_path):
    """What is in the cache beside locks."""
    folder = tmp_path / "cache" / "sr-zoo"
    return [path.name for path in folder.glob("*") if path.suffix != ".lock"]


def test_fetched_once_and_then_found_without_a_network(index, entry, tmp_path, capfd, monkeypatch):
    path = catalogue.find("tiny-x4")
    err = capfd.readouterr().err
    assert "BSD-3-Clause" in err and "github.com/xinntao/Real-ESRGAN" in err
    assert path.parent == tmp_path / "cache" / "sr-zoo" and _left(tmp_path) == [path.name]
    assert models.load("tiny-x4").count_params() == sum(
        array.size for arrays in read_arrays(path).values() for array in arrays)
    asked = len(index.requests)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    assert catalogue.find("tiny-x4") == path and len(index.requests) == asked
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("change, words", [
    (lambda row: replace(row, wheel=row.wheel._replace(sha256="0" * 64)),
     "serves another file than the zoo's authors saw"),
    (lambda row: replace(row, members={**dict.fromkeys(row.members, "0" * 64)}),
     "has the SHA-256"),
    (lambda row: replace(row, members={"tiny/other.bin": "0" * 64}), "has no file tiny/other.bin"),
    (lambda row: replace(row, wheel=row.wheel._replace(version="2.0")),
     "the index does not have it"),
    (lambda row: replace(row, model="edsr"), "an ncnn network"),
])
def test_what_does_not_fit_is_one_line_and_leaves_nothing(entry, tmp_path, monkeypatch, change,
                                                          words):
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny-x4", change(entry))
    with pytest.raises(UserError) as error:
        catalogue.find("tiny-x4")
    assert words in str(error.value) and "\n" not in str(error.value)
    assert _left(tmp_path) == []


@pytest.mark.parametrize("size", [1000, 20_000])
def test_a_full_disk_is_one_line_and_leaves_nothing(entry, tmp_path, capfd, size):
    files = [tmp_path / "net.bin", *(tmp_path / "index").rglob("*.whl")]
    assert all(file.stat().st_size < 20_000 for file in files)  # then only the .h5 is too large
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))  # as a disk without room
    try:
        with pytest.raises(SystemExit) as end:
            run_command(download.main, ["--weights", "tiny-x4"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    err = capfd.readouterr().err
    assert end.value.code == 2 and _left(tmp_path) == []
    assert err.splitlines()[-1].startswith("error: ") and "Traceback" not in err
    assert catalogue.find("tiny-x4").is_file()  # the same command, once there is room


def test_an_index_that_cannot_be_reached_is_one_line(entry, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(UserError, match="cannot be reached|does not have it"):
        catalogue.find("tiny-x4")
    assert _left(tmp_path) == []


def test_two_at_once_fetch_once(index, entry, tmp_path):
    code = ("import sys; sys.path.insert(0, sys.argv[1])\n"
            "from dataclasses import replace\n"
            "from common.weights.wheel import Wheel\n"
            "from models import catalogue\n"
            "row = catalogue.CATALOGUE['realesrgan-x4plus']\n"
            f"catalogue.CATALOGUE['tiny-x4'] = replace(row, name='tiny-x4', wheel={entry.wheel!r},"
            f" members={entry.members!r})\n"
            "print(catalogue.find('tiny-x4'))\n")
    processes = [subprocess.Popen([sys.executable, "-c", code, str(ROOT)], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True) for _ in range(2)]
    results = [process.communicate(timeout=200) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], results
    assert results[0][0] == results[1][0] and len(_left(tmp_path)) == 1
    wheels = [line for line in index.requests if ".whl" in line and line.startswith("GET")]
    assert len(wheels) == 1


def test_a_name_is_taken_wherever_a_path_is(photo):
    lr = photo(20, 24)[None].astype("float32")
    by_path = models.load(catalogue.HERE / "edsr" / "weights" / "edsr_x2.h5")
    assert np.array_equal(np.asarray(models.load("edsr-demo-x2")(lr)), np.asarray(by_path(lr)))
    with pytest.raises(UserError, match=re.escape("no weights 'edsr-x22' (did you mean "
                                                  "'edsr-x2'?)")):
        models.load("edsr-x22")
    with pytest.raises(UserError, match="VDSR_Official.mat"):
        models.load("vdsr-official")


@pytest.mark.parametrize("name", [name for name, row in catalogue.CATALOGUE.items()
                                  if row.kind == "bundled"])
def test_bundled_weights_are_what_the_catalogue_says(name):
    set_seed(0)
    row = catalogue.CATALOGUE[name]
    model = models.load(name)
    assert row.model in model.name and catalogue.find(name).stat().st_size < 8_000_000
    fresh = models.create(row.model, row.scale, **_options(name))
    assert fresh.count_params() == model.count_params()


def _options(name):
    from common.weights import read_metadata

    return read_metadata(catalogue.find(name))["options"]


def test_the_licence_of_weights_is_found_by_their_file(tmp_path):
    assert catalogue.licence(catalogue.find("edsr-x4")) == "Apache-2.0, this repository"
    entry = catalogue.CATALOGUE["realesrgan-x4plus"]
    pin = list(entry.members.values())[0][:8]
    assert catalogue.licence(cache_folder() / f"realesrgan-x4plus-{pin}.h5") == entry.licence
    assert catalogue.licence(tmp_path / "mine.h5") is None


def test_the_readme_has_the_catalogue():
    assert catalogue.as_markdown() in (ROOT / "README.md").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "weights.md").read_text(encoding="utf-8")
    assert catalogue.by_hand_as_markdown() in page
    for row in catalogue.CATALOGUE.values():
        if row.kind == "fetched":
            line = next(line for line in page.splitlines() if line.startswith(f"| `{row.name}` |"))
            assert row.licence.split(",")[0] in line and Path(list(row.members)[0]).stem in line
