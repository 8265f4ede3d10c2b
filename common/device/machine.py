"""Which chips this machine has, by the files of their drivers: nothing is imported for it."""

import contextlib
import glob
import os
import platform
import subprocess
from pathlib import Path

NVIDIA_TRACES = "/proc/driver/nvidia/version /dev/nvidiactl /usr/lib/wsl/lib/libcuda.so.1"


def npu_paths() -> str:
    """Where files of NPUs are looked for: $SR_ZOO_NPU_DEVICES, else the driver's devices."""
    return os.environ.get("SR_ZOO_NPU_DEVICES", "/dev/davinci[0-9]*")


def npu_count() -> int:
    """How many NPUs the driver shows."""
    return sum(len(glob.glob(path)) for path in npu_paths().split())


def usual_stack() -> str:
    """The stack for this machine where nobody names one: ascend beside an NPU, else main."""
    return "ascend" if npu_count() else "main"


def has_adapter(python: str) -> bool:
    """Whether another Python has the adapter, which then says itself what it lacks."""
    code = "import importlib.util as u, sys; sys.exit(u.find_spec('npu_device') is None)"
    return not subprocess.run([python, "-c", code], stderr=subprocess.DEVNULL).returncode


def gpu_driver() -> bool:
    """Whether an NVIDIA driver is here; $SR_ZOO_NVIDIA_TRACES names other traces of one."""
    traces = os.environ.get("SR_ZOO_NVIDIA_TRACES", NVIDIA_TRACES)
    return any(os.path.exists(trace) for trace in traces.split())


def processor_fields() -> dict:
    """What Linux says of the first processor, by its words, e.g. `model name` and `flags`."""
    fields = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines():
            name, _, value = line.partition(":")
            fields[name.strip()] = value.strip()
    return fields


def processor_name() -> str:
    """The processor's model, e.g. AMD EPYC 9R14."""
    return processor_fields().get("model name") or platform.processor() or platform.machine()
