"""Data and results at obs:// addresses, by moxing, which ModelArts images have."""

import contextlib
import importlib
import os
import shutil
import tempfile
from pathlib import Path

from common.cli import UserError, one_line
from common.files import atomic_folder, make_folder, write_text
from common.modelzoo.report import say

OBS = "obs://"


def moxing_file(*urls: str):
    """`moxing.file` where one of the urls is an obs:// address, else None.

    Raises:
        UserError: moxing is not here.
    """
    address = next((url for url in urls if url and url.startswith(OBS)), None)
    if address is None:
        return None
    try:
        return importlib.import_module("moxing").file
    except ImportError as error:
        raise UserError(f"{address} needs moxing, which only ModelArts images have ({error}); name "
                        "a folder, or run this job there") from error


def fetch(file, url: str, folder: Path) -> Path:
    """Copy what is at an obs:// address into a folder, which is made.

    Raises:
        UserError: nothing is there, or moxing failed.
    """
    folder = make_folder(folder)
    say(f"fetching {url} to {folder}")
    with _moxing_errors(f"{url} was not fetched"):
        if not file.exists(url):
            raise UserError(f"nothing at {url}; correct --data_url")
        file.copy_parallel(src_url=url, dst_url=str(folder))
    return folder


class Bucket:
    """A folder of results and its copy at an obs:// address.

    What the command prepares there for its own use (`cache/`) and files that it is still writing
    are not copied; checkpoints that it deletes are deleted at the address, too.

    Args:
        file: `moxing.file`.
        address: obs://...
        folder: where the command writes.
    """

    def __init__(self, file, address, folder):
        self.folder = Path(folder)
        self._file, self._address = file, address.rstrip("/")
        self._sent = {}

    def fetch(self):
        """Copy what an earlier job left at the address into the folder, unless it is there.

        Raises:
            UserError: the folder holds files of another address, or moxing failed.
        """
        source = self.folder / ".train_url"
        if self.folder.is_dir() and any(path != source for path in self.folder.iterdir()):
            before = source.read_text().strip() if source.is_file() else "another job"
            if before != self._address:
                raise UserError(f"{self.folder} holds files of {before}; empty it or choose "
                                "another --modelarts_result_dir")
            say(f"going on with the results in {self.folder}")
            return
        with _moxing_errors(f"{self._address} was not fetched"):
            held = self._file.exists(self._address) and self._file.list_directory(self._address)
        if held:
            with atomic_folder(self.folder) as temporary, \
                    _moxing_errors(f"{self._address} was not fetched"):
                self._file.copy_parallel(src_url=self._address, dst_url=str(temporary))
            self._sent = self._present()
            say(f"{len(self._sent)} files of an earlier job fetched from {self._address}")
        write_text(source, self._address + "\n")

    def try_to_send(self):
        """`send`; where it fails a line says so, since the next copy may succeed."""
        try:
            self.send()
        except UserError as error:
            say(f"{error}; this is tried again")

    def send(self):
        """Copy the files that are new or have changed.

        Raises:
            UserError: moxing failed.
        """
        present = self._present()
        with _moxing_errors(f"results were not copied to {self._address}"), \
                tempfile.TemporaryDirectory(prefix=".sending-", dir=str(self.folder)) as staged:
            changed = [name for name, state in present.items() if self._sent.get(name) != state]
            for name in changed:
                # The command goes on writing and deleting while moxing copies.
                (Path(staged) / name).parent.mkdir(parents=True, exist_ok=True)
                try:
                    shutil.copy2(str(self.folder / name), str(Path(staged) / name))
                except FileNotFoundError:
                    del present[name]
            changed = [name for name in changed if name in present]
            if changed:
                self._file.copy_parallel(src_url=staged, dst_url=self._address)
            for name in self._sent:
                if name not in present and "checkpoints" in Path(name).parts:
                    self._file.remove(f"{self._address}/{name}", recursive=False)
        self._sent = present
        if changed:
            say(f"{len(changed)} files copied to {self._address}")

    def _present(self):
        """{relative path: (time of the last change, size)} of the files that are complete."""
        present = {}
        for folder, folders, names in os.walk(str(self.folder)):
            folders[:] = [name for name in folders
                          if name != "cache" and not name.startswith(".")
                          and not name.endswith("_temp")]
            for name in names:
                if name.startswith(".") or ".tmp" in name or ".tempstate" in name:
                    continue
                path = Path(folder) / name
                with contextlib.suppress(FileNotFoundError):
                    state = path.stat()
                    present[path.relative_to(self.folder).as_posix()] = (state.st_mtime_ns,
                                                                         state.st_size)
        return present


@contextlib.contextmanager
def _moxing_errors(what):
    """Turn errors into `UserError`s: moxing raises those of whatever library it uses."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{what}: {type(error).__name__}: {one_line(error)}") from error
