"""Pictures of a run: sheets of samples and curves of the losses."""

from collections import namedtuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from common.files import atomic_path

# A row of a sample sheet: uint8 RGB images and what was measured.
Picture = namedtuple("Picture", "name scale lr bicubic sr hr bicubic_psnr psnr")

_CURVES = (("training loss", ["loss"]), ("learning rate", ["learning_rate"]),
           ("discriminator loss", ["discriminator"]),
           ("discriminator's logits", ["d_real", "d_fake"]),
           ("validation PSNR, dB", ["val_psnr"]))


def draw_curves(rows, path, bicubic_psnr=None):
    """Draw losses, learning rate and validation PSNR over the steps to a PNG."""
    from matplotlib.figure import Figure

    known = {key for row in rows for key, value in row.items() if value is not None}
    plots = [(title, [key for key in keys if key in known]) for title, keys in _CURVES]
    plots = [(title, keys) for title, keys in plots if keys]
    figure = Figure(figsize=(4 * len(plots), 3.6))
    for axis, (title, keys) in zip(figure.subplots(1, len(plots), squeeze=False)[0], plots):
        for key in keys:
            points = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
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
    """One row per `Picture` of LR, bicubic, SR and HR; arguments and result as `crop_sheet`."""
    return crop_sheet([(each.hr, each.scale, [
        (f"{each.name}: LR x{each.scale}", each.lr),
        (f"bicubic {each.bicubic_psnr:.2f} dB", each.bicubic),
        (f"SR {each.psnr:.2f} dB", each.sr), ("HR", each.hr)]) for each in pictures], side, zoom)


def crop_sheet(rows, side=96, zoom=3):
    """A sheet of images side by side, each row cut out where its HR image has most detail.

    Args:
        rows: list of (HR image, scale, [(label, image), ...]); an image is uint8 RGB of the HR
            image's size or `scale` times smaller.
        side: of the cut, HR pixels.
        zoom: how many screen pixels a HR pixel gets; pixels are repeated, not smoothed.

    Returns:
        a uint8 RGB array.
    """
    cell, gap, header = side * zoom, 8, 24
    try:
        font = ImageFont.load_default(size=15)
    except TypeError:  # before Pillow 10.1; Python 3.7 has 9.5
        font = ImageFont.load_default()
    columns = max(len(images) for _, _, images in rows)
    sheet = Image.new("RGB", (columns * (cell + gap) + gap,
                              len(rows) * (cell + header + gap) + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (hr, scale, images) in enumerate(rows):
        top, left = _most_detailed(hr, side, scale)
        height, width = hr[top:top + side, left:left + side].shape[:2]
        y = gap + row * (cell + header + gap)
        for column, (label, image) in enumerate(images):
            x = gap + column * (cell + gap)
            draw.text((x, y), label, fill="black", font=font)
            less = 1 if image.shape[0] > hr.shape[0] // scale else scale
            pixels = Image.fromarray(np.ascontiguousarray(
                image[top // less:(top + side) // less, left // less:(left + side) // less]))
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
