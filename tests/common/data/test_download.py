"""Downloads from a local server that behaves badly."""

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from common.cli import UserError
from common.data import download as module
from common.data.download import fetch

DATA = bytes(range(256)) * 2000
SHA = "sha256:" + hashlib.sha256(DATA).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `files`; `faults` are taken one per request: names of what goes wrong."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.faults, self.ranges, self.version = {"/a.bin": DATA}, [], [], "v1"
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        server = self.server
        fault = server.faults.pop(0) if server.faults else None
        wanted = self.headers.get("Range")
        server.ranges.append(wanted)
        if isinstance(fault, int):
            return self.send_error(fault)
        data = server.files.get(self.path)
        if data is None:
            return self.send_error(404)
        start = int(re.match(r"bytes=(\d+)-$", wanted).group(1)) if wanted else 0
        tag = f'"{server.version}"'
        other_version = self.headers.get("If-Range", tag) != tag
        if other_version or fault in ("no ranges", "always says more"):
            start = 0
        if start >= len(data) and start:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        body = data[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("ETag", tag)
        length = len(body) + {"says more": 9, "always says more": 9, "says less": -9}.get(fault, 0)
        if fault != "no length":
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body[:len(body) // 2] if fault == "breaks off" else body[:length])
        return None


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module, "PAUSE", 0)
    server = Server()
    yield server
    server.shutdown()
    server.server_close()


def leftovers(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("faults", [
    [], ["breaks off"] * 4, [500, "breaks off", 503, "breaks off"], ["breaks off", "no ranges"],
    ["no length"], [429]])
def test_file_arrives_whole(server, tmp_path, faults):
    server.faults = list(faults)
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin", SHA)
    assert (tmp_path / "a.bin").read_bytes() == DATA and leftovers(tmp_path) == ["a.bin"]
    requests = len(server.ranges)
    assert requests == len(faults) + (not faults or faults[-1] not in ("no ranges", "no length"))
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin", SHA)
    assert len(server.ranges) == requests  # it is there already


def test_goes_on_where_an_earlier_call_stopped(server, tmp_path):
    server.faults = ["breaks off", *[500] * module.ATTEMPTS]
    with pytest.raises(UserError, match=r"cannot download http://.*a\.bin: .*500.*again"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin", SHA)
    assert (tmp_path / "a.bin.part").read_bytes() == DATA[:len(DATA) // 2]
    assert not (tmp_path / "a.bin").exists()
    server.ranges.clear()
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin", SHA)
    assert server.ranges == [f"bytes={len(DATA) // 2}-"]
    assert (tmp_path / "a.bin").read_bytes() == DATA


def test_a_complete_part_needs_no_further_byte(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(DATA)
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin", SHA)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "a.bin.part").write_bytes(DATA + b"of another file")
    fetch(f"{server.url}/a.bin", tmp_path / "b" / "a.bin")
    for folder in (tmp_path, tmp_path / "b"):
        assert (folder / "a.bin").read_bytes() == DATA


def test_another_version_is_fetched_from_its_start(server, tmp_path):
    server.faults = ["breaks off", *[503] * module.ATTEMPTS]
    with pytest.raises(UserError):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
    server.version, server.files["/a.bin"] = "v2", DATA[::-1]
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == DATA[::-1]


def test_a_lie_about_the_length_is_found_out(server, tmp_path):
    server.faults = ["says more"]  # the next answer says that nothing is missing
    fetch(f"{server.url}/a.bin", tmp_path / "honest.bin", SHA)
    assert (tmp_path / "honest.bin").read_bytes() == DATA
    server.faults = ["always says more"] * 50
    with pytest.raises(UserError, match=f"broke off after {len(DATA)} bytes"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin", SHA)
    server.faults = ["says less"]
    with pytest.raises(UserError, match="checksum differs"):
        fetch(f"{server.url}/a.bin", tmp_path / "new.bin", SHA)
    assert not [name for name in leftovers(tmp_path) if name.startswith("new")]
    assert not (tmp_path / "a.bin").exists()


@pytest.mark.parametrize("status", [404, 403, 410])
def test_a_missing_file_is_not_asked_for_again(server, tmp_path, status):
    server.faults = [status]
    with pytest.raises(UserError, match=f"{status}.*may have moved.*a.bin yourself") as error:
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
    assert len(server.ranges) == 1 and "\n" not in str(error.value) and not leftovers(tmp_path)


def test_an_address_that_cannot_be_reached(server, tmp_path, monkeypatch):
    server.shutdown()
    server.server_close()
    with pytest.raises(UserError, match="cannot be reached .*refused.*check the network"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
    with pytest.raises(UserError, match="not an http or https URL"):
        fetch("file:///etc/hostname", tmp_path / "a.bin")


def test_room_on_the_disk_is_checked_first(server, tmp_path, monkeypatch):
    usage = module.shutil.disk_usage(str(tmp_path))
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(UserError, match="a.bin needs .* GB more .*make room"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
    assert not (tmp_path / "a.bin.part").exists()
