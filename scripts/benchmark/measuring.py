"""How `scripts.benchmark` measures: compare the engines' answers, then time them in turns."""

import statistics
import time

import numpy as np

from common.cli import UserError
from scripts.benchmark.engines import Unavailable

PRECISIONS = ("float32", "bfloat16")
PEERS = ("keras", "parts", "torch", "openvino")  # rows have a ratio to each of these
SETTLE_SECONDS = 0.3  # longer than the previous engine's threads spin
MAX_DIFFERENCE = {"float32": 0.02}  # of 255
MIN_PSNR = {"bfloat16": 40.0}
MAX_LOSS_DIFFERENCE = {"float32": 1e-4, "bfloat16": 1e-2}  # relative


def open_cpu(precision):
    """Open the CPU in a precision; raise `Unavailable` where TensorFlow lacks it."""
    from common.device.open import open_device

    try:
        open_device("cpu", "float32" if precision == "float32" else f"mixed_{precision}")
    except UserError as error:
        raise Unavailable(str(error)) from error


def check_images(what, sr, truth, precision):
    """Raise a `UserError` if an engine's image differs from the zoo's in float32."""
    error = np.abs(np.float64(sr) - truth)
    psnr = 10 * np.log10(255**2 / max(np.mean(error**2), 1e-20))
    print(f"check: {what}: largest difference from float32 {error.max():.5f} of 255, "
          f"PSNR {psnr:.1f} dB", flush=True)
    if error.max() > MAX_DIFFERENCE.get(precision, 255) or psnr < MIN_PSNR.get(precision, 0):
        raise UserError(f"{what} differs from the zoo's image; nothing was timed")


def check_losses(what, engines, precision):
    """Compare the losses of three steps; the second and third show that the updates agree too.

    Args:
        what: the measurement, for messages.
        engines: dict of name -> function that takes a step and returns its loss or losses.
        precision: decides how closely they must agree.

    Raises:
        UserError: the losses differ.
    """
    losses = {engine: np.array([run() for _ in range(3)]) for engine, run in engines.items()}
    for engine, values in losses.items():
        text = ", ".join(" and ".join(f"{v:.5g}" for v in np.atleast_1d(step)) for step in values)
        print(f"check: {what} {engine}: losses {text}", flush=True)
    for values in losses.values():
        if not np.allclose(values, next(iter(losses.values())), atol=0,
                           rtol=MAX_LOSS_DIFFERENCE[precision]):
            raise UserError(f"{what}: the engines' losses differ; nothing was timed")


def gather(makers):
    """Make the engines that can take part.

    Args:
        makers: dict of name -> function without arguments that makes the engine, which is a
            function without arguments too, or raises `Unavailable`.

    Returns:
        dict of name -> engine, and dict of name -> reason for those that cannot take part.
    """
    engines, reasons = {}, {}
    for name, make in makers.items():
        try:
            engines[name] = make()
        except Unavailable as error:
            reasons[name] = str(error)
    return engines, reasons


def take_turns(engines, runs, settle=True):
    """Time the engines in turn; two warm-up calls of each do not count.

    Args:
        engines: dict of name -> function without arguments.
        runs: timed turns of each.
        settle: wait before each turn, as engines with threads of their own need.

    Returns:
        `{name: [seconds of each turn]}`.
    """
    for run in engines.values():
        run()
        run()
    seconds = {name: [] for name in engines}
    for _ in range(runs):
        for name, run in engines.items():
            time.sleep(SETTLE_SECONDS * settle)
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def timed_rows(name, precision, seconds, reasons):
    """A row per engine: median seconds and ratios to the peers (below 1: faster than the peer)."""
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
    """A row as a line for the terminal."""
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
