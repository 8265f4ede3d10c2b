"""Decides once per processor whether an old TensorFlow may use oneDNN, by trying it in a child.

TensorFlow 2.5 to 2.8 contain oneDNN but leave it off; the zoo switches it on, since a train step of
convolutions is then more than twice as fast. The oneDNN of TensorFlow 2.6.5 divides by zero in
every convolution on AMD processors of Zen 5 with AVX-512, which ends the process with SIGFPE.

It runs on Python 3.7 too and imports no TensorFlow: the variable counts only before the import.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, MutableMapping
from pathlib import Path

from common.cli import UserError
from common.device.machine import processor_fields, processor_name
from common.files import cache_folder, write_text
from common.python37 import installed_version

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
# "<version of TensorFlow> <value of VARIABLE> <why it is 0>", set with VARIABLE. Child processes
# inherit both; a VARIABLE that this does not describe is the user's.
CHOSEN = "SR_ZOO_ONEDNN"
CRASHES, UNTRIED = "it crashes on this processor", "it could not be tried"

# TensorFlow reads VARIABLE from 2.5 on, and from 2.9 on has oneDNN on by itself: there it is a
# later oneDNN, which whoever starts TensorFlow relies on.
FIRST, SETTLED = (2, 5), (2, 9)

_NAMES = ("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tensorflow-aarch64",
          "tensorflow-cpu-aws", "intel-tensorflow")
_PATIENCE = 300  # seconds that the child may take
# Signals that a fault in the child's own code raises. Others come from outside (out of memory), and
# a status is an exception (a broken installation): neither says anything about the processor.
_FAULTS = {-signal.SIGFPE, -signal.SIGILL, -signal.SIGSEGV, -signal.SIGBUS, -signal.SIGABRT}

# Train steps of small networks, as single convolutions do not show every fault.
PROBE = """
import resource
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
import tensorflow as tf
tf.config.set_visible_devices([], "GPU")

@tf.function
def step(image, kernels):
    with tf.GradientTape() as tape:
        tape.watch(kernels)
        x = image
        for kernel in kernels:
            x = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"),
                                          tf.zeros(kernel.shape[-1])))
        loss = tf.reduce_mean(tf.square(x))
    return tape.gradient(loss, kernels)

NETWORKS = [[(9, 3, 64), (1, 64, 32), (5, 32, 3)], [(3, 3, 64), (3, 64, 64), (3, 64, 256)],
            [(3, 1, 8), (3, 8, 1)], [(3, 256, 64), (3, 64, 3)]]
for batch, side in ((1, 17), (4, 48)):
    for layers in NETWORKS:
        image = tf.random.uniform([batch, side, side, layers[0][1]])
        kernels = [tf.random.normal([size, size, *channels], stddev=0.05)
                   for size, *channels in layers]
        for gradient in step(image, kernels):
            gradient.numpy()
"""


def choose(environ: MutableMapping[str, str] = os.environ,
           child: Callable[[], int] | None = None) -> None:
    """Set `TF_ENABLE_ONEDNN_OPTS` for the TensorFlow that is installed, which is not imported yet.

    A value that the user has set stays.

    Args:
        environ: the environment of this process and its children.
        child: gives the status of a child process that computes with oneDNN, as `subprocess` does
            (a signal is negative); by default `run_probe`.
    """
    version = tensorflow_version()
    drop_of_another(environ, version)
    if version is None or VARIABLE in environ:
        return
    tried = FIRST <= _pair(version) < SETTLED
    why = why_off(version, environ, child or run_probe) if tried else ""
    environ[VARIABLE] = "0" if why else "1"
    environ[CHOSEN] = f"{version} {environ[VARIABLE]} {why}".rstrip()


def drop_of_another(environ: MutableMapping[str, str], version: str | None) -> None:
    """Unset what a parent process chose for a TensorFlow of another version."""
    chosen_for, value, _ = _chosen(environ)
    if value and environ.get(VARIABLE) == value and chosen_for != version:
        del environ[VARIABLE], environ[CHOSEN]


def note(environ: MutableMapping[str, str] = os.environ) -> str | None:
    """What the log line of a CPU says about oneDNN: None unless it was left off here."""
    _, value, why = _chosen(environ)
    return f"oneDNN off: {why}" if why and value == environ.get(VARIABLE) else None


def why_off(version: str, environ: MutableMapping[str, str], child: Callable[[], int]) -> str:
    """Why oneDNN has to stay off, by the remembered answer, else the child's; "" where it works.

    Args:
        version: of TensorFlow.
        environ: says where the user's cache is.
        child: see `choose`.
    """
    key = f"TensorFlow {version} on {processor()}"
    paths = cache_files(environ)
    for path in paths:
        answer = _read(path).get(key)
        if isinstance(answer, bool):
            return "" if answer else CRASHES
    status = child()
    if status != 0 and status not in _FAULTS:
        return UNTRIED
    for path in paths:
        with contextlib.suppress(OSError, UserError):  # a read-only place: tried again next time
            write_text(path, json.dumps({**_read(path), key: status == 0}, indent=1) + "\n")
            break
    return CRASHES if status else ""


def run_probe() -> int:
    """Run `PROBE` with oneDNN on in a child process; returns its status."""
    environ = {**os.environ, VARIABLE: "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        return subprocess.run([sys.executable, "-c", PROBE], env=environ, timeout=_PATIENCE,
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode
    except (OSError, subprocess.TimeoutExpired):
        return 1


def cache_files(environ: MutableMapping[str, str]) -> list[Path]:
    """Where answers are kept: in an environment made by scripts/setup.sh, and in the user's cache.

    The answer goes into the first that can be written.
    """
    paths = []
    if os.path.exists(os.path.join(sys.prefix, ".sr-zoo")):  # setup.sh writes it
        paths.append(Path(sys.prefix, "onednn.json"))
    cache = cache_folder(environ)
    if cache.is_absolute():  # not so for a user without a home
        paths.append(cache / "onednn.json")
    return paths


def processor() -> str:
    """The processor's model, with a digest of what it can do: a virtual machine may hide some."""
    fields = processor_fields()
    exact = [fields.get(name, "") for name in (
        "vendor_id", "cpu family", "model", "stepping", "flags",  # x86
        "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "Features")]  # ARM
    return f"{processor_name()} ({hashlib.sha256(repr(exact).encode()).hexdigest()[:8]})"


def tensorflow_version() -> str | None:
    """The version of the TensorFlow that is installed; None where its metadata does not say."""
    for name in _NAMES:
        with contextlib.suppress(Exception):  # its metadata are broken
            if installed_version(name):
                return installed_version(name)
    return None


def _chosen(environ):
    version, value, why = [*environ.get(CHOSEN, "").split(" ", 2), "", "", ""][:3]
    return version, value, why


def _pair(version):
    numbers = version.split(".")[:2]
    return tuple(int(n) if n.isdigit() else 0 for n in numbers)


def _read(path):
    try:
        answers = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return answers if isinstance(answers, dict) else {}


def main() -> None:
    """Decide now, for scripts/setup.sh; prints one line where this TensorFlow has to be tried."""
    version = tensorflow_version()
    if version and FIRST <= _pair(version) < SETTLED:
        why = why_off(version, os.environ, run_probe)
        print(f"oneDNN off: {why}" if why else "oneDNN on: it works on this processor")


if __name__ == "__main__":
    main()
