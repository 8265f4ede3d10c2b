import pytest

from common.cli import UserError
from common.device.ranks import Ranks, check_environment, check_rank, for_adapter, read_ranks

CM = {"CM_CHIEF_IP": "10.0.0.1", "CM_CHIEF_PORT": "6000", "CM_CHIEF_DEVICE": "0",
      "CM_WORKER_IP": "10.0.0.2", "CM_WORKER_SIZE": "2"}


def without(name):
    return {key: value for key, value in CM.items() if key != name}


@pytest.fixture
def table(tmp_path):
    """`table(RANK_ID="0")`: the environment of one of two processes with a rank table."""
    (tmp_path / "table.json").write_text("{}")
    return lambda **changes: {"RANK_SIZE": "2", "RANK_ID": "1", "RANK_TABLE_FILE":
                              str(tmp_path / "table.json"), **changes}


def test_how_many_processes_there_are(table):
    for environ in ({}, {"RANK_SIZE": "1"}, {"RANK_SIZE": ""}):
        assert read_ranks(environ) == Ranks(1, True) and check_environment(environ) == 1
    assert read_ranks(CM) == read_ranks({**CM, "RANK_SIZE": "2"}) == Ranks(2, False)
    assert read_ranks(table()) == Ranks(2, True)
    assert check_environment(CM) == check_environment(table()) == 2


@pytest.mark.parametrize("environ, words", [
    ({"RANK_SIZE": "none"}, ["RANK_SIZE must be a whole number from 1, got 'none'"]),
    ({"RANK_SIZE": "0"}, ["RANK_SIZE must be a whole number from 1, got '0'"]),
    ({"RANK_SIZE": "2", "RANK_ID": "0"}, ["neither RANK_TABLE_FILE", "CM_CHIEF_IP"]),
    ({"RANK_SIZE": "2", "RANK_ID": "0", "RANK_TABLE_FILE": "no.json"},
     ["RANK_TABLE_FILE: no such file: no.json"]),
    ({"RANK_SIZE": "2", "RANK_ID": "0", "RANK_TABLE_FILE": "t.json", **CM},
     ["RANK_TABLE_FILE and CM_CHIEF_IP", "exclude"]),
    ({"RANK_SIZE": "2", "RANK_ID": "0", **without("CM_CHIEF_PORT")}, ["not CM_CHIEF_PORT"]),
    (without("CM_WORKER_IP"), ["not CM_WORKER_IP"]),
    ({"CM_WORKER_SIZE": "8"}, ["CM_WORKER_SIZE set, but not CM_CHIEF_IP"]),
    ({**CM, "CM_WORKER_SIZE": "x"}, ["CM_WORKER_SIZE must be a whole number from 1, got 'x'"]),
    ({"RANK_SIZE": "4", **CM}, ["RANK_SIZE is 4, but CM_WORKER_SIZE is 2"]),
])
def test_what_is_wrong_is_named(environ, words):
    with pytest.raises(UserError) as caught:
        read_ranks(environ)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("changes, words", [
    ({"RANK_SIZE": "0"}, "RANK_SIZE must be"), ({"RANK_ID": ""}, "RANK_ID is not set"),
    ({"RANK_ID": "2"}, "RANK_ID must be 0 to 1 with RANK_SIZE 2, got '2'"),
    ({"RANK_ID": "-1"}, "RANK_ID must be 0 to 1 with RANK_SIZE 2, got '-1'"),
    ({"RANK_TABLE_FILE": ""}, "neither RANK_TABLE_FILE"),
    ({"CM_CHIEF_IP": "10.0.0.1"}, "RANK_TABLE_FILE and CM_CHIEF_IP exclude"),
    ({"CM_WORKER_SIZE": "2"}, "RANK_SIZE and CM_WORKER_SIZE exclude"),
])
def test_what_the_adapter_would_misread_is_named(table, changes, words):
    with pytest.raises(UserError) as caught:
        check_environment(table(**changes))
    assert words in str(caught.value)


def test_the_rank_matters_with_a_table_alone(table):
    check_rank(table(RANK_ID="0"), Ranks(2, True))
    check_rank({}, Ranks(1, True))
    check_rank(CM, Ranks(2, False))
    with pytest.raises(UserError, match="RANK_SIZE is 2, but RANK_ID is not set"):
        check_rank({}, Ranks(2, True))


def test_size_and_rank_reach_the_adapter_with_a_table_alone():
    environ = {"RANK_SIZE": "2", "RANK_ID": "1", "OTHER": "x"}
    assert for_adapter(environ, Ranks(2, True), 5, 0) == {
        "OTHER": "x", "JOB_ID": "10087", "ASCEND_DEVICE_ID": "5", "RANK_SIZE": "2", "RANK_ID": "0"}
    assert for_adapter({**environ, "JOB_ID": "7"}, Ranks(2, False), 5, 0) == {
        "OTHER": "x", "JOB_ID": "7", "ASCEND_DEVICE_ID": "5"}
