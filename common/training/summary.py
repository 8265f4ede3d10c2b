"""The result of a run: every validation image measured beside bicubic, as a table."""

import logging
import math

from common.metrics import IDENTICAL
from common.scales import scale_tuple

SAMPLES = 4  # rows of a sheet of pictures

log = logging.getLogger("sr_zoo")


def measure(name, scale, validation):
    """Measure a model on its validation images beside bicubic.

    Args:
        name, scale: of the model.
        validation: a `Validation`.

    Returns:
        (dict with `model`, `scale` and `images`, list of `Picture` for a sheet).
    """
    scores, pictures = validation(SAMPLES)
    images = []
    for s, after in scores.items():
        for image, b, a in zip(validation.names, validation.bicubic(s), after):
            images.append({"name": image, **({} if s == scale else {"scale": s}),
                           "bicubic_psnr": b[0], "psnr": a[0], "bicubic_ssim": b[1],
                           "ssim": a[1]})
    return {"model": name, "scale": scale, "images": images}, pictures


def report(summary, folder=None, lines=None):
    """Print a summary as a table, and where the run's files are.

    Args:
        summary: of `measure`.
        folder: the `RunFolder` whose files are named, if any.
        lines: `Lines` of the training that ends here, if any: its `final` lines follow the table,
            and `finished` is the last.
    """
    name, images = summary["model"], summary["images"]
    width = max(12, *(len(row["name"]) + 3 for row in images))
    log.info("%-*s  bicubic PSNR   SSIM  %8s PSNR   SSIM    gain", width, "image", name)
    for scale in scale_tuple(summary["scale"]):
        rows = [row for row in images if row.get("scale", scale) == scale]
        mean = {"name": "mean", **{key: _mean(rows, key) for key in
                                   ("bicubic_psnr", "psnr", "bicubic_ssim", "ssim")}}
        suffix = "" if scale == summary["scale"] else f" x{scale}"
        for row in [*rows, mean] if len(rows) > 1 else rows:
            before, after = (math.inf if row[key] is None else row[key]  # as JSON has it
                             for key in ("bicubic_psnr", "psnr"))
            log.info("%-*s  %9.2f dB  %.4f  %10.2f dB  %.4f  %+.2f dB", width,
                     row["name"] + suffix, before, row["bicubic_ssim"], after, row["ssim"],
                     0 if before == after else after - before)
        if lines is not None:
            for line in lines.final(scale, mean["psnr"], mean["ssim"]):
                log.info(line)
    if folder is not None:
        log.info("weights:    %s", folder.best)
        log.info("comparison: %s", folder.samples / "comparison.png")
        log.info("curves:     %s", folder.path / "curves.png")
        log.info("summary:    %s", folder.summary)
    if lines is not None and lines.finished:
        log.info(lines.finished)


def bicubic_mean(summary):
    """The mean PSNR of bicubic enlargement, dB."""
    return _mean(summary["images"], "bicubic_psnr")


def _mean(rows, key):
    """The mean of the rows' values, of which an infinite PSNR counts as `IDENTICAL`."""
    values = [IDENTICAL if row[key] is None else min(row[key], IDENTICAL) for row in rows]
    return sum(values) / len(values)
