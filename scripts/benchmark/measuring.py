"""How `scripts.benchmark` measures: engines take turns, and first their answers are compared."""

import statistics
import time

import numpy as np

from common.cli import UserError
from scripts.benchmark.engines import Unavailable

PRECISIONS = ("float32", "bfloat16")
PEERS = ("parts", "torch", "openvino")  # what the others are compared with
SETTLE_SECONDS = 0.3  # longer than the threads of the engine before go on spinning
MAX_DIFFERENCE = {"float32": 0.02}  # of 255
MIN_PSNR = {"bfloat16": 40.0}
MAX_LOSS_DIFFERENCE = {"float32": 1e-4, "bfloat16": 1e-2}  # relative


def open_cpu(precision):
    """Open the CPU in a precision; `Unavailable` where TensorFlow cannot."""
    from common.device.open import open_device

    try:
        open_device("cpu", "float32" if precision == "float32" else f"mixed_{precision}")
    except UserError as error:
        raise Unavailable(str(error)) from error


def check_images(what, sr, truth, precision):
    """Raise a `UserError` if an engine's image is not that of the zoo in float32."""
    error = np.abs(np.float64(sr) - truth)
    psnr = 10 * np.log10(255**2 / max(np.mean(error**2), 1e-20))
    print(f"check: {what}: greatest difference to float32 {error.max():.5f} of 255, "
          f"PSNR {psnr:.1f} dB", flush=True)
    if error.max() > MAX_DIFFERENCE.get(precision, 255) or psnr < MIN_PSNR.get(precision, 0):
        raise UserError(f"{what} does not answer as the zoo does; nothing was timed")


def check_losses(what, engines, precision):
    """Compare the losses of three steps; the later ones say that the updates agree too.

    Args:
        what: the measurement, for messages.
        engines: dict of name -> function to the loss of a step, or to a tuple of several.
        precision: how closely they have to agree.

    Raises:
        UserError: they do not.
    """
    losses = {engine: np.array([run() for _ in range(3)]) for engine, run in engines.items()}
    for engine, values in losses.items():
        text = ", ".join(" and ".join(f"{v:.5g}" for v in np.atleast_1d(step)) for step in values)
        print(f"check: {what} {engine}: losses {text}", flush=True)
    for values in losses.values():
        if not np.allclose(values, next(iter(losses.values())), atol=0,
                           rtol=MAX_LOSS_DIFFERENCE[precision]):
            raise UserError(f"{what}: the engines do not learn alike; nothing was timed")


def take_turns(engines, runs):
    """Seconds of each engine's turns, `{name: [seconds]}`, after two that do not count."""
    for run in engines.values():
        run()
        run()
    seconds = {name: [] for name in engines}
    for _ in range(runs):
        for name, run in engines.items():
            time.sleep(SETTLE_SECONDS)
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def timed_rows(name, precision, seconds, reasons):
    """A row per engine: medians, and how they compare (below 1: less time than that peer)."""
    medians = {engine: statistics.median(values) for engine, values in seconds.items()}
    rows = []
    for engine, values in seconds.items():
        row = {"name": name, "engine": engine, "precision": precision,
               "seconds": medians[engine], "min_seconds": min(values), "max_seconds": max(values),
               "runs": len(values)}
        for peer in PEERS:
            if peer in medians:
                row[f"ratio_to_{peer}"] = medians[engine] / medians[peer]
        rows.append(row)
    return rows + [{"name": name, "engine": engine, "precision": precision, "seconds": None,
                    "note": reason} for engine, reason in reasons.items()]


def as_line(row):
    """A row for the terminal."""
    text = f"{row['name']:<22} {row['engine']:<12} {row['precision']:<9}"
    if row.get("note"):
        return f"{text} {row['note']}"
    text += f" {row['seconds']:9.5f} s"
    if "min_seconds" in row:
        text += f"  ({row['min_seconds']:.3f} to {row['max_seconds']:.3f})"
    for peer in PEERS:
        if f"ratio_to_{peer}" in row:
            text += f"  {row[f'ratio_to_{peer}']:.3f} of {peer}"
    for key, what in (("patches_per_second", "patches/s"),
                      ("overhead_percent", "% more than the bare step"),
                      ("data_wait_percent", "% of it waiting for data")):
        if key in row:
            text += f"  {row[key]:,.2f} {what}" if "percent" in key else f"  {row[key]:,.0f} {what}"
    if "parts" in row:
        text += "  = " + " + ".join(f"{part} {value:.3f}" for part, value in row["parts"].items())
    return text
