"""What the tests share."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure():
    """As the entry points do: TensorFlow's start-up noise would bury the results."""
    sys.path.insert(0, str(ROOT))
    from common.device.open import quiet_tensorflow

    quiet_tensorflow("cpu")


@pytest.fixture(scope="session")
def shared():
    """The folder of public data and weights: beside the repository, or where SR_ZOO_SHARED says."""
    path = Path(os.environ.get("SR_ZOO_SHARED", ROOT.parent / "shared"))
    if not (path / "data").is_dir():
        pytest.skip(f"no data folder {path}")
    return path


@pytest.fixture(scope="session")
def run():
    """Run a command of the zoo as a process: `run("-m", "scripts.evaluate", ...)`.

    Returns the finished process with its text; its working folder is `cwd`, not the repository.
    """
    def run_python(*arguments, cwd, python=sys.executable, timeout=300, env=None):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
        return subprocess.run([python, *map(str, arguments)], cwd=str(cwd), env=environment,
                              capture_output=True, text=True, timeout=timeout)
    return run_python


@pytest.fixture(scope="session")
def other_python():
    """The interpreter of the other stack; `scripts/run_tests.sh` names it."""
    path = os.environ.get("SR_ZOO_OTHER_PYTHON")
    if not path:
        pytest.skip("SR_ZOO_OTHER_PYTHON does not name an interpreter of the other stack")
    return path


@pytest.fixture(scope="session")
def tf1_python():
    """The interpreter of the tf1 stack, which `scripts/run_tests.sh` makes from a Python 3.7."""
    path = os.environ.get("SR_ZOO_TF1_PYTHON")
    if not path:
        setup = subprocess.run(
            ["bash", str(ROOT / "scripts" / "setup.sh"), "--stack", "tf1", "--find"],
            capture_output=True, text=True)
        assert setup.returncode or os.environ.get("CI") != "true", (
            "there is a Python 3.7, but SR_ZOO_TF1_PYTHON names no interpreter of the tf1 stack")
        pytest.skip("SR_ZOO_TF1_PYTHON names no interpreter of the tf1 stack"
                    + (f" ({setup.stderr.strip()})" if setup.returncode else ""))
    return path


@pytest.fixture
def photo():
    """A photograph: uint8 RGB (H, W, 3) of any size up to 300 x 451, of scikit-image's cat."""
    from skimage import data

    def cut(height=300, width=451):
        return np.ascontiguousarray(data.chelsea()[:height, :width])
    return cut


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A folder of five small photographs, for runs that are to be short."""
    from PIL import Image
    from skimage import data

    folder = tmp_path_factory.mktemp("tiny")
    for name in ("astronaut", "chelsea", "coffee", "retina", "rocket"):
        photo = np.ascontiguousarray(getattr(data, name)()[96:240, 120:264])
        Image.fromarray(photo).save(str(folder / f"{name}.png"))
    return folder


@pytest.fixture(scope="session")
def vgg_file(tmp_path_factory):
    """A file laid out as the VGG19 weights of Keras, with random values in it."""
    import h5py

    from common.training import vgg

    path = tmp_path_factory.mktemp("vgg") / vgg.FILE
    rng = np.random.default_rng(0)
    with h5py.File(str(path), "w") as file:
        names, depth = ["input_1"], 3
        file.create_group("input_1").attrs["weight_names"] = np.array([], "S1")
        for block, (filters, count) in enumerate(vgg.BLOCKS, 1):
            for i in range(1, count + 1):
                name = f"block{block}_conv{i}"
                kernel = rng.normal(0, (2 / (9 * depth)) ** 0.5, (3, 3, depth, filters))
                group = file.create_group(name)
                group[f"{name}_W_1:0"] = kernel.astype("float32")
                group[f"{name}_b_1:0"] = rng.normal(0, 1, filters).astype("float32")
                group.attrs["weight_names"] = np.array([f"{name}_W_1:0", f"{name}_b_1:0"], "S")
                names.append(name)
                depth = filters
        file.attrs["layer_names"] = np.array(names, "S")
    return path


@pytest.fixture
def rank_table(tmp_path):
    """The environment of a process of several on NPUs: `rank_table(size, rank)`.

    The stand-in's processes of one run exchange values through a folder of `tmp_path`.
    """
    def environment(size, rank, exchange="exchange"):
        devices = [{"device_id": str(i), "device_ip": f"192.168.1.{i + 8}", "rank_id": str(i)}
                   for i in range(size)]
        table = {"version": "1.0", "status": "completed", "server_count": "1",
                 "server_list": [{"server_id": "127.0.0.1", "device": devices}]}
        (tmp_path / exchange).mkdir(exist_ok=True)
        (tmp_path / "rank_table.json").write_text(json.dumps(table))
        return {"RANK_SIZE": str(size), "RANK_ID": str(rank), "ASCEND_DEVICE_ID": str(rank),
                "RANK_TABLE_FILE": str(tmp_path / "rank_table.json"), "JOB_ID": "10087",
                "NPU_STANDIN_EXCHANGE": str(tmp_path / exchange)}
    return environment
