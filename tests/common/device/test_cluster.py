"""Which processes train together, from what launchers put into the environment."""

import json
import socket
import threading
import time

import pytest

from common.cli import UserError
from common.device import cluster as clusters
from common.device.cluster import Cluster, expand_hosts, find_cluster, local_share, meet, share_out


def tf_config(rank=1, **jobs):
    jobs = jobs or {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}
    return {"TF_CONFIG": json.dumps({"cluster": jobs, "task": {"type": "worker", "index": rank}})}


def refused(environ):
    with pytest.raises(UserError) as caught:
        find_cluster(environ)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_alone_there_is_no_cluster():
    assert find_cluster({}) is None
    assert find_cluster({"WORLD_SIZE": "1", "RANK": "0"}) is None
    assert find_cluster({"SLURM_STEP_NUM_TASKS": "1"}) is None
    assert find_cluster(tf_config(0, worker=["10.0.0.1:2222"])) is None


def test_tf_config():
    cluster = find_cluster(tf_config())
    assert cluster == Cluster(1, ("10.0.0.1:2222", "10.0.0.2:2222"))
    assert json.loads(cluster.tf_config) == json.loads(tf_config()["TF_CONFIG"])
    assert find_cluster(tf_config(0, chief=["a:1"], worker=["b:1"])) == Cluster(1, ("a:1", "b:1"))


@pytest.mark.parametrize("environ, words", [
    ({"TF_CONFIG": "{"}, "TF_CONFIG must have the form"),
    (tf_config(2), "TF_CONFIG must have the form"),
    (tf_config(0, worker=["a:1"], ps=["b:1"]), "TF_CONFIG names the job ps"),
    (tf_config(0, worker=["a:1", "a:1"]), "the same address"),
    ({"WORLD_SIZE": "two"}, "WORLD_SIZE must be a whole number, got 'two'"),
    ({"WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"}, "RANK is missing"),
    ({"WORLD_SIZE": "2", "RANK": "0", "MASTER_PORT": "1"}, "MASTER_ADDR must name the host"),
    ({"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0"}, "start the run with srun"),
])
def test_what_is_wrong_is_said_in_one_line(environ, words):
    assert words in refused(environ)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_torchrun_and_kubeflow_give_a_rank_and_where_rank_0_is():
    environ = {"WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    found = {}

    def join(rank):
        found[rank] = find_cluster({**environ, "RANK": str(rank)})

    threads = [threading.Thread(target=join, args=(rank,)) for rank in (2, 1, 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    first = int(environ["MASTER_PORT"]) + 2
    addresses = tuple(f"127.0.0.1:{first + rank}" for rank in range(3))
    assert found == {rank: Cluster(rank, addresses) for rank in range(3)}


def test_one_that_stays_away_is_said():
    with pytest.raises(UserError, match="rank 0 of 2 did not find the others at 127.0.0.1:"):
        meet(0, 2, "127.0.0.1", free_port(), 1, patience=0.3)
    with pytest.raises(UserError, match="start all of them"):
        meet(1, 2, "127.0.0.1", free_port(), 1, patience=0.3)


def test_rank_0_is_waited_for_whatever_keeps_it_away(monkeypatch):
    # ... as a name that is not known yet, and a machine that does not answer yet
    errors = [socket.gaierror("unknown"), socket.timeout("timed out")]
    connect = socket.create_connection

    def create_connection(*arguments):
        if errors:
            raise errors.pop(0)
        return connect(*arguments)

    monkeypatch.setattr(clusters.socket, "create_connection", create_connection)
    port, found = free_port(), {}
    thread = threading.Thread(
        target=lambda: found.update({0: meet(0, 2, "127.0.0.1", port, 7, patience=20)}))
    thread.start()
    assert meet(1, 2, "127.0.0.1", port, 7, patience=20) == ["127.0.0.1:7", "127.0.0.1:8"]
    thread.join(20)
    assert found[0] == ["127.0.0.1:7", "127.0.0.1:8"] and not errors


def reached(port):
    """A connection to rank 0, which may not be up yet."""
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 5)
        except ConnectionRefusedError:
            time.sleep(0.02)


def test_who_only_looks_at_the_port_does_not_end_rank_0(monkeypatch):
    monkeypatch.setattr(clusters, "_ANSWER", 0.3)
    port, found = free_port(), {}
    thread = threading.Thread(
        target=lambda: found.update({0: meet(0, 2, "127.0.0.1", port, 7, patience=20)}))
    thread.start()
    reached(port).close()
    with reached(port) as loud, reached(port):  # the second says nothing
        loud.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert meet(1, 2, "127.0.0.1", port, 7, patience=20) == ["127.0.0.1:7", "127.0.0.1:8"]
        thread.join(20)
    assert found[0] == ["127.0.0.1:7", "127.0.0.1:8"]


def test_one_that_stays_silent_does_not_hold_rank_0_beyond_its_patience(monkeypatch):
    monkeypatch.setattr(clusters, "_ANSWER", 0.3)
    port, said = free_port(), []

    def wait():
        with pytest.raises(UserError) as caught:
            meet(0, 2, "127.0.0.1", port, 7, patience=1)
        said.append(str(caught.value))

    thread = threading.Thread(target=wait)
    thread.start()
    with reached(port):
        thread.join(10)
    assert "did not find the others" in said[0] and "(timed out)" in said[0]


TORCHRUN = {"WORLD_SIZE": "8", "RANK": "6", "LOCAL_WORLD_SIZE": "4", "LOCAL_RANK": "2"}


def test_gpus_of_a_machine_are_shared_by_torchruns_processes():
    assert local_share(TORCHRUN, ["a", "b", "c", "d"]) == ["c"]
    assert local_share(TORCHRUN, list("abcdefghi")) == ["e", "f"]
    assert local_share(TORCHRUN, []) == []
    for environ in ({}, {**TORCHRUN, "LOCAL_WORLD_SIZE": "1"}, {**TORCHRUN, "TF_CONFIG": "{}"},
                    {"WORLD_SIZE": "2", "RANK": "0"}):  # the last as Kubeflow sets it
        assert local_share(environ, ["a", "b"]) == ["a", "b"]
    with pytest.raises(UserError, match="4 processes for 1 GPU: start at most one for each"):
        local_share(TORCHRUN, ["a"])
    with pytest.raises(UserError, match="LOCAL_RANK must be below LOCAL_WORLD_SIZE=4, got 4"):
        local_share({**TORCHRUN, "LOCAL_RANK": "4"}, ["a"])


def test_shares_are_equal():
    assert share_out(list("abcde"), 2) == [["a", "b"], ["c", "d"]]
    assert share_out([], 2) is None
    with pytest.raises(UserError, match="3 processes for 2 GPUs"):
        share_out(["a", "b"], 3)


def slurm(rank, node, nodes="gpu[01-02],login", tasks="2(x2),1", **more):
    return {"SLURM_STEP_NUM_TASKS": "5", "SLURM_PROCID": str(rank), "SLURM_NODEID": str(node),
            "SLURM_STEP_NODELIST": nodes, "SLURM_STEP_TASKS_PER_NODE": tasks,
            "SLURM_JOB_ID": "1203", **more}


def test_slurm():
    cluster = find_cluster(slurm(3, 1))
    assert cluster == Cluster(3, ("gpu01:20300", "gpu01:20301", "gpu02:20300", "gpu02:20301",
                                  "login:20300"))
    assert "--distribution=block" in refused(slurm(1, 1))
    assert "do not describe 5 tasks" in refused(slurm(1, 0, tasks="2,1"))


@pytest.mark.parametrize("text, hosts", [
    ("a", ["a"]), ("a,b-1", ["a", "b-1"]), ("n[8-10]", ["n8", "n9", "n10"]),
    ("n[08,010-011]x,m", ["n08x", "n010x", "n011x", "m"]),
    ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"])])
def test_lists_of_hosts(text, hosts):
    assert expand_hosts(text) == hosts
