"""Which processes train together, by TF_CONFIG or the variables of torchrun or Slurm."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

from common.cli import UserError

PATIENCE = 600  # seconds that a process waits for the others to start
_ANSWER = 5  # seconds to wait for one connection


@dataclass(frozen=True)
class Cluster:
    """The rank of this process, and the addresses ("host:port") of all, in order of rank."""

    rank: int
    addresses: tuple[str, ...]

    @property
    def tf_config(self) -> str:
        """The value of TF_CONFIG for this cluster, in which each process is a worker."""
        return json.dumps({"cluster": {"worker": list(self.addresses)},
                           "task": {"type": "worker", "index": self.rank}})


def find_cluster(environ: Mapping[str, str]) -> Cluster | None:
    """The cluster that environment variables describe; None for a single process.

    The first that is set counts: TF_CONFIG; WORLD_SIZE, RANK, MASTER_ADDR and MASTER_PORT as
    torchrun and Kubeflow set them; SLURM_STEP_* as srun sets them.

    Raises:
        UserError: the variables contradict each other, one is missing, or other processes do not
            start in time.
    """
    if environ.get("TF_CONFIG"):
        return _one_or_more(*_from_tf_config(environ["TF_CONFIG"]))
    if _number(environ, "WORLD_SIZE", 1) > 1:
        return _one_or_more(*_from_master(environ))
    if _number(environ, "SLURM_STEP_NUM_TASKS", 1) > 1:
        return _one_or_more(*_from_slurm(environ))
    return None


def share_out(gpus: list, count: int) -> list[list] | None:
    """Equal shares of a machine's GPUs for `count` processes on it; None where there are no GPUs.

    Raises:
        UserError: there are fewer GPUs than processes.
    """
    if not gpus:
        return None
    size = len(gpus) // count
    if not size:
        raise UserError(f"{count} processes for {len(gpus)} GPU{'s' * (len(gpus) > 1)}: start at "
                        "most one for each, or hide the GPUs with CUDA_VISIBLE_DEVICES= to train "
                        "on the CPU")
    return [gpus[i * size:(i + 1) * size] for i in range(count)]


def local_share(environ: Mapping[str, str], gpus: list) -> list:
    """The GPUs that this process uses, where torchrun started several processes on the machine.

    Args:
        environ: LOCAL_WORLD_SIZE and LOCAL_RANK as torchrun sets them; without them, or with
            TF_CONFIG, the process uses all GPUs.
        gpus: all GPUs that the process sees.

    Raises:
        UserError: there are fewer GPUs than processes, or the variables contradict each other.
    """
    size = _number(environ, "LOCAL_WORLD_SIZE", 1)
    if environ.get("TF_CONFIG") or _number(environ, "WORLD_SIZE", 1) < 2 or size < 2:
        return gpus
    rank = _number(environ, "LOCAL_RANK")
    if rank >= size:
        raise UserError(f"LOCAL_RANK must be below LOCAL_WORLD_SIZE={size}, got {rank}")
    shares = share_out(gpus, size)
    return shares[rank] if shares else gpus


def _one_or_more(rank, addresses):
    if not 0 <= rank < len(addresses):
        raise UserError(f"the rank must be 0 to {len(addresses) - 1} for {len(addresses)} "
                        f"processes, got {rank}")
    if len(set(addresses)) < len(addresses):
        raise UserError(f"two processes have the same address: {', '.join(addresses)}")
    return Cluster(rank, tuple(addresses)) if len(addresses) > 1 else None


def _from_tf_config(text):
    try:
        config = json.loads(text)
        jobs, task = config.get("cluster", {}), config.get("task", {})
        unknown = set(jobs) - {"chief", "worker"}
        if unknown:
            raise UserError(f"TF_CONFIG names the job {', '.join(sorted(unknown))}; only chief "
                            "and worker are supported")
        addresses = [*jobs.get("chief", []), *jobs.get("worker", [])]
        if not addresses:
            return 0, [""]
        kind, index = task["type"], int(task["index"])
        jobs[kind][index]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise UserError("TF_CONFIG must have the form {\"cluster\": {\"worker\": [\"host:port\", "
                        "...]}, \"task\": {\"type\": \"worker\", \"index\": 0}}") from error
    return index + (len(jobs.get("chief", [])) if kind == "worker" else 0), addresses


def _from_master(environ):
    size = _number(environ, "WORLD_SIZE")
    rank, port = _number(environ, "RANK"), _number(environ, "MASTER_PORT")
    if not environ.get("MASTER_ADDR"):
        raise UserError(f"MASTER_ADDR must name the host of rank 0 with WORLD_SIZE={size}")
    # torchrun itself listens on MASTER_PORT.
    return rank, meet(rank, size, environ["MASTER_ADDR"], port + 1, port + 2)


def meet(rank: int, size: int, host: str, port: int, first_port: int,
         patience: float = PATIENCE) -> list[str]:
    """Exchange the processes' addresses: all connect to rank 0, which tells each the hosts it saw.

    Args:
        rank: of this process.
        size: number of processes.
        host, port: where rank 0 listens.
        first_port: rank r gets the port `first_port + r`.
        patience: seconds to wait.

    Returns:
        the addresses ("host:port") in order of rank.

    Raises:
        UserError: a process does not connect, or rank 0 cannot be reached, within `patience`.
    """
    until = time.monotonic() + patience
    try:
        if rank:
            return _call(rank, size, host, port, until)
        return _receive(size, host, port, first_port, until)
    except (OSError, ValueError) as error:
        raise UserError(f"rank {rank} of {size} did not find the others at {host}:{port} within "
                        f"{patience} s ({error}): start all of them, with the same MASTER_ADDR and "
                        "MASTER_PORT") from error


def _receive(size, host, port, first_port, until):
    hosts, lines = {0: host}, []
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("", port))
        server.listen()
        while len(hosts) < size:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            server.settimeout(left)
            connection, (peer, *_) = server.accept()
            connection.settimeout(_ANSWER)
            line = connection.makefile("rw", encoding="utf-8")
            try:
                rank, its_size = map(int, line.readline(100).split())
            except (OSError, ValueError):  # a port scan, not a process of the run
                connection.close()
                continue
            lines.append((connection, line))
            if its_size != size or rank in hosts or not 0 < rank < size:
                raise ValueError(f"rank {rank} of {its_size} called from {peer}, this is rank 0 of "
                                 f"{size}")
            hosts[rank] = peer
        addresses = [f"{hosts[rank]}:{first_port + rank}" for rank in range(size)]
        for connection, line in lines:
            line.write(json.dumps(addresses) + "\n")
            line.close()
            connection.close()
    return addresses


def _call(rank, size, host, port, until):
    with _connection(host, port, until) as connection:
        connection.settimeout(max(0.01, until - time.monotonic()))
        line = connection.makefile("rw", encoding="utf-8")
        line.write(f"{rank} {size}\n")
        line.flush()
        return json.loads(line.readline())


def _connection(host, port, until):
    while True:
        try:
            return socket.create_connection((host, port), _ANSWER)
        except OSError:  # rank 0, its machine or its name is not there yet
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def _from_slurm(environ):
    size, rank = _number(environ, "SLURM_STEP_NUM_TASKS"), _number(environ, "SLURM_PROCID")
    hosts = expand_hosts(environ.get("SLURM_STEP_NODELIST", ""))
    counts = _tasks(environ.get("SLURM_STEP_TASKS_PER_NODE", ""))
    places = [(node, local) for node, count in enumerate(counts) for local in range(count)]
    if len(counts) != len(hosts) or len(places) != size:
        raise UserError(f"SLURM_STEP_NODELIST and SLURM_STEP_TASKS_PER_NODE do not describe {size} "
                        "tasks; start the run with srun")
    if rank < size and places[rank][0] != _number(environ, "SLURM_NODEID"):
        raise UserError("the tasks are not in the order of the nodes; use srun "
                        "--distribution=block")
    # Jobs that share a node must not share a port.
    first = 20000 + 100 * (_number(environ, "SLURM_JOB_ID", 0) % 100)
    return rank, [f"{hosts[node]}:{first + local}" for node, local in places]


def expand_hosts(text: str) -> list[str]:
    """Expand Slurm's list of hosts: "a[01-02],b" to ["a01", "a02", "b"].

    TensorFlow's own `expand_hostlist` drops leading zeros in 2.6.5, and in 2.21 too refuses what
    follows a bracket, as in "r[1-2]n[1-2]".
    """
    hosts = []
    for part in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", text):
        names = [""]
        for plain, ranges in re.findall(r"([^\[]+)|\[([^\]]*)\]", part):
            middles = [plain] if plain else [n for r in ranges.split(",") for n in _numbers(r)]
            names = [name + middle for name in names for middle in middles]
        hosts += names
    return hosts


def _numbers(text):
    first, _, last = text.partition("-")
    return [str(n).zfill(len(first)) for n in range(int(first), int(last or first) + 1)]


def _tasks(text):
    """Expand Slurm's numbers of tasks: "2(x2),1" to [2, 2, 1]."""
    return [int(count) for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", text)
            for _ in range(int(times or 1))]


def _number(environ, name, default=None):
    text = environ.get(name, "" if default is None else str(default))
    if not text.isdigit():
        raise UserError(f"{name} must be a whole number, got {text!r}" if text else
                        f"the environment variable {name} is missing; a run of several processes "
                        "needs it")
    return int(text)
