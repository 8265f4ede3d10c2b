"""The ModelArts boot file of ModelZoo's SRGAN description: its recipe in full."""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.argv[1:1] = ["--model", "srgan", "--mode", "train", "--preset=coco", "--dataset=auto"]
    entry = Path(__file__).resolve().parents[2] / "modelarts_entry.py"
    runpy.run_path(str(entry), run_name="__main__")
