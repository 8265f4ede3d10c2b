"""Score networks, or bicubic, on sets of images: `python -m scripts.evaluate`."""

import json
import math
import tempfile
import time
from pathlib import Path

import numpy as np

import models
from common import bicubic, learned_metrics, metrics
from common.cli import UserError, did_you_mean, run_command
from common.data.sets import describe, open_images
from common.files import make_folder, write_text
from common.flags import OneLineParser
from common.images import read_image, read_rgb, write_image
from models.choose import add_network_options, open_upscaler
from models.weight_folders import choose_networks

# Functions of (sr, hr, crop_border, channel). Only the first two compare a channel.
METRICS = {
    "psnr": metrics.psnr,
    "ssim": metrics.ssim,
    "uiqm": lambda sr, hr, crop_border, channel: metrics.uiqm(sr, crop_border),
    "lpips": lambda sr, hr, crop_border, channel: learned_metrics.lpips(sr, hr, crop_border),
    "niqe": lambda sr, hr, crop_border, channel: learned_metrics.niqe(sr, crop_border),
}
_FORMATS = {"psnr": "{:.2f}", "ssim": "{:.4f}", "uiqm": "{:.3f}", "lpips": "{:.4f}",
            "niqe": "{:.3f}"}


def main(argv):
    """Run the command; status 2 if some weights of a folder could not be measured."""
    arguments = _parser().read(argv)
    _check(arguments)
    with tempfile.TemporaryDirectory() as folder:
        networks, failed = choose_networks(arguments, Path(folder))
        rows = list(_rows(arguments, networks))
    keys = _telling(rows)
    if arguments.per_image:
        listing = [[*(_cell(row, key) for key in keys), image["name"],
                    *_scores(image, arguments.metrics)]
                   for row in rows for image in row["per_image"]]
        print(_aligned([*keys, "image", *map(str.upper, arguments.metrics)], listing), end="\n\n")
    header, cells = table(rows, arguments.metrics)
    print(_aligned(header, cells))
    if arguments.json:
        write_text(arguments.json, json.dumps({"results": _finite(rows)}, indent=2) + "\n")
    if arguments.markdown:
        lines = [header, ["---"] * len(header), *cells]
        write_text(arguments.markdown, "".join(f"| {' | '.join(line)} |\n" for line in lines))
    return 2 if failed else 0


def evaluate(upscale, pairs, scale, channel="y", crop_border=None, names=("psnr", "ssim"),
             save_images=None):
    """Enlarge the LR images of some pairs and compare them with the HR images.

    Grey HR images are compared by their grey value. LR images that are missing are made by bicubic
    reduction; HR images are cropped at the bottom and right to `scale` times the LR image.

    Args:
        upscale: function of a uint8 image, [H, W] or [H, W, 3], that gives one `scale` times as
            large of the same kind.
        pairs: list of `common.data.pairs.Pair`.
        scale: how many times larger.
        channel, crop_border: see `common.metrics`; the border is `scale` by default. UIQM, LPIPS
            and NIQE are of the RGB image whatever the channel.
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
    """Header and cells, as text, of result rows; the file is named where there are several."""
    header = ["dataset", "model", "scale", "channel", "border", "images", *map(str.upper, names)]
    cells = [[_cell(row, "dataset"), row["model"] + _variant(row), _cell(row, "scale"),
              row["channel"], str(row["crop_border"]), str(row["images"]), *_scores(row, names)]
             for row in rows]
    if "weights" in _telling(rows):
        header, cells = ["weights", *header], [[_cell(row, "weights"), *line]
                                               for row, line in zip(rows, cells)]
    return header, cells


def _variant(row):
    recursions = "" if row["recursions"] is None else f" recursions {row['recursions']}"
    return recursions + " self-ensemble" * row["self_ensemble"]


def _telling(rows):
    """What tells the rows apart, of weights, dataset and scale."""
    return [key for key in ("weights", "dataset", "scale") if len({row[key] for row in rows}) > 1]


def _cell(row, key):
    return f"x{row['scale']}" if key == "scale" else str(row[key])


def _rows(arguments, networks):
    """The lines of the result table: of each weight file every set at every scale."""
    scales = sorted({choice.scale for _, choices in networks for choice in choices})
    pairs = {(name, scale): open_images(name, arguments.data_dir, scale)
             for name in arguments.dataset for scale in scales}
    places = {}
    if arguments.save_images:
        places = _image_folders(arguments, networks, pairs)
    for weights, choices in networks:
        upscalers = {choice.scale: open_upscaler(choice, arguments) if choice.path
                     else _bicubic(choice.scale) for choice in choices}
        for name in arguments.dataset:
            for choice in choices:
                yield _row(arguments, weights, choice, name, upscalers[choice.scale],
                           pairs[name, choice.scale],
                           places.get((weights, name, choice.scale)))


def _row(arguments, weights, choice, name, upscale, pairs, save_images):
    """One line of the result table: one weight file, set and scale."""
    scale = choice.scale
    border = scale if arguments.crop_border is None else arguments.crop_border
    images = evaluate(upscale, pairs, scale, arguments.channel, border, arguments.metrics,
                      save_images)
    return {"dataset": name, "model": choice.model, "scale": scale,
            "channel": arguments.channel, "crop_border": border, "images": len(images),
            **{name: float(np.mean([image[name] for image in images]))
               for name in arguments.metrics},
            "self_ensemble": arguments.self_ensemble, "recursions": arguments.recursions,
            "weights": weights, "seconds": round(sum(image["seconds"] for image in images), 4),
            "per_image": images}


def _image_folders(arguments, networks, pairs):
    """{(weights, set, scale): folder for its pictures}, below `--save_images` where several."""
    keys = [(weights, name, choice.scale) for weights, choices in networks
            for choice in choices for name in arguments.dataset]
    several = [len(set(column)) > 1 for column in zip(*keys)]
    folders = {}
    for key in keys:
        parts = (key[0], key[1], f"x{key[2]}")
        folders[key] = Path(arguments.save_images).joinpath(
            *(str(part) for part, needed in zip(parts, several) if needed))
        _check_folder(folders[key], pairs[key[1:]])
    return folders


def _bicubic(scale):
    return lambda image: bicubic.upscale(image, scale)


def _read(pair, scale):
    """LR and HR image of a pair, both uint8 [H, W] where both are grey, else both [H, W, 3]."""
    grey = all(_is_grey(path) for path in (pair.hr, pair.lr) if path)
    return pair.read(scale, _read_grey if grey else read_rgb)


def _read_grey(path):
    return np.ascontiguousarray(read_rgb(path)[..., 0])


def _is_grey(path):
    array, _ = read_image(path)
    return array.ndim == 2 or array.shape[-1] == 2


def _check(arguments):
    if arguments.model is None and arguments.weights is None:
        raise UserError("name a network or bicubic with --model, or a weight file with --weights")
    known = (*models.available(), "bicubic")
    if arguments.model not in (None, *known):
        raise UserError(f"no model {arguments.model!r}{did_you_mean(arguments.model, known)}; "
                        f"choose one of {', '.join(known)}")
    for name in ("scale", "dataset", "metrics"):
        values = getattr(arguments, name)
        if values is not None:
            setattr(arguments, name, list(dict.fromkeys(values)))
    if min(arguments.scale or [1]) < 1:
        raise UserError(f"--scale {min(arguments.scale)}: how many times larger, 2 or more")
    if arguments.crop_border is not None and arguments.crop_border < 0:
        raise UserError(f"--crop_border {arguments.crop_border}: pixels, 0 or more")
    if arguments.model == "bicubic":
        if arguments.scale is None:
            raise UserError("--model bicubic needs --scale")
        for option in ("weights", "to_weights", "interpolate", "self_ensemble", "tile",
                       "tile_overlap", "recursions"):
            if getattr(arguments, option):
                raise UserError(f"--{option} is for networks; bicubic has none")
    elif arguments.scale is None and arguments.weights is None:
        raise UserError(f"--model {arguments.model} needs --scale or --weights")
    for name in arguments.metrics:
        if name in learned_metrics.SMALLEST:
            learned_metrics.open_metric(name)  # before an hour of enlarging, not after
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
        description="Score networks, or bicubic, on sets of images: PSNR in dB; SSIM with an 11x11 "
                    "Gaussian window of sigma 1.5 on the valid region; UIQM, the quality of "
                    "underwater images; LPIPS and NIQE by the package pyiqa.")
    parser.add_argument("--model", metavar="M",
                        help=f"{', '.join(models.available())}, or bicubic")
    parser.add_argument("--scale", type=int, nargs="+", metavar="S",
                        help="how many times larger, one or several; default: what --weights holds")
    parser.add_argument("--weights", metavar="W",
                        help="weight file of the zoo (.h5), or a folder: every .h5 and every "
                             "training checkpoint in it; default: the file that comes with the zoo")
    parser.add_argument("--dataset", nargs="+", default=["auto"], metavar="D",
                        help=f"auto (told from the folder), or one or several of: {describe()}")
    parser.add_argument("--data_dir", metavar="DIR",
                        help="the data set's folder, or the one that has it as a sub-folder")
    parser.add_argument("--channel", choices=metrics.CHANNELS, default="y",
                        help="what PSNR and SSIM compare: y: luma of BT.601, as papers have it; "
                             "rgb; gray: 8-bit grey")
    parser.add_argument("--crop_border", type=int, metavar="N",
                        help="pixels left out on each side; default: the scale")
    parser.add_argument("--metrics", nargs="+", choices=tuple(METRICS), default=["psnr", "ssim"],
                        help="what is computed, one or several of psnr, ssim and lpips, which "
                             "compare with the HR image, and uiqm and niqe, which need none; "
                             "lower is better of lpips and niqe; these two take pip install pyiqa")
    add_network_options(parser)
    parser.add_argument("--per_image", action="store_true", help="list every image as well")
    parser.add_argument("--save_images", metavar="DIR",
                        help="write the results here as PNG, in sub-folders where there are "
                             "several weights, sets or scales")
    parser.add_argument("--json", metavar="F", help="write the results as JSON")
    parser.add_argument("--markdown", metavar="F", help="write the table as Markdown")
    return parser


if __name__ == "__main__":
    run_command(main)
