"""The NPUs of one machine in a rank table, for the scripts that start a process on each.

`scripts/train_common.sh` calls it; it does not import TensorFlow.
"""

import argparse
import json
from pathlib import Path

from common.cli import UserError, run_command


def main(argv):
    """Print the device and the rank of each, one NPU per line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.rank_table", description=__doc__)
    parser.add_argument("table", metavar="FILE", help="the rank table")
    parser.add_argument("ranks", type=int, help="how many NPUs there are in all (RANK_SIZE)")
    parser.add_argument("server", type=int, help="which machine, from 0 (SERVER_INDEX)")
    parser.add_argument("devices", type=int, nargs="?", help="how many it has (DEVICES)")
    for device, rank in cards(**vars(parser.parse_args(argv))):
        print(device, rank)


def cards(table, ranks, server=0, devices=None):
    """The (device_id, rank_id) of the NPUs of a machine, in the table's order.

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
        servers = [[(int(one["device_id"]), int(one["rank_id"])) for one in entry["device"]]
                   for entry in content["server_list"]]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"RANK_TABLE_FILE: {table} is no rank table, which has a server_list of "
                        "devices with device_id and rank_id") from error
    total = sum(map(len, servers))
    if total != ranks:
        raise UserError(f"RANK_TABLE_FILE: {table} lists {total} devices and RANK_SIZE is {ranks}; "
                        "set RANK_SIZE to the number of all, or correct the table")
    if sorted(rank for entry in servers for _, rank in entry) != list(range(total)):
        raise UserError(f"RANK_TABLE_FILE: the rank_id in {table} are not 0 to {total - 1}, each "
                        "once; correct the table")
    if server >= len(servers):
        raise UserError(f"SERVER_INDEX is {server}; {table} lists {len(servers)} machines, counted "
                        "from 0")
    here = servers[server]
    if not here or len({device for device, _ in here}) < len(here):
        raise UserError(f"RANK_TABLE_FILE: {table} lists {'a device_id twice' if here else 'none'} "
                        f"for machine {server}; correct the table")
    if devices not in (None, len(here)):
        raise UserError(f"DEVICES is {devices}; {table} lists {len(here)} for machine {server}")
    return here


if __name__ == "__main__":
    run_command(main)
