"""The command `python -m scripts.npu_check`."""

from common.cli import run_command
from scripts.npu_check.command import main

if __name__ == "__main__":
    run_command(main)
