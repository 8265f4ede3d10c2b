"""Start processes that train together on one machine: `python -m scripts.launch --help`."""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

from common.cli import UserError, run_command
from common.device.cluster import Cluster, share_out

GRACE = 20  # seconds from SIGTERM to SIGKILL for those that remain of a run that lost one


def main(argv):
    """Start the command `--workers` times; the status is that of the first that failed."""
    arguments = _parser().parse_args(argv)
    command = arguments.command[arguments.command[:1] == ["--"]:]
    if arguments.workers < 1 or not command:
        raise UserError("name how many and what: --workers 2 python -m models.edsr.train ...")
    if command[0] in ("python", "python3"):
        command[0] = sys.executable
    if not shutil.which(command[0]):
        raise UserError(f"no command {command[0]}")
    gpus = [] if _chip(command) in ("cpu", "npu") else _gpus()
    return _Workers(command, arguments.workers, share_out(gpus, arguments.workers)).wait()


def _parser():
    parser = argparse.ArgumentParser(
        prog="bash scripts/launch.sh", description="Start a training command several times on this "
        "machine, as workers that train one model together. `python` is this zoo's. Where one is "
        f"lost the others are ended within {GRACE} seconds; SIGTERM and Ctrl-C are passed on, and "
        "a second one kills.")
    parser.add_argument("--workers", type=int, required=True, help="how many")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what each of them runs")
    return parser


class _Workers:
    """The processes, each told by TF_CONFIG which of them it is."""

    def __init__(self, command, count, gpus):
        addresses = tuple(f"127.0.0.1:{port}" for port in _free_ports(count))
        self._lock, self._told = threading.Lock(), 0
        self._processes, self._watching, self._threads = [], [], []
        self._failed = []  # (rank, status), in the order in which they ended
        before = {s: signal.signal(s, self._pass_on)
                  for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
        self._before = before
        for rank in range(count):
            environment = {**os.environ, "TF_CONFIG": Cluster(rank, addresses).tf_config}
            if gpus:
                environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus[rank])
            # In sessions of their own: Ctrl-C comes from here, and once.
            process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       start_new_session=True)
            self._processes.append(process)
            self._watching.append(threading.Thread(target=self._note, args=(rank, process)))
            self._watching[-1].start()
            for source, target in ((process.stdout, sys.stdout), (process.stderr, sys.stderr)):
                thread = threading.Thread(target=self._copy, args=(rank, source, target))
                thread.start()
                self._threads.append(thread)

    def wait(self):
        """Wait for all; end those that remain when one has failed."""
        kill_at, running = None, True
        while running:
            running = any(thread.is_alive() for thread in self._watching)
            if self._failed and not kill_at and not self._told:
                self._say(f"error: worker {_ended(*self._failed[0])}; the others are ended")
                self._signal(signal.SIGTERM)
                kill_at = time.monotonic() + GRACE
            if kill_at and time.monotonic() > kill_at:
                self._signal(signal.SIGKILL)
            if running:
                time.sleep(0.1)
        for thread in self._threads:
            thread.join()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        return _status(self._failed[0][1]) if self._failed else 0

    def _note(self, rank, process):
        if process.wait():
            self._failed.append((rank, process.returncode))

    def _pass_on(self, number, _):
        self._signal(signal.SIGKILL if self._told else number)
        self._told = number

    def _signal(self, number):
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(number)

    def _say(self, line):
        with self._lock:
            print(line, file=sys.stderr, flush=True)

    def _copy(self, rank, source, target):
        """Lines and the states of progress bars, with the worker's number before them."""
        rest = b""
        while True:
            chunk = os.read(source.fileno(), 65536)
            *lines, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
            if not chunk and rest:
                lines.append(rest)
            text = "".join(f"[{rank}] {line.decode(errors='replace')}\n" for line in lines
                           if line.strip())
            with self._lock:
                target.write(text)
                target.flush()
            if not chunk:
                return


def _status(code):
    """As a shell gives it."""
    return code if code >= 0 else 128 - code


def _ended(rank, code):
    if code < 0:
        return f"{rank} was killed by {signal.Signals(-code).name}"
    return f"{rank} ended with status {code}"


def _chip(command):
    """The value of the last --chip in a command."""
    chip = "auto"
    for before, word in zip(["", *command], command):
        if before == "--chip" or word.startswith("--chip="):
            chip = word[word.find("=") + 1:]
    return chip


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
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


if __name__ == "__main__":
    run_command(main)
