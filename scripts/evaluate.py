"""Score a network, or bicubic, on a set of images: `python -m scripts.evaluate`."""

import json
import math
import time
from pathlib import Path

import numpy as np

import models
from common import metrics
from common.cli import UserError, run_command
from common.data import bicubic
from common.data.datasets import describe, open_images
from common.files import make_folder, write_text
from common.images import read_image, read_rgb, write_image
from common.options import OneLineParser
from scripts.network_options import Choice, add_network_options, choose_weights, open_upscaler

METRICS = {"psnr": metrics.psnr, "ssim": metrics.ssim}
_FORMATS = {"psnr": "{:.2f}", "ssim": "{:.4f}"}


def main(argv):
    """Run the command."""
    arguments = _parser().read(argv)
    _check(arguments)
    rows = [_row(arguments)]
    if arguments.per_image:
        listing = [[image["name"], *_scores(image, arguments.metrics)]
                   for image in rows[0]["per_image"]]
        print(_aligned(["image", *map(str.upper, arguments.metrics)], listing), end="\n\n")
    header, cells = table(rows, arguments.metrics)
    print(_aligned(header, cells))
    if arguments.json:
        write_text(arguments.json, json.dumps({"results": _finite(rows)}, indent=2) + "\n")
    if arguments.markdown:
        lines = [header, ["---"] * len(header), *cells]
        write_text(arguments.markdown, "".join(f"| {' | '.join(line)} |\n" for line in lines))


def evaluate(upscale, pairs, scale, channel="y", crop_border=None, names=("psnr", "ssim"),
             save_images=None):
    """Enlarge the LR images of some pairs and compare them with the HR images.

    Grey HR images are compared by their grey value. LR images that are missing are made by bicubic
    reduction; HR images are cropped at the bottom and right to `scale` times the LR image.

    Args:
        upscale: function of a uint8 image, [H, W] or [H, W, 3], that gives one `scale` times as
            large of the same kind.
        pairs: list of `common.data.datasets.Pair`.
        scale: how many times larger.
        channel, crop_border: see `common.metrics`; the border is `scale` by default.
        names: keys of `METRICS`.
        save_images: folder for the results as `<name>_x<scale>.png`.

    Returns:
        one dict per image: name, seconds of the enlargement, and the value of each metric.

    Raises:
        UserError: an image that cannot be read, is too small or does not fit its LR image.
    """
    from tqdm import tqdm

    crop_border = scale if crop_border is None else crop_border
    results = []
    for pair in tqdm(pairs, "images", leave=False, disable=None):
        try:
            lr, hr = _read(pair, scale)
            begin = time.perf_counter()
            sr = upscale(lr)
            result = {"name": pair.name, "seconds": round(time.perf_counter() - begin, 4)}
            for name in names:
                result[name] = METRICS[name](sr, hr, crop_border, channel)
        except ValueError as error:
            raise UserError(f"{pair.hr}: {error}") from error
        if save_images:
            write_image(Path(save_images) / f"{pair.name}_x{scale}.png", sr)
        results.append(result)
    return results


def table(rows, names):
    """Header and cells, as text, of result rows."""
    header = ["dataset", "model", "scale", "channel", "border", "images", *map(str.upper, names)]
    return header, [[row["dataset"], row["model"] + " self-ensemble" * row["self_ensemble"],
                     f"x{row['scale']}", row["channel"], str(row["crop_border"]),
                     str(row["images"]), *_scores(row, names)] for row in rows]


def _row(arguments):
    """One line of the result table: one model, scale and set."""
    if arguments.model == "bicubic":
        choice = Choice(None, "bicubic", arguments.scale)
    else:
        choice = choose_weights(arguments)
    path, model, scale = choice
    pairs = open_images(arguments.dataset, arguments.data_dir, scale)
    if arguments.save_images:
        _check_folder(arguments.save_images, pairs)
    upscale = open_upscaler(choice, arguments) if path else _bicubic(scale)
    border = scale if arguments.crop_border is None else arguments.crop_border
    images = evaluate(upscale, pairs, scale, arguments.channel, border, arguments.metrics,
                      arguments.save_images)
    return {"dataset": arguments.dataset, "model": model, "scale": scale,
            "channel": arguments.channel, "crop_border": border, "images": len(images),
            **{name: float(np.mean([image[name] for image in images]))
               for name in arguments.metrics},
            "self_ensemble": arguments.self_ensemble,
            "weights": Path(path).name if path else None,
            "seconds": round(sum(image["seconds"] for image in images), 4), "per_image": images}


def _bicubic(scale):
    return lambda image: bicubic.upscale(image, scale)


def _read(pair, scale):
    """LR and HR image of a pair, both uint8 [H, W] where both are grey, else both [H, W, 3]."""
    paths = [pair.hr] if pair.lr is None else [pair.hr, pair.lr]
    images = [read_rgb(path) for path in paths]
    if all(_is_grey(path) for path in paths):
        images = [np.ascontiguousarray(image[..., 0]) for image in images]
    if pair.lr is None:
        hr = bicubic.crop_to_multiple(images[0], scale)
        return bicubic.downscale(hr, scale), hr
    hr, lr = images
    return lr, hr[:lr.shape[0] * scale, :lr.shape[1] * scale]


def _is_grey(path):
    array, _ = read_image(path)
    return array.ndim == 2 or array.shape[-1] == 2


def _check(arguments):
    if arguments.model is None and arguments.weights is None:
        raise UserError("name a network or bicubic with --model, or a weight file with --weights")
    known = (*models.available(), "bicubic")
    if arguments.model not in (None, *known):
        raise UserError(f"no model {arguments.model!r}{models.nearest(arguments.model, known)}; "
                        f"choose one of {', '.join(known)}")
    if arguments.scale is not None and arguments.scale < 1:
        raise UserError(f"--scale {arguments.scale}: how many times larger, 2 or more")
    if arguments.crop_border is not None and arguments.crop_border < 0:
        raise UserError(f"--crop_border {arguments.crop_border}: pixels, 0 or more")
    if arguments.model == "bicubic":
        if arguments.scale is None:
            raise UserError("--model bicubic needs --scale")
        for option in ("weights", "self_ensemble", "tile", "tile_overlap"):
            if getattr(arguments, option):
                raise UserError(f"--{option} is for networks; bicubic has none")
    elif arguments.scale is None and arguments.weights is None:
        raise UserError(f"--model {arguments.model} needs --scale or --weights")
    for path in (arguments.json, arguments.markdown):
        if path and Path(path).is_dir():
            raise UserError(f"{path} is a folder; name a file")
        if path:
            make_folder(Path(path).parent)


def _check_folder(folder, pairs):
    names = [pair.name for pair in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UserError(f"two images are called {twice}; --save_images cannot keep both")
    if make_folder(folder).resolve() in {pair.hr.parent.resolve() for pair in pairs}:
        raise UserError(f"--save_images {folder} is the folder of the HR images; name another")


def _scores(values, names):
    return [_FORMATS[name].format(values[name]) for name in names]


def _aligned(header, cells):
    widths = [max(len(line[i]) for line in [header, *cells]) for i in range(len(header))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
                     for line in [header, *cells])


def _finite(value):
    """The same with null for infinite numbers, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _parser():
    parser = OneLineParser(
        prog="python -m scripts.evaluate",
        description="Score a network, or bicubic, on a set of images: PSNR in dB, and SSIM with an "
                    "11x11 Gaussian window of sigma 1.5 on the valid region.")
    parser.add_argument("--model", metavar="M",
                        help=f"{', '.join(models.available())}, or bicubic")
    parser.add_argument("--scale", type=int, metavar="S",
                        help="how many times larger; default: what --weights holds")
    parser.add_argument("--weights", metavar="W",
                        help="weight file of the zoo (.h5); default: the one that comes with it")
    parser.add_argument("--dataset", default="auto", metavar="D",
                        help=f"auto (told from the folder), or one of: {describe()}")
    parser.add_argument("--data_dir", metavar="DIR", help="the data set's folder")
    parser.add_argument("--channel", choices=metrics.CHANNELS, default="y",
                        help="y: luma of BT.601, as papers have it; rgb; gray: 8-bit grey")
    parser.add_argument("--crop_border", type=int, metavar="N",
                        help="pixels left out on each side; default: the scale")
    parser.add_argument("--metrics", nargs="+", choices=tuple(METRICS), default=["psnr", "ssim"],
                        help="what is computed")
    add_network_options(parser)
    parser.add_argument("--per_image", action="store_true", help="list every image as well")
    parser.add_argument("--save_images", metavar="DIR", help="write the results here as PNG")
    parser.add_argument("--json", metavar="F", help="write the results as JSON")
    parser.add_argument("--markdown", metavar="F", help="write the table as Markdown")
    return parser


if __name__ == "__main__":
    run_command(main)
