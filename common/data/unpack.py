"""Archives from elsewhere: only plain files, only inside the target, only up to a size."""

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

RATIO = 20  # images hardly shrink: a larger archive inside is an attack or a mistake
SPARE_BYTES = 50_000_000
MOST_ENTRIES = 200_000
BLOCK = 1 << 20

_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, RuntimeError)

Entry = namedtuple("Entry", "name size kind open")  # kind: file, folder, or what else it is


def unpack(archive, places, folder):
    """Unpack parts of a zip or tar archive; each part appears whole, or not at all.

    Args:
        archive: the file; its content says what it is.
        places: {folder inside the archive: folder below `folder` that it becomes}. The latter must
            not exist. What else the archive holds is left out.
        folder: the target.

    Raises:
        UserError: not an archive, damaged or lacking a part; or hostile: an entry outside its
            folder, a link or a device where a file should be, or far more bytes than the archive
            could honestly hold. Nothing is then left in `folder`.
    """
    archive, folder = Path(archive), make_folder(folder)
    remove_leftovers(folder)
    temporary = Path(tempfile.mkdtemp(prefix=temporary_prefix(folder, "unpacking"),
                                      dir=str(folder)))
    try:
        _unpack_into(temporary, archive, places)
        for inside, target in places.items():
            if not (temporary / inside).is_dir():
                raise UserError(f"{archive} has no folder {inside}; it is not the archive that was "
                                "expected")
            make_folder((folder / target).parent)
            os.replace(temporary / inside, folder / target)
    finally:
        shutil.rmtree(str(temporary), ignore_errors=True)


def _unpack_into(temporary, archive, places):
    limit = archive.stat().st_size * RATIO + SPARE_BYTES
    free = shutil.disk_usage(str(temporary)).free
    total = 0
    try:
        with tqdm(desc=f"unpacking {archive.name}", unit="file", leave=False,
                  disable=None) as bar:
            for count, entry in enumerate(_entries(archive)):
                inside = _checked_name(entry.name, archive)
                total += max(0, entry.size)
                if total > limit or count >= MOST_ENTRIES:
                    raise UserError(f"{archive} would unpack to far more than its "
                                    f"{archive.stat().st_size} bytes can honestly hold; not "
                                    "unpacked")
                if not any(PurePosixPath(place) in (inside, *inside.parents) for place in places):
                    continue
                if entry.kind not in ("file", "folder"):
                    raise UserError(f"{archive} has {entry.kind} {entry.name}; not unpacked")
                if total > free:
                    raise UserError(f"{archive} needs more than the {free / 1e9:.1f} GB free in "
                                    f"{temporary.parent}; make room, or name another folder")
                _write(entry, temporary / inside, archive)
                bar.update()
    except (*_DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # gzip's errors have no number
            raise
        raise UserError(f"{archive} is damaged ({one_line(error)}); remove it and fetch it "
                        "again") from error


def _entries(archive):
    """The entries of an archive, each before the next is looked for."""
    if zipfile.is_zipfile(str(archive)):
        with zipfile.ZipFile(str(archive)) as file:
            for info in file.infolist():
                mode = info.external_attr >> 16
                kind = "folder" if info.is_dir() else _kind_of_mode(mode)
                yield Entry(info.orig_filename, info.file_size, kind,
                            lambda info=info: file.open(info))
        return
    try:
        with tarfile.open(str(archive)) as file:
            for info in file:
                kind = ("file" if info.isreg() else "folder" if info.isdir()
                        else "a link" if info.issym() or info.islnk() else "a device")
                yield Entry(info.name, info.size, kind, lambda info=info: file.extractfile(info))
    except tarfile.ReadError as error:
        raise UserError(f"{archive} is neither a zip nor a tar archive, or is cut off; remove it "
                        "and fetch it again") from error


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
                raise UserError(f"{archive} lies about the size of {entry.name}; not unpacked")
            target.write(block)
    if written != entry.size:
        raise UserError(f"{archive} is damaged: {entry.name} is cut off; remove it and fetch it "
                        "again")
