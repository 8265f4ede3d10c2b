"""Enlarge photographs with several weights, side by side: `python -m scripts.compare`.

The repository's `docs/photos.md` is made by it.
"""

import datetime
import shlex
import statistics
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

import models
from common.batch import add_size_option, find_sources
from common.cli import UserError, run_command
from common.device.machine import processor_name
from common.device.open import open_device
from common.device.quiet import quiet_tensorflow
from common.files import make_folder, write_text
from common.flags import OneLineParser
from common.images.files import at_most, read_rgb, write_image
from common.inference.upscaler import Upscaler
from common.metrics import psnr
from models.catalogue import find
from scripts.evaluate import bicubic_of

BICUBIC = "bicubic"
HEADER = 24


def main(argv):
    """Run the command."""
    arguments = _parser().read(argv)
    sources = find_sources(arguments.inputs)
    quiet_tensorflow(arguments.chip)
    open_device(arguments.chip, "float32")
    upscalers = _open(arguments.weights)
    folder = make_folder(arguments.output)
    with at_most(arguments.max_megapixels):
        rows = [_compare(source, upscalers, folder) for source in tqdm(sources, disable=None)]
    write_text(folder / "photos.md", "\n".join([_introduction(argv, arguments.weights),
                                                _table(rows, arguments.weights), _pictures(rows)]))
    print(folder / "photos.md")


def _open(names):
    from common.inference.forms.form import inference_form

    upscalers = {Path(name).name: Upscaler(inference_form(models.load(find(name))))
                 for name in names}
    if len({upscaler.scale for upscaler in upscalers.values()}) > 1:
        told = ", ".join(f"{name} x{each.scale}" for name, each in upscalers.items())
        raise UserError(f"weights of one scale are compared, these are {told}")
    return {BICUBIC: bicubic_of(next(iter(upscalers.values())).scale), **upscalers}


def _compare(source, upscalers, folder):
    """Enlarge one photograph; {"name", "picture", "seconds": {..}, "psnr": {..}} by upscaler.

    PSNR is to the answer of the last upscaler, RGB. Each network runs once unmeasured before.
    """
    lr = read_rgb(source)
    results, seconds = {}, {}
    for name, upscale in upscalers.items():
        upscale(lr)
        begin = time.perf_counter()
        results[name] = upscale(lr)
        seconds[name] = time.perf_counter() - begin
    last = list(results.values())[-1]
    name = Path(source).stem
    picture = make_folder(folder / "photos") / f"{name}.png"
    write_image(picture, _strip(results, upscalers))
    return {"name": name, "picture": picture, "size": f"{lr.shape[1]}x{lr.shape[0]}",
            "seconds": seconds, "psnr": {key: psnr(result, last) for key, result
                                         in list(results.items())[:-1]}}


def _strip(results, labels):
    """The results side by side at full size, each under its name; uint8 RGB."""
    height, width = next(iter(results.values())).shape[:2]
    sheet = Image.new("RGB", (len(results) * width, HEADER + height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=15)
    for column, (label, result) in enumerate(zip(labels, results.values())):
        draw.text((column * width + 4, 2), label, fill="black", font=font)
        sheet.paste(Image.fromarray(result), (column * width, HEADER))
    return np.asarray(sheet)


def _introduction(argv, names):
    names = [Path(name).name for name in names]
    return f"""# Photographs

Each photograph enlarged bicubically and by {', '.join(names)}: PSNR (dB, RGB)
to the answer of {names[-1]}, and seconds, all in one run, each after an unmeasured one.

Made on {datetime.date.today()} on {processor_name()} by

```bash
{shlex.join(["python", "-m", "scripts.compare", *argv])}
```
"""


def _table(rows, names):
    names = [BICUBIC, *(Path(name).name for name in names)]
    head = ["photograph", "LR size", *(f"{name}, dB" for name in names[:-1]),
            *(f"{name}, s" for name in names[1:])]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        lines.append([row["name"], row["size"],
                      *(f"{row['psnr'][name]:.2f}" for name in names[:-1]),
                      *(f"{row['seconds'][name]:.2f}" for name in names[1:])])
    if len(rows) > 1:
        lines.append(["median", "",
                      *(f"{statistics.median(row['psnr'][name] for row in rows):.2f}"
                        for name in names[:-1]),
                      *(f"{statistics.median(row['seconds'][name] for row in rows):.2f}"
                        for name in names[1:])])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _pictures(rows):
    return "".join(f"![{row['name']}](photos/{row['picture'].name})\n\n" for row in rows)


def _parser():
    parser = OneLineParser(
        prog="python -m scripts.compare",
        description="Enlarge photographs with several weights of one scale and write "
                    "OUT/photos.md, a table of seconds and of PSNR to the last weights' answers, "
                    "with OUT/photos/<name>.png, the results side by side.")
    parser.add_argument("inputs", nargs="+", metavar="IN", help="image files or folders")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="folder to write to")
    parser.add_argument("--weights", nargs="+", required=True, metavar="W",
                        help="names of the catalogue or .h5 files; the last is what the others "
                             "are compared with")
    parser.add_argument("--chip", choices=["auto", "cpu", "gpu"], default="cpu",
                        help="where the networks run")
    add_size_option(parser)
    return parser


if __name__ == "__main__":
    run_command(main)
