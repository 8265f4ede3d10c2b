import json

import pytest

from common.cli import UserError
from common.device.ranks import Ranks
from common.modelzoo.rank_table import cards, cards_here


def table(folder, *servers):
    """The path of a rank table; a server is a list of (device, rank)."""
    path = folder / "table.json"
    path.write_text(json.dumps({"status": "completed", "version": "1.0", "server_list": [
        {"server_id": f"node_{i}", "device": [
            {"device_id": str(device), "device_ip": f"10.0.{i}.{device}", "rank_id": str(rank)}
            for device, rank in here]} for i, here in enumerate(servers)]}))
    return str(path)


@pytest.mark.parametrize("servers, arguments, words", [
    ([[(4, 0), (5, 1)]], (4,), "lists 2 devices and RANK_SIZE is 4"),
    ([[(4, 0), (5, 1)]], (2, 1), "SERVER_INDEX is 1; .* lists 1 machines"),
    ([[(4, 0), (5, 1)]], (2, 0, 4), "DEVICES is 4; .* lists 2 for machine 0"),
    ([[(4, 0), (5, 0)]], (2,), "are not 0 to 1, each once"),
    ([[(4, 0), (4, 1)]], (2,), "lists a device_id twice for machine 0"),
    ([[(4, 0), (5, 1)], []], (2, 1), "lists none for machine 1"),
])
def test_numbers_of_a_table_that_do_not_agree(tmp_path, servers, arguments, words):
    with pytest.raises(UserError, match=words):
        cards(table(tmp_path, *servers), *arguments)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"server_list": [{"device": [{}]}]}',
                                  '{"server_list": 1}'])
def test_what_is_no_rank_table(tmp_path, text):
    (tmp_path / "table.json").write_text(text)
    with pytest.raises(UserError, match="table.json is no rank table"):
        cards(tmp_path / "table.json", 2)


@pytest.mark.parametrize("more", [{}, {"DEVICES": "2"}])
def test_devices_and_ranks_of_the_second_of_two_machines_are_the_tables(tmp_path, more):
    path = table(tmp_path, [(0, 0), (1, 3)], [(5, 2), (4, 1)])
    environ = {"RANK_TABLE_FILE": path, "SERVER_INDEX": "1", **more}
    assert cards_here(environ, Ranks(4, True)) == [(5, 2), (4, 1)]


def test_without_ranks_in_a_table_they_are_counted(tmp_path):
    (tmp_path / "table.json").write_text('{"group_list": []}')
    old = {"RANK_TABLE_FILE": str(tmp_path / "table.json"), "DEVICES": "2", "SERVER_INDEX": "1"}
    assert cards_here(old, Ranks(4, True)) == [(0, 2), (1, 3)]
    assert cards_here({}, Ranks(2, False)) == [(0, 0), (1, 1)]
    with pytest.raises(UserError, match="SERVER_INDEX 2 with DEVICES 2 goes beyond the 4 devices"):
        cards_here({**old, "SERVER_INDEX": "2"}, Ranks(4, True))


@pytest.mark.parametrize("environ, words", [
    ({"DEVICES": "0"}, "DEVICES must be a whole number from 1, got '0'"),
    ({"SERVER_INDEX": "one"}, "SERVER_INDEX must be a whole number from 0, got 'one'")])
def test_a_number_that_is_none(environ, words):
    with pytest.raises(UserError, match=words):
        cards_here(environ, Ranks(2, True))
