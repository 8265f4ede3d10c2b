"""Which NPUs of this machine take part in a training, and the rank of each."""

import json
from pathlib import Path
from typing import NamedTuple, Optional

from common.cli import UserError
from common.device.ranks import Ranks


class Card(NamedTuple):
    """An NPU by its number on the machine, and its process by its rank among all."""

    device: int
    rank: int


def cards_here(environ: dict, ranks: Ranks) -> list:
    """The `Card`s of this machine, which is machine SERVER_INDEX (0) and has DEVICES of them.

    The table at RANK_TABLE_FILE names devices and ranks; without one, or by a table of the old
    form, they are counted from 0 and DEVICES is the number on every machine.

    Raises:
        UserError: the numbers do not agree, or the file is no rank table.
    """
    server = _number(environ, "SERVER_INDEX", 0, least=0)
    devices = _number(environ, "DEVICES", ranks.size, least=1)
    if ranks.by_table and environ.get("RANK_TABLE_FILE"):
        here = cards(environ["RANK_TABLE_FILE"], ranks.size, server,
                     devices if environ.get("DEVICES") else None)
        if here:
            return here
    if (server + 1) * devices > ranks.size:
        raise UserError(f"SERVER_INDEX {server} with DEVICES {devices} goes beyond the "
                        f"{ranks.size} devices in all; correct them, or RANK_SIZE")
    return [Card(device, server * devices + device) for device in range(devices)]


def cards(table: Path, ranks: int, server: int = 0, devices: Optional[int] = None) -> list:
    """Read the `Card`s of a machine from a rank table, in its order.

    Args:
        table: path of the rank table.
        ranks: how many NPUs it has to list in all.
        server: which entry of its `server_list`.
        devices: how many it has to list for that; None for any number.

    Returns:
        a list; empty for a table of the old form (`group_list`), which has no ranks.

    Raises:
        UserError: the file is no rank table, or the numbers do not agree.
    """
    try:
        content = json.loads(Path(table).read_text(encoding="utf-8"))
        if "group_list" in content and "server_list" not in content:
            return []
        servers = [[Card(int(one["device_id"]), int(one["rank_id"])) for one in entry["device"]]
                   for entry in content["server_list"]]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"RANK_TABLE_FILE: {table} is no rank table, which has a server_list of "
                        "devices with device_id and rank_id") from error
    total = sum(map(len, servers))
    if total != ranks:
        raise UserError(f"RANK_TABLE_FILE: {table} lists {total} devices and RANK_SIZE is {ranks}; "
                        "set RANK_SIZE to the number of all devices, or correct the table")
    if sorted(card.rank for entry in servers for card in entry) != list(range(total)):
        raise UserError(f"RANK_TABLE_FILE: the rank_id in {table} are not 0 to {total - 1}, each "
                        "once; correct the table")
    if server >= len(servers):
        raise UserError(f"SERVER_INDEX is {server}; {table} lists {len(servers)} machines, counted "
                        "from 0")
    here = servers[server]
    if not here or len({card.device for card in here}) < len(here):
        raise UserError(f"RANK_TABLE_FILE: {table} lists {'a device_id twice' if here else 'none'} "
                        f"for machine {server}; correct the table")
    if devices not in (None, len(here)):
        raise UserError(f"DEVICES is {devices}; {table} lists {len(here)} for machine {server}")
    return here


def _number(environ, name, default, least):
    text = environ.get(name) or str(default)
    if not text.isdigit() or int(text) < least:
        raise UserError(f"{name} must be a whole number from {least}, got {text!r}")
    return int(text)
