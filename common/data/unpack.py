"""Unpack downloaded archives: only plain files, only inside the target, only up to a size."""

import lzma
import os
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections import namedtuple
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from common.cli import UserError, one_line
from common.files import make_folder, remove_leftovers, temporary_prefix

RATIO = 20  # images hardly compress: an archive that unpacks to more is an attack or a mistake
SPARE_BYTES = 50_000_000
MOST_ENTRIES = 200_000
BLOCK = 1 << 20

_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, RuntimeError)

Entry = namedtuple("Entry", "name size kind open")  # kind: "file", "folder", or what it is instead


def unpack(archive, places: dict, folder) -> None:
    """Unpack folders from a zip or tar archive; each becomes complete, or none appears.

    Args:
        archive: the file.
        places: {folder inside the archive: its new path below `folder`, which must not exist}.
            Everything else in the archive is left out.
        folder: the target.

    Raises:
        UserError: not an archive, damaged or without one of the folders; or malicious: an entry
            outside its folder, a link or a device, or far more bytes than the archive can plausibly
            hold.
    """
    archive, folder = Path(archive), make_folder(folder)
    remove_leftovers(folder)
    temporary = Path(tempfile.mkdtemp(prefix=temporary_prefix(folder, "unpacking"),
                                      dir=str(folder)))
    try:
        _unpack_into(temporary, archive, places)
        for inside, target in places.items():
            if not (temporary / inside).is_dir():
                raise UserError(f"{archive} has no folder {inside}; it is not the expected archive")
            make_folder((folder / target).parent)
            os.replace(temporary / inside, folder / target)
    finally:
        shutil.rmtree(str(temporary), ignore_errors=True)


def _unpack_into(temporary, archive, places):
    size, free, total = archive.stat().st_size, shutil.disk_usage(str(temporary)).free, 0
    try:
        for count, entry in enumerate(tqdm(_entries(archive, temporary), unit="file", leave=False,
                                           desc=f"unpacking {archive.name}", disable=None)):
            inside = _checked_name(entry.name, archive)
            total += max(0, entry.size)
            if total > size * RATIO + SPARE_BYTES or count >= MOST_ENTRIES:
                raise UserError(f"{archive} would unpack to far more than {size} bytes can "
                                "plausibly hold; not unpacked")
            if not any(PurePosixPath(place) in (inside, *inside.parents) for place in places):
                continue
            if entry.kind not in ("file", "folder"):
                raise UserError(f"{archive} has {entry.kind} {entry.name}; not unpacked")
            if total > free:
                raise UserError(f"{archive} needs more than the {free / 1e9:.1f} GB free in "
                                f"{temporary.parent}; make room, or name another folder")
            _write(entry, temporary / inside, archive)
    except (*_DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # gzip's errors have no number
            raise
        raise UserError(f"{archive} is damaged ({one_line(error)}); delete it and download it "
                        "again") from error


def _entries(archive, target):
    """The entries of an archive, read one by one."""
    if zipfile.is_zipfile(str(archive)):
        with zipfile.ZipFile(str(archive)) as file:
            for info in file.infolist():
                kind = "folder" if info.is_dir() else _kind_of_mode(info.external_attr >> 16)
                yield Entry(info.orig_filename, info.file_size, kind,
                            lambda info=info: file.open(info))
        return
    # Python's own filter, where it has one, is a second lock behind the checks above.
    data_filter = getattr(tarfile, "data_filter", lambda info, target: info)
    try:
        with tarfile.open(str(archive)) as file:
            for info in file:
                kind = ("file" if info.isreg() else "folder" if info.isdir()
                        else "a link" if info.issym() or info.islnk() else "a device")
                yield Entry(info.name, info.size, kind,
                            lambda info=info: file.extractfile(data_filter(info, str(target))))
    except tarfile.ReadError as error:
        raise UserError(f"{archive} is neither a zip nor a tar archive, or is truncated; delete it "
                        "and download it again") from error


def _kind_of_mode(mode):
    if stat.S_ISLNK(mode):
        return "a link"
    return "file" if stat.S_IFMT(mode) in (0, stat.S_IFREG) else "a device"


def _checked_name(name, archive):
    path = PurePosixPath(name)
    if (path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name
            or re.match(r"[A-Za-z]:", name)):
        raise UserError(f"{archive} has an entry outside its own folder, {name!r}; not unpacked")
    return path


def _write(entry, path, archive):
    if entry.kind == "folder":
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with entry.open() as source, open(path, "xb") as target:
        for block in iter(lambda: source.read(BLOCK), b""):
            written += len(block)
            if written > entry.size:
                raise UserError(f"{archive} states a wrong size for {entry.name}; not unpacked")
            target.write(block)
    if written != entry.size:
        raise UserError(f"{archive} is damaged: {entry.name} is truncated; delete it and download "
                        "it again")
