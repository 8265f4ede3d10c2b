"""A file from a public address: resumed where it broke off, checked, whole or absent."""

import hashlib
import http.client
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from common.cli import UserError, one_line
from common.files import make_folder

ATTEMPTS = 5  # in a row without a byte of progress
PAUSE = 1.0  # seconds before the second attempt, doubled before each further one
TIMEOUT = 30  # seconds without an answer or a byte
BLOCK = 1 << 20


def fetch(url, path, checksum=None):
    """Fetch a file; nothing is done where it is there already and has the checksum.

    Bytes arrive in `<path>.part`, from which a later call goes on. A broken connection and
    errors of the server (status 5xx) are tried again a few times.

    Args:
        url: http or https.
        path: of the file.
        checksum: "sha256:..." or "md5:..."; without one the size that the server says must match.

    Raises:
        UserError: the address cannot be reached or has no such file, the file is not what was
            expected, or the disk has no room.
    """
    path = Path(path)
    if not url.startswith(("http://", "https://")):
        raise UserError(f"{url} is no http or https address")
    make_folder(path.parent)
    if path.is_file() and (checksum is None or _has_checksum(path, checksum)):
        return
    part = path.with_name(path.name + ".part")
    _receive(url, part, path)
    if checksum is not None and not _has_checksum(part, checksum):
        _forget(part)
        raise UserError(f"{url} is not the file that was expected (its checksum differs from "
                        f"{checksum}); it was removed. Try again, or put the right file at {path}")
    os.replace(part, path)
    _forget(part)


def _receive(url, part, path):
    """Bring `part` to its full size."""
    idle = 0
    while True:
        before = _size(part)
        try:
            if _receive_once(url, part):
                return
            problem = f"the connection broke off after {_size(part)} bytes"
        except urllib.error.HTTPError as error:
            problem = f"the server answers {error.code} {one_line(error.reason)}"
            if error.code < 500 and error.code not in (408, 429):
                raise UserError(f"cannot fetch {url}: {problem}; the file may have moved. Put it "
                                f"at {path} by other means and run this again") from error
        except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
            if isinstance(error, OSError) and error.filename:
                raise
            reason = getattr(error, "reason", None) or error
            problem = f"cannot be reached ({one_line(reason) or type(error).__name__})"
        idle = 0 if _size(part) > before else idle + 1
        if idle >= ATTEMPTS:
            raise UserError(f"cannot fetch {url}: {problem}; check the network and run this again "
                            f"(it goes on where it stopped), or put the file at {path}")
        time.sleep(PAUSE * 2 ** max(0, idle - 1))


def _receive_once(url, part):
    """Ask for what is missing; whether the file is complete now."""
    have, tag = _size(part), part.with_name(part.name + ".tag")
    headers = {"User-Agent": "sr-zoo", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if tag.is_file():  # another file by now is sent from its start
            headers["If-Range"] = tag.read_text(encoding="ascii")
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers),
                                        timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        whole = re.match(r"bytes \*/(\d+)$", error.headers.get("Content-Range", ""))
        if whole and int(whole.group(1)) == have:
            return True
        _forget(part)  # longer than the file: it is of another
        return False
    with answer:
        start, total = _range(answer, have)
        if start != have:
            have = 0
            if start:
                _forget(part)
                return False
        _keep_tag(answer, tag)
        _check_room(part, (total or 0) - have)
        ended = _write(answer, part, have, total)
    return ended and (total is None or _size(part) >= total)


def _range(answer, have):
    """(first byte, size of the whole file or None) of what an answer brings."""
    sent = re.match(r"bytes (\d+)-\d+/(\d+|\*)$", answer.headers.get("Content-Range", ""))
    if answer.status == 206 and sent:
        return int(sent.group(1)), None if sent.group(2) == "*" else int(sent.group(2))
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _write(answer, part, have, total):
    """Append what comes; whether it came to an orderly end."""
    with open(part, "r+b" if have else "wb") as file, tqdm(
            total=total, initial=have, desc=part.name[:-5], unit="B", unit_scale=True,
            unit_divisor=1024, leave=False, disable=None) as bar:
        file.seek(have)
        broken = False
        while True:
            try:
                block = answer.read(BLOCK)
            except http.client.IncompleteRead as error:
                block, broken = error.partial, True
            try:
                file.write(block)
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(part)) from error
            bar.update(len(block))
            if broken or not block:
                return not broken


def _keep_tag(answer, tag):
    """Remember the version of the file; weak tags say nothing of its bytes."""
    value = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
    if value and not value.startswith("W/") and value.isascii():
        tag.write_text(value, encoding="ascii")
    elif tag.exists():
        tag.unlink()


def _check_room(part, missing):
    free = shutil.disk_usage(str(part.parent)).free
    if missing > free:
        raise UserError(f"{part.name[:-5]} needs {missing / 1e9:.1f} GB more and {part.parent} has "
                        f"{free / 1e9:.1f} GB free; make room, or name another folder")


def _has_checksum(path, checksum):
    kind, _, value = checksum.partition(":")
    digest = hashlib.new(kind)
    with open(path, "rb") as file, tqdm(
            total=_size(path), desc=f"checking {path.name}", unit="B", unit_scale=True,
            unit_divisor=1024, leave=False, disable=None) as bar:
        for block in iter(lambda: file.read(BLOCK), b""):
            digest.update(block)
            bar.update(len(block))
    return digest.hexdigest() == value


def _size(path):
    return path.stat().st_size if path.is_file() else 0


def _forget(part):
    for path in (part, part.with_name(part.name + ".tag")):
        if path.exists():
            path.unlink()
