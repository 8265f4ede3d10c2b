"""Report operations that an Ascend NPU cannot run: `python -m scripts.npu_check --model edsr`.

No NPU is needed. The functions that training and inference run are traced at a small size and
checked with all that they call, and so are the layers of the models.
"""


import models
from common.cli import UserError
from common.device.quiet import quiet_tensorflow
from common.files import write_json
from common.flags import OneLineParser
from common.modelzoo.flags import pairs, words
from common.scales import scale_name
from scripts.npu_check.check import check

_OWN = ("--model", "--mode", "--json", "--help", "-h")


def main(argv):
    """Run the command; returns exit status 1 if anything was found."""
    arguments, flags = _read(argv)
    quiet_tensorflow("cpu")
    if arguments.model != "all" and arguments.model not in models.available():
        models.model(arguments.model)  # says what is wrong
    names = models.available() if arguments.model == "all" else [arguments.model]
    modes = ("train", "infer") if arguments.mode == "both" else (arguments.mode,)
    rows = []
    for row in check(names, modes, flags):
        rows.append(row)
        for line in lines(row):
            print(line, flush=True)
    if arguments.json:
        write_json(arguments.json, {"results": rows})
    return 1 if any(row["findings"] for row in rows) else 0


def lines(row):
    """The lines of text for a row of `check`: one per finding, or one that says there is none."""
    what = f"{row['model']} {scale_name(row['scale'])} {row['mode']}"
    what += f" ({row['stage']})" if row["stage"] else ""
    for finding in row["findings"]:
        layer, count = finding["layer"], finding["count"]
        place = f" in layer {layer}" if layer and layer != finding["name"] else ""
        more = f", and {count - 1} more" if count > 1 else ""
        yield (f"{what}: {finding['kind']}: {finding['name']}{place}{more}: {finding['problem']}; "
               f"{finding['advice']}")
    if not row["findings"]:
        yield (f"{what}: nothing found in {row['operations']} operations of {row['kinds']} kinds "
               f"(supported ones: {row['list']})")


def _read(argv):
    """The command's own arguments, and the flags that belong to the train command."""
    given = pairs(argv)
    arguments = _parser().read(words(flag for flag in given if _is_own(*flag)))
    if arguments.model is None:
        raise UserError("name the network to check with --model, or --model all")
    flags = words(flag for flag in given if not _is_own(*flag))
    if arguments.model == "all" and any(not flag.startswith("--scale=") for flag in flags):
        raise UserError(f"{flags[0].split('=')[0]} is for one network; name it with --model")
    return arguments, flags


def _is_own(name, value):
    return (value if name is None else name) in _OWN


def _parser():
    parser = OneLineParser(
        prog="python -m scripts.npu_check",
        usage="python -m scripts.npu_check --model M [--scale S] [options of the train command]",
        description="Report operations of training and inference that an Ascend NPU cannot run. "
                    "Needs no NPU; exit status 1 if there are any.",
        epilog="All other flags are those of the model's train command, e.g. --scale 4, "
               "--num_blocks 16, --discriminator unet, --preset demo. By default the network is "
               "small.")
    parser.add_argument("--model", metavar="M", help="the network to check, or all")
    parser.add_argument("--mode", choices=["train", "infer", "both"], default="both",
                        help="what to check")
    parser.add_argument("--json", metavar="F", help="also write the findings to this file")
    return parser
