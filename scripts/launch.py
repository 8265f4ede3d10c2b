"""Start processes that train together on one machine: `python -m scripts.launch --help`."""

import argparse
import contextlib
import os
import shutil
import socket
import subprocess
import sys

from common.cli import UserError, run_command
from common.device.cluster import Cluster, share_out
from common.modelzoo.flags import value_of
from common.modelzoo.supervise import Child, Supervisor

GRACE = 20  # seconds from SIGTERM to SIGKILL for those that remain of a run that lost one


def main(argv):
    """Start the command `--workers` times; the status is that of the first that failed."""
    arguments = _parser().parse_args(argv)
    command = arguments.command[arguments.command[:1] == ["--"]:]
    if arguments.workers < 1 or not command:
        raise UserError("give the number of workers and a command, for example --workers 2 "
                        "python -m models.edsr.train ...")
    if command[0] in ("python", "python3"):
        command[0] = sys.executable
    if not shutil.which(command[0]):
        raise UserError(f"command not found: {command[0]}")
    gpus = [] if value_of(command, "--chip") in ("cpu", "npu") else _gpus()
    workers = _workers(command, arguments.workers, share_out(gpus, arguments.workers))
    with Supervisor() as supervisor:
        return supervisor.run(workers, GRACE)


def _workers(command, count, gpus):
    """The processes, each told by TF_CONFIG which of them it is."""
    addresses = tuple(f"127.0.0.1:{port}" for port in _free_ports(count))
    workers = []
    for rank in range(count):
        environment = {**os.environ, "TF_CONFIG": Cluster(rank, addresses).tf_config}
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus[rank])
        workers.append(Child(command, environment, f"worker {rank}", prefix=f"[{rank}] "))
    return workers


def _parser():
    parser = argparse.ArgumentParser(
        prog="bash scripts/launch.sh", description="Start a training command several times on this "
        "machine, as workers that train one model together. `python` means the zoo's. When one "
        f"fails the others are stopped, and killed after {GRACE} seconds. SIGTERM and Ctrl-C are "
        "passed on; a second one kills.")
    parser.add_argument("--workers", type=int, required=True, help="how many")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what each of them runs")
    return parser


def _gpus():
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [gpu for gpu in visible.split(",") if gpu]
    if not shutil.which("nvidia-smi"):
        return []
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, text=True, check=False).stdout
    return [str(i) for i, line in enumerate(listed.splitlines()) if line.startswith("GPU ")]


def _free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


if __name__ == "__main__":
    run_command(main)
