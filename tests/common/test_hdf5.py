"""HDF5 files that no honest program wrote."""

import h5py
import numpy as np
import pytest

from common.cli import UserError
from common.hdf5 import read_hdf5


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.h5"


def total(file):
    return float(np.asarray(file["x"]).sum())


def test_an_honest_file_is_read(path):
    with h5py.File(path, "w") as file:
        file["group/x"] = np.arange(10.0)
        file["x"] = h5py.SoftLink("/group/x")
        file["group/again"] = file["group"]  # a group that holds itself
    assert read_hdf5(path, total) == 45


def external_link(file):
    file["x"] = h5py.ExternalLink("other.h5", "/x")


def external_raw(file):
    file.create_dataset("x", (4,), "u1", external=[("/etc/passwd", 0, 4)])


def virtual(file):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
    file.create_virtual_dataset("x", layout)


def huge(file):
    file.create_dataset("x", (10**6, 1000, 1000), "f4", chunks=(1, 1000, 1000))


def expanding(file):
    for i in range(3):
        file.create_dataset(f"x{i}", (150_000_000,), "f4", chunks=(150_000,), compression="gzip")


@pytest.mark.parametrize("make, said", [
    (external_link, "a.h5 is not read: x is a link to another file"),
    (external_raw, "a.h5 is not read: its array x lies in another file"),
    (virtual, "a.h5 is not read: its array x lies in another file"),
    (huge, r"a.h5 is not read: its arrays ask for more than 0.5 GB"),
    (expanding, r"a.h5 is not read: its arrays ask for more than 0.5 GB"),
])
def test_what_lies_elsewhere_or_cannot_be_is_refused(path, make, said):
    with h5py.File(path, "w") as file:
        make(file)
    with pytest.raises(UserError, match=said):
        read_hdf5(path, total)


def test_missing_foreign_and_damaged_files(path):
    with pytest.raises(UserError, match="no such file: .*a.h5"):
        read_hdf5(path, total)
    path.write_bytes(b"text")
    with pytest.raises(UserError, match="a.h5 is not an HDF5 file, or is cut off"):
        read_hdf5(path, total)
    with h5py.File(path, "w") as file:
        file["y"] = 1
    with pytest.raises(UserError, match="a.h5 is damaged or cut off"):
        read_hdf5(path, total)
