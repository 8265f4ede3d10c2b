"""What a run tells: console and train.log, metrics.jsonl, TensorBoard, curves and sample sheets."""

import contextlib
import json
import logging
from collections import namedtuple
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from common.files import atomic_path, write_text

log = logging.getLogger("sr_zoo")

# A row of a sample sheet: uint8 RGB images and what was measured.
Picture = namedtuple("Picture", "name scale lr bicubic sr hr bicubic_psnr psnr")


class _TqdmHandler(logging.Handler):
    """Log lines that do not tear the progress bar."""

    def emit(self, record):
        tqdm.write(self.format(record))


class Lines:
    """The wording of the log; a model whose log reads otherwise overrides a method."""

    per_epoch = False  # whether each epoch begins with a line and has a bar of its own

    def begin_epoch(self, epoch):
        """Before an epoch, where it has a line."""
        return f"Epoch {epoch}"

    def step(self, done, total, losses, rate, times, scale):
        """After `--log_every` steps; `losses` are means since the last line, `times` of `Clock`."""
        parts = "".join(f" - {name}: {value:.5f}" for name, value in losses.items()
                        if name != "loss")
        return f"Step nr: [{done}/{total}] - Loss: {losses['loss']:.5f}{parts} - Lr: {rate:.7f}"

    def epoch(self, epoch, epochs, loss, val_psnr, val_ssim):
        """After a validation."""
        return (f"Epoch nr: [{epoch}/{epochs}] - Loss: {loss:.5f} - val PSNR: {val_psnr:.3f} - "
                f"val SSIM: {val_ssim:.3f}")

    def final(self, scale, psnr, ssim):
        """Lines after the table of results, for each scale."""
        return ()


@contextlib.contextmanager
def log_to_console():
    """Within `with`, the zoo's log lines go to the console."""
    log.setLevel(logging.INFO)
    log.propagate = False
    with _handler(_TqdmHandler()):
        yield


@contextlib.contextmanager
def log_file(path):
    """Within `with`, the zoo's log lines go to the end of a file too."""
    with _handler(logging.FileHandler(path, encoding="utf-8")) as handler:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        yield


@contextlib.contextmanager
def _handler(handler):
    log.addHandler(handler)
    try:
        yield handler
    finally:
        log.removeHandler(handler)
        handler.close()


class Metrics:
    """`metrics.jsonl` (one object per logged step or validation) and TensorBoard scalars.

    Args:
        folder: the run's folder.
        step: the step a run goes on from; what an interrupted run wrote after it is dropped.
    """

    def __init__(self, folder, step=0):
        from common.nn.keras_compat import tf

        self.path = Path(folder) / "metrics.jsonl"
        self.rows = [row for row in read_metrics(self.path) if row["step"] <= step]
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in self.rows))
        self._file = self.path.open("a", encoding="utf-8", buffering=1)
        self._tensorboard = tf.summary.create_file_writer(str(Path(folder) / "logs"))
        self._summary = tf.summary

    def add(self, step, **values):
        """Record scalars of a step."""
        row = {"step": step, **values}
        self.rows.append(row)
        self._file.write(json.dumps(row) + "\n")
        with self._tensorboard.as_default():
            for name, value in values.items():
                self._summary.scalar(name, value, step=step)

    def add_image(self, step, name, image):
        """Record a uint8 RGB picture."""
        with self._tensorboard.as_default():
            self._summary.image(name, image[None], step=step)

    def close(self):
        """Write out everything."""
        self._tensorboard.close()
        self._file.close()


def read_metrics(path):
    """The rows of a `metrics.jsonl`; a last line cut off by a kill is left out."""
    rows = []
    if Path(path).is_file():
        for line in Path(path).read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
    return rows


_CURVES = (("training loss", ["loss"]), ("learning rate", ["learning_rate"]),
           ("discriminator loss", ["discriminator"]),
           ("discriminator's logits", ["d_real", "d_fake"]),
           ("validation PSNR, dB", ["val_psnr"]))


def draw_curves(rows, path, bicubic_psnr=None):
    """Draw losses, learning rate and validation PSNR over the steps to a PNG."""
    from matplotlib.figure import Figure

    known = {key for row in rows for key in row}
    plots = [(title, [key for key in keys if key in known]) for title, keys in _CURVES]
    plots = [(title, keys) for title, keys in plots if keys]
    figure = Figure(figsize=(4 * len(plots), 3.6))
    for axis, (title, keys) in zip(figure.subplots(1, len(plots), squeeze=False)[0], plots):
        for key in keys:
            points = [(row["step"], row[key]) for row in rows if key in row]
            axis.plot(*zip(*points), marker="o" if len(points) < 40 else None, markersize=3,
                      label=key)
        if keys == ["val_psnr"] and bicubic_psnr is not None:
            axis.axhline(bicubic_psnr, color="grey", linestyle="--", label="bicubic")
        if len(axis.get_lines()) > 1:
            axis.legend()
        axis.set_title(title)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
    figure.tight_layout()
    with atomic_path(path) as temporary:
        figure.savefig(str(temporary), dpi=110)


def sample_sheet(pictures, side=96, zoom=3):
    """One row per image of LR, bicubic, SR and HR, cut out where the HR has most detail.

    Args:
        pictures: list of `Picture`.
        side: of the cut, HR pixels.
        zoom: how many screen pixels a HR pixel gets; pixels are repeated, not smoothed.

    Returns:
        a uint8 RGB array.
    """
    cell, gap, header = side * zoom, 8, 24
    font = ImageFont.load_default(size=15)
    sheet = Image.new("RGB", (4 * (cell + gap) + gap, len(pictures) * (cell + header + gap) + gap),
                      "white")
    draw = ImageDraw.Draw(sheet)
    for row, picture in enumerate(pictures):
        scale = picture.scale
        top, left = _most_detailed(picture.hr, side, scale)
        cut = (slice(top, top + side), slice(left, left + side))
        lr_cut = picture.lr[top // scale:(top + side) // scale,
                            left // scale:(left + side) // scale]
        columns = [(f"{picture.name}: LR x{scale}", lr_cut),
                   (f"bicubic {picture.bicubic_psnr:.2f} dB", picture.bicubic[cut]),
                   (f"SR {picture.psnr:.2f} dB", picture.sr[cut]), ("HR", picture.hr[cut])]
        height, width = picture.hr[cut].shape[:2]
        y = gap + row * (cell + header + gap)
        for column, (label, pixels) in enumerate(columns):
            x = gap + column * (cell + gap)
            draw.text((x, y), label, fill="black", font=font)
            pixels = Image.fromarray(np.ascontiguousarray(pixels))
            pixels = pixels.resize((width * zoom, height * zoom), Image.NEAREST)
            sheet.paste(pixels, (x, y + header))
    return np.asarray(sheet)


def _most_detailed(hr, side, scale):
    """The corner (top, left), a multiple of scale, of the window with the strongest edges."""
    grey = hr.astype(np.float32).mean(-1)
    edges = np.zeros_like(grey)
    edges[:-1] += np.abs(np.diff(grey, axis=0))
    edges[:, :-1] += np.abs(np.diff(grey, axis=1))
    total = np.pad(edges.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    height, width = min(side, grey.shape[0]), min(side, grey.shape[1])
    sums = (total[height:, width:] - total[:-height, width:]
            - total[height:, :-width] + total[:-height, :-width])[::scale, ::scale]
    top, left = np.unravel_index(np.argmax(sums), sums.shape)
    return int(top) * scale, int(left) * scale
