"""Measure weights on data sets and write `accuracy.md` with pictures: `python -m scripts.accuracy`.

The repository's `docs/accuracy.md` is made by it.
"""

import datetime
import shlex
from collections import namedtuple
from pathlib import Path

import numpy as np

import models
from common.cli import run_command
from common.data.sets import open_images
from common.device.machine import processor_name
from common.device.open import open_device
from common.device.quiet import quiet_tensorflow
from common.files import make_folder, write_text
from common.flags import OneLineParser
from common.images.files import read_rgb, write_image
from common.inference.upscaler import Upscaler
from common.scales import scale_tuple
from common.training.pictures import crop_sheet
from common.weights import read_metadata
from models.catalogue import CATALOGUE, find
from scripts.evaluate import bicubic_of, evaluate

BICUBIC = "bicubic"

# What is measured: its entry in the catalogue if it has one, and a function that enlarges.
Network = namedtuple("Network", "name model entry scale upscale")


def main(argv):
    """Run the command."""
    arguments = _parser().read(argv)
    quiet_tensorflow("cpu")
    open_device("cpu", "float32")
    folder = make_folder(arguments.output)
    networks = [each for name in arguments.weights or _bundled() for each in _open(name)]
    scales = sorted({network.scale for network in networks})
    pairs = {(name, scale): open_images(name, arguments.data_dir, scale)
             for name in arguments.dataset for scale in scales}
    parts = [_introduction(argv)]
    for name in arguments.dataset:
        parts.append(f"## {name}\n" + _table(networks, scales, name, pairs))
    for model in dict.fromkeys(network.model for network in networks):
        parts.append(_sheet(model, [each for each in networks if each.model == model],
                            pairs, arguments.dataset[0], folder))
    write_text(folder / "accuracy.md", "\n".join(parts))
    print(folder / "accuracy.md")


def _bundled():
    return [entry.name for entry in CATALOGUE.values() if entry.kind == "bundled"]


def _open(name):
    """A `Network` for each scale of the weights that a name or a path names."""
    from common.inference.forms.form import inference_form

    path = find(name)
    metadata = read_metadata(path)
    for scale in scale_tuple(metadata["scale"]):
        yield Network(Path(name).name, metadata["model"], CATALOGUE.get(str(name)), scale,
                      Upscaler(inference_form(models.load(path, scale=scale))))


def _introduction(argv):
    return f"""# Accuracy

PSNR (dB) and SSIM on luma, borders of `scale` pixels left out, MATLAB's bicubic LR images; "paper"
is what the network's paper reports; seconds are for the whole set. How each of the zoo's own was
trained, with its command: `models/<model>/weights/README.md`.

Made on {datetime.date.today()} on {processor_name()} by

```bash
{" ".join(map(shlex.quote, ["python", "-m", "scripts.accuracy", *argv]))}
```
"""


def _table(networks, scales, name, pairs):
    lines = ["weights | model | scale | PSNR | SSIM | paper | seconds | training",
             " | ".join(["---"] * 8)]
    for scale in scales:
        here = [network for network in networks if network.scale == scale]
        for network in [Network(BICUBIC, "", None, scale, bicubic_of(scale)), *here]:
            images = evaluate(network.upscale, pairs[name, scale], scale)
            psnr, ssim, seconds = (np.mean([image[key] for image in images]) * count
                                   for key, count in (("psnr", 1), ("ssim", 1),
                                                      ("seconds", len(images))))
            entry = network.entry
            paper = entry.paper.get(scale, "") if entry and name == "set5" else ""
            lines.append(f"{network.name} | {network.model} | x{scale} | {psnr:.2f} | {ssim:.4f} | "
                         f"{paper} | {seconds:.1f} | {entry.trained if entry else ''}")
    return "".join(f"| {line} |\n" for line in lines)


def _sheet(model, networks, pairs, name, folder):
    """Draw the crops of a model at its largest scale; return the Markdown that shows them."""
    scale = max(network.scale for network in networks)
    columns = [Network(BICUBIC, "", None, scale, bicubic_of(scale)),
               *(network for network in networks if network.scale == scale)]
    rows = []
    for pair in pairs[name, scale][:4]:
        lr, hr = pair.read(scale, read_rgb)
        images = [(each.name, each.upscale(lr)) for each in columns]
        rows.append((hr, scale, [(f"{pair.name}: LR x{scale}", lr), *images, ("HR", hr)]))
    path = make_folder(folder / "accuracy") / f"{model}.png"
    write_image(path, crop_sheet(rows, side=64, zoom=3))
    return f"## {model}\n![crops of {name} at x{scale}](accuracy/{path.name})\n"


def _parser():
    parser = OneLineParser(
        prog="python -m scripts.accuracy",
        description="Measure weights beside bicubic on data sets and write OUT/accuracy.md with "
                    "OUT/accuracy/<model>.png, a sheet of crops of the first set.")
    parser.add_argument("--data_dir", required=True, metavar="DIR",
                        help="the parent folder of the data sets")
    parser.add_argument("--output", "-o", required=True, metavar="OUT", help="folder to write to")
    parser.add_argument("--dataset", nargs="+", default=["set5"], metavar="D",
                        help="one or several sets of scripts.evaluate")
    parser.add_argument("--weights", nargs="+", metavar="W",
                        help="names of the catalogue or .h5 files; default: all bundled ones")
    return parser


if __name__ == "__main__":
    run_command(main)
