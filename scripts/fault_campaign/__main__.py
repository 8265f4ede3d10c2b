"""The command `python -m scripts.fault_campaign`."""

from common.cli import run_command
from scripts.fault_campaign.command import main

if __name__ == "__main__":
    run_command(main)
