"""A boot file that ModelZoo's SRGAN description names: its recipe in full (acc) or timed (perf)."""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    here = Path(__file__).resolve()
    mode = "perf" if here.stem.endswith("_perf") else "train"
    sys.argv[1:1] = ["--model", here.parent.name, "--mode", mode, "--preset=coco", "--dataset=auto"]
    runpy.run_path(str(here.parents[2] / "modelarts_entry.py"), run_name="__main__")
