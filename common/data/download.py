"""Download a file: resumable, verified, and complete or absent."""

import hashlib
import http.client
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Optional

from tqdm import tqdm

from common.cli import UserError, one_line
from common.files import make_folder

ATTEMPTS = 5  # in a row without a byte of progress
PAUSE = 1.0  # seconds before the second attempt; doubled before each further one
TIMEOUT = 30  # seconds without a byte
BLOCK = 1 << 20


def fetch(url: str, path, checksum: Optional[str] = None) -> None:
    """Download a file, unless it exists already and has the right checksum.

    Bytes go to `<path>.part`, which a later call continues. Broken connections and server errors
    (status 5xx) are retried a few times.

    Args:
        url: http or https.
        path: of the file.
        checksum: "sha256:..." or "md5:..."; without one only the size is verified.

    Raises:
        UserError: the URL cannot be reached or does not exist, the file is not the expected one, or
            the disk is full.
    """
    path = Path(path)
    if not url.startswith(("http://", "https://")):
        raise UserError(f"{url} is not an http or https URL")
    make_folder(path.parent)
    if path.is_file() and (checksum is None or _has_checksum(path, checksum)):
        return
    part = path.with_name(path.name + ".part")
    _receive(url, part, path)
    if checksum is not None and not _has_checksum(part, checksum):
        _forget(part)
        raise UserError(f"{url} is not the expected file (its checksum differs from {checksum}) "
                        f"and was deleted. Try again, or put the right file at {path}")
    os.replace(part, path)
    _forget(part)


def _receive(url, part, path):
    """Complete `part`, with retries."""
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
                raise UserError(f"cannot download {url}: {problem}; it may have moved. Put the "
                                f"file at {path} yourself and run this again") from error
        except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
            if isinstance(error, OSError) and error.filename:  # of the disk, not of the network
                raise
            reason = getattr(error, "reason", None) or error
            problem = f"cannot be reached ({one_line(reason) or type(error).__name__})"
        idle = 0 if _size(part) > before else idle + 1
        if idle >= ATTEMPTS:
            raise UserError(f"cannot download {url}: {problem}; check the network and run this "
                            f"again, which continues the download, or put the file at {path}")
        time.sleep(PAUSE * 2 ** max(0, idle - 1))


def _receive_once(url, part):
    """Request the missing bytes; returns whether the file is complete now."""
    have, tag = _size(part), _tag_file(part)
    headers = {"User-Agent": "sr-zoo", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if tag.is_file():  # if the file has changed, the server sends it from its start
            headers["If-Range"] = tag.read_text(encoding="ascii")
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers),
                                        timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        if error.headers.get("Content-Range") == f"bytes */{have}":
            return True
        _forget(part)  # it is longer than the file, so it is part of another
        return False
    with answer:
        length = answer.headers.get("Content-Length", "")
        start, total = 0, int(length) if length.isdigit() else None
        sent = re.match(r"bytes (\d+)-(\d+)/", answer.headers.get("Content-Range", ""))
        if answer.status == 206 and sent:
            start, total = int(sent.group(1)), int(sent.group(2)) + 1
        if start not in (0, have):
            _forget(part)
            return False
        _keep_tag(answer, tag)
        _check_room(part, (total or 0) - start)
        _write(answer, part, start, total)
    return total is None or _size(part) >= total


def _write(answer, part, start, total):
    with _bar(part.stem, total, start) as bar, open(part, "r+b" if start else "wb") as file:
        file.seek(start)
        for block in iter(lambda: answer.read(BLOCK), b""):
            try:
                file.write(block)
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(part)) from error
            bar.update(len(block))


def _keep_tag(answer, tag):
    """Store the file's version; a weak ETag does not identify its bytes."""
    value = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
    if value and not value.startswith("W/") and value.isascii():
        tag.write_text(value, encoding="ascii")
    elif tag.exists():
        tag.unlink()


def _check_room(part, missing):
    free = shutil.disk_usage(str(part.parent)).free
    if missing > free:
        raise UserError(f"{part.stem} needs {missing / 1e9:.1f} GB more and {part.parent} has "
                        f"{free / 1e9:.1f} GB free; make room, or name another folder")


def _has_checksum(path, checksum):
    kind, _, value = checksum.partition(":")
    digest = hashlib.new(kind)
    with _bar(f"checking {path.name}", _size(path)) as bar, open(path, "rb") as file:
        for block in iter(lambda: file.read(BLOCK), b""):
            digest.update(block)
            bar.update(len(block))
    return digest.hexdigest() == value


def _bar(title, total, initial=0):
    return tqdm(total=total, initial=initial, desc=title, unit="B", unit_scale=True,
                unit_divisor=1024, leave=False, disable=None)


def _size(path):
    return path.stat().st_size if path.is_file() else 0


def _tag_file(part):
    return part.with_name(part.name + ".tag")


def _forget(part):
    for path in (part, _tag_file(part)):
        if path.exists():
            path.unlink()
