"""`moxing.file`. $MOXING_FAILS names the calls that fail: upload, download."""

import multiprocessing
import os
import shutil
from pathlib import Path


class ObsError(Exception):
    """What moxing's OBS client raises."""


def exists(url):
    return _local(url).exists()


def list_directory(url, recursive=False):
    folder = _local(url)
    return sorted(str(path.relative_to(folder))
                  for path in (folder.rglob("*") if recursive else folder.iterdir()))


def copy_parallel(src_url, dst_url, file_list=None, threads=16, is_processing=True, use_queue=True):
    if ("upload" if dst_url.startswith("obs://") else "download") in os.environ.get(
            "MOXING_FAILS", ""):
        raise ObsError("[Errno 403]\nAccess Denied")
    source = _local(src_url)
    if not source.is_dir():
        raise ObsError(f"no folder {src_url}")
    names = [path.relative_to(source) for path in source.rglob("*") if path.is_file()]
    pairs = [(source / name, _local(dst_url) / name) for name in names
             if file_list is None or str(name) in file_list]
    if is_processing:
        with multiprocessing.get_context("fork").Pool(min(threads, 2)) as pool:
            pool.map(_copy, pairs)
    else:
        for pair in pairs:
            _copy(pair)


def remove(url, recursive=False):
    path = _local(url)
    if not path.exists():
        raise ObsError(f"nothing at {url}")
    if path.is_dir():
        if not recursive:
            raise ObsError(f"{url} is a folder")
        shutil.rmtree(str(path))
    else:
        path.unlink()


def _copy(pair):
    source, target = pair
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(str(source), str(target))


def _local(url):
    if url.startswith("obs://"):
        return Path(os.environ["MOXING_BUCKETS"]) / url[len("obs://"):]
    return Path(url)
