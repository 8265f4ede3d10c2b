"""What the tests share."""

import contextlib
import functools
import importlib
import io
import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
STACK = "main" if metadata.version("keras").startswith("3.") else "ascend"
# Tests of shell scripts, in which a stand-in takes the place of Python: one stack is enough.
SHELL_FIXTURES = {"checkout", "fake", "machine", "zoo"}
# A test of these builds, trains or exports networks for seconds.
SLOW_FILES = {
    "test_accuracy.py", "test_adding_a_model.py", "test_benchmark.py", "test_benchmark_gan.py",
    "test_catalogue.py", "test_compact_weights.py", "test_compare.py", "test_convert_perceptual.py",
    "test_degradation.py", "test_described.py", "test_edsr_network.py", "test_esrgan_modelzoo.py",
    "test_esrgan_network.py", "test_evaluate.py", "test_evaluate_many.py", "test_export.py",
    "test_forms.py", "test_frozen.py", "test_gan.py", "test_gan_training.py", "test_interpolate.py",
    "test_layers_perceptual.py", "test_loop.py", "test_matrix.py", "test_modelarts_entry.py",
    "test_modelzoo_scripts.py", "test_npu_check.py", "test_odd_pictures.py",
    "test_perceptual_weight.py", "test_published.py", "test_run_faults.py", "test_source.py",
    "test_srdrm.py", "test_srgan_modelzoo.py", "test_srgan_network.py", "test_steps.py",
    "test_tiff.py", "test_train_commands.py", "test_upscale.py", "test_upscaler.py",
    "test_vdsr_convert.py"}
MAIN_FIXTURES = {"torch", "torch_file", *SHELL_FIXTURES}
# Whoever asks for one of these starts a process.
PROCESS_FIXTURES = {"run", "start", "fork", "forked", "other_python", "tf1_python", "python37",
                    *SHELL_FIXTURES}


def pytest_configure():
    """As the entry points do: TensorFlow's start-up noise would bury the results."""
    sys.path.insert(0, str(ROOT))
    # PyTorch's threads spin while they wait: beside the other stack, 47 times the time of one.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from common.device.quiet import quiet_tensorflow

    quiet_tensorflow("cpu")


def pytest_collection_modifyitems(config, items):
    """Leave out the tests of the other stack; mark those that start processes and the slow ones."""
    kept, left_out = [], []
    for item in items:
        fixtures = set(item.fixturenames)
        if MAIN_FIXTURES & fixtures:
            item.add_marker(pytest.mark.stack("main"))
        if PROCESS_FIXTURES & fixtures:
            item.add_marker("process")
        if item.path.name in SLOW_FILES:
            item.add_marker("slow")
        stack = item.get_closest_marker("stack")
        (left_out if stack and stack.args != (STACK,) else kept).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


@pytest.fixture(autouse=True)
def log_reaches_caplog():
    """A command that ran in this process has kept the zoo's log from it."""
    logging.getLogger("sr_zoo").propagate = True


@pytest.fixture(scope="module")
def no_curves():
    """The runs of a module draw no curves, which takes a third of a second."""
    from common.training import loop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "draw_curves", lambda rows, path, *rest: path.write_bytes(b""))
        yield


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """Networks that are exported for an engine do not pile up in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def keras_is_the_engine(request, monkeypatch):
    """Commands in this process run networks with Keras; `fastest_engine` is for others."""
    if "fastest_engine" not in request.fixturenames:
        from models import engine_exports

        monkeypatch.setattr(engine_exports, "fastest", lambda chip, precision: "keras")


@pytest.fixture
def fastest_engine():
    """Commands in this process choose the engine as they do for users."""


@pytest.fixture(autouse=True)
def ctrl_c_reaches_pytest():
    """A command that ran in this process leaves Ctrl-C to end it silently."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


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


# What a forked process does: as Python at its start, but that TensorFlow is imported already.
FORKED = """
import atexit, os, runpy, sys

for number, path in enumerate(outputs, 1):
    os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY), number)
os.chdir(cwd)
os.environ.clear()
os.environ.update(environment)
sys.path[:0] = [cwd, *environment["PYTHONPATH"].split(os.pathsep)]
sys.argv = arguments[1:]
try:
    if arguments[0] == "-m":
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv[0] = "-c"
        exec(arguments[1], {"__name__": "__main__"})
finally:
    atexit._run_exitfuncs()
"""


class Fork:
    """A process of this stack's Python that is used like one of `subprocess.Popen`."""

    def __init__(self, context, folder, arguments, cwd, environment):
        self._outputs = [str(folder / name) for name in ("out", "err")]
        self._process = context.Process(target=exec, args=(FORKED, {
            "arguments": list(map(str, arguments)), "cwd": str(cwd), "environment": environment,
            "outputs": self._outputs}))
        self._process.start()
        self.pid, self.kill = self._process.pid, self._process.kill

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self._process.exitcode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def communicate(self, timeout=300):
        """Wait for its end; what it said on stdout and on stderr."""
        self._process.join(timeout)
        assert self.returncode is not None, f"still running after {timeout} s"
        return tuple(Path(path).read_text() for path in self._outputs)


@pytest.fixture(scope="session")
def fork(tmp_path_factory):
    """Start a process without the seconds that importing TensorFlow takes.

    `fork("-m", "models.edsr.train", ..., cwd=folder)` or `fork("-c", code, ...)` is a `Fork`. It is
    forked from a server that has imported TensorFlow and nothing of the zoo.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tensorflow", "keras"])

    def start(*arguments, cwd, env=None):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
        return Fork(context, tmp_path_factory.mktemp("fork"), arguments, cwd, environment)
    return start


@pytest.fixture
def forked(fork, tmp_path):
    """Run pieces of code beside the stand-ins of the adapter: `forked([(code, environment), ...])`.

    Each has a process of its own, for it changes TensorFlow. Returns (status, output) of each.
    """
    def run_all(cases):
        own = os.pathsep.join((str(ROOT), str(ROOT / "tests" / "standins")))
        processes = [fork("-c", code, cwd=tmp_path, env={
            **environment, "PYTHONPATH": f"{environment.get('PYTHONPATH', '')}{os.pathsep}{own}"})
            for code, environment in cases]
        return [("".join(process.communicate(120)), process.returncode)[::-1]
                for process in processes]
    return run_all


@pytest.fixture(scope="session")
def call():
    """Run a command of the zoo in this process: `call(evaluate.main, ..., cwd=folder)`.

    `main` may be the name of a module that has it. Returns what `run` returns: `run_command` around
    it gives the status and the line of an error.
    """
    def call_main(main, *arguments, cwd, env=None):
        from common.cli import run_command

        main = importlib.import_module(main).main if isinstance(main, str) else main
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), \
                contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
            patch.chdir(cwd)
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            run_command(main, list(map(str, arguments)))
        return subprocess.CompletedProcess(arguments, end.value.code, out.getvalue(),
                                           err.getvalue())
    return call_main


@pytest.fixture(scope="session")
def small_flags():
    """The flags of a model's train command that make its network small: `small_flags(name)`."""
    def of(name):
        import models

        return [word for option, value in models.model(name).small.items()
                for word in (f"--{option}", json.dumps(value))]
    return of


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
    return python_of("tf1")


@pytest.fixture(scope="session")
def python37():
    """The same of the ascend stack on Python 3.7."""
    return python_of("ascend37")


def python_of(stack):
    """The interpreter of a stack that only some tests use; they are skipped where it is not."""
    name = f"SR_ZOO_{stack.upper()}_PYTHON"
    path = os.environ.get(name)
    if not path:
        setup = subprocess.run(
            ["bash", str(ROOT / "scripts" / "setup.sh"), "--stack", stack, "--find"],
            capture_output=True, text=True)
        assert setup.returncode or os.environ.get("CI") != "true", (
            f"there is a Python 3.7, but {name} names no interpreter of the {stack} stack")
        pytest.skip(f"{name} names no interpreter of the {stack} stack"
                    + (f" ({setup.stderr.strip()})" if setup.returncode else ""))
    return path


@pytest.fixture(scope="session")
def torch():
    """PyTorch, which is no part of the ascend stack."""
    return pytest.importorskip("torch")


@pytest.fixture(scope="session")
def open_export():
    """An exported network as a function, by what its users would take: `open_export(format, path)`.
    """
    def saved_model(path):
        import tensorflow as tf

        module = tf.saved_model.load(str(path))
        return lambda lr: module.signatures["serving_default"](lr=tf.constant(lr))["sr"].numpy()

    def onnx(path):
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return lambda lr: session.run(None, {"lr": lr})[0]

    def openvino(path):
        import openvino

        network = openvino.Core().compile_model(str(path), "CPU", {
            "INFERENCE_PRECISION_HINT": "f32"})
        return lambda lr: network({"lr": lr})["sr"]

    def litert(path):
        import tensorflow as tf

        interpreter = tf.lite.Interpreter(str(path))
        before = interpreter.get_input_details()[0]["index"]

        def run(lr):
            interpreter.resize_tensor_input(before, lr.shape)
            interpreter.allocate_tensors()
            interpreter.set_tensor(before, lr)
            interpreter.invoke()
            return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        return run

    readers = {"saved_model": saved_model, "onnx": onnx, "openvino": openvino, "litert": litert}

    def opened(format, path):
        return readers[format](path)
    return opened


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


@pytest.fixture(scope="session")
def rank_tables():
    """The environment of a process of several on NPUs: `rank_tables(folder, size, rank)`.

    The stand-in's processes of one run exchange values through a folder within `folder`.
    """
    def environment(folder, size, rank, exchange="exchange"):
        devices = [{"device_id": str(i), "device_ip": f"192.168.1.{i + 8}", "rank_id": str(i)}
                   for i in range(size)]
        table = {"version": "1.0", "status": "completed", "server_count": "1",
                 "server_list": [{"server_id": "127.0.0.1", "device": devices}]}
        (folder / exchange).mkdir(exist_ok=True)
        (folder / "rank_table.json").write_text(json.dumps(table))
        return {"RANK_SIZE": str(size), "RANK_ID": str(rank), "ASCEND_DEVICE_ID": str(rank),
                "RANK_TABLE_FILE": str(folder / "rank_table.json"), "JOB_ID": "10087",
                "NPU_STANDIN_EXCHANGE": str(folder / exchange)}
    return environment


@pytest.fixture
def rank_table(tmp_path, rank_tables):
    """The same in a test's own folder: `rank_table(size, rank)`."""
    return functools.partial(rank_tables, tmp_path)
