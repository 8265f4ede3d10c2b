"""The final lines that ModelZoo's tooling reads, from what a run wrote; without TensorFlow."""

import json
from pathlib import Path
from statistics import mean


def measured(run):
    """What a finished run measured.

    Args:
        run: its folder, with `metrics.jsonl` and `summary.json`.

    Returns:
        a dict: `losses`, a list; `psnr` in dB, the mean of all images; `seconds` of the training;
        `images_per_sec` and `seconds_per_step`, the last that were logged, None where none were.
    """
    lines = (Path(run) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    summary = json.loads((Path(run) / "summary.json").read_text(encoding="utf-8"))
    timed = [row for row in [summary["timing"], *rows] if "seconds_per_step" in row]
    return {"losses": [row["loss"] for row in rows if "loss" in row],
            "psnr": mean(row["psnr"] for row in summary["images"]), "seconds": summary["seconds"],
            **{key: timed[-1][key] if timed else None
               for key in ("images_per_sec", "seconds_per_step")}}


def final_lines(numbers, seconds):
    """The lines of `measured` numbers, without a speed where it is None.

    Args:
        numbers: of `measured`.
        seconds: how long all took.
    """
    speed = [] if numbers["seconds_per_step"] is None else [
        f"Final Performance images/sec : {short(numbers['images_per_sec'])}",
        f"Final Performance sec/step : {short(numbers['seconds_per_step'])}"]
    return [*speed, f"E2E Training Duration sec : {seconds}",
            f"Final Train Accuracy : {decibels(numbers['psnr'])}"]


def short(number):
    """Six digits of a number."""
    return format(number, ".6g")


def decibels(psnr):
    """A PSNR as text."""
    return format(psnr, ".3f")
