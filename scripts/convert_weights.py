"""Convert weights of other programs to the zoo's `.h5`: `python -m scripts.convert_weights`."""

import json

from common.cli import UserError, run_command
from common.device.quiet import quiet_tensorflow
from common.flags import OneLineParser
from common.scales import scale_name
from common.weights.source import KINDS
from models.convert import convert, converters


def main(argv):
    """Run the command."""
    arguments = _parser(converters()).read(_join_scales(argv))
    scale = _scale(arguments.scale)
    quiet_tensorflow("cpu")
    options = {name: value for name, value in arguments.as_dict().items()
               if name not in ("model", "scale", "source", "output") and value is not None}
    model = convert(arguments.model, arguments.source, arguments.output, scale, print,
                    **options)
    metadata = json.loads(model.zoo_metadata)
    found = ", ".join(f"{name} {value}" for name, value in metadata["options"].items())
    print(f"{arguments.output}: {arguments.model} {scale_name(metadata['scale'])}, {found}, "
          f"{model.count_params():,} parameters")


def _join_scales(argv):
    """Turn `--scale 2 3 4 SOURCE` into `--scale 2,3,4 SOURCE`, so that it ends before SOURCE."""
    joined = []
    for argument in argv:
        if argument.isdigit() and len(joined) > 1 and joined[-2] == "--scale":
            joined[-1] += f",{argument}"
        else:
            joined.append(argument)
    return joined


def _scale(text):
    if text is None:
        return None
    try:
        scales = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError as error:
        raise UserError(f"--scale must be numbers such as 2 or 2 3 4, got {text!r}") from error
    return scales if len(scales) > 1 else scales[0]


def _parser(modules):
    lines = [f"{name}: {KINDS[kind]} ({which})"
             for name, module in modules.items() for kind, which in module.EXPECTS.items()]
    parser = OneLineParser(
        prog="python -m scripts.convert_weights",
        description="Convert weights of other programs to an .h5 of the zoo. " + "; ".join(lines))
    parser.add_argument("source", metavar="SOURCE",
                        help="the file, or a TensorFlow checkpoint's prefix, index or folder")
    parser.add_argument("output", metavar="OUT.h5", help="weight file to write")
    parser.add_argument("--model", required=True, metavar="M", help="the network")
    parser.add_argument("--scale", type=str, metavar="S [S...]",
                        help="one scale, or several for a joint network; default: the file's")
    flags = {}
    for name, module in modules.items():
        for option, (kind, text) in getattr(module, "OPTIONS", {}).items():
            flags.setdefault((option, kind), []).append(f"{name}: {text}")
    for (option, kind), texts in flags.items():
        parser.add_argument(f"--{option}", type=kind, help="; ".join(texts))
    return parser


if __name__ == "__main__":
    run_command(main)
