"""Weights of other programs as weights of the zoo: `python -m scripts.convert_weights`.

What a model is converted from, and how, is in its `models/<name>/convert.py`: `EXPECTS` (kind of
file -> which), optionally `OPTIONS` (option of the network that a file does not tell -> type and
help) and `convert(source, scale)`, which gives the scale, the options and the arrays by layer.
"""

import importlib
import importlib.util
import json
from pathlib import Path

import models
from common import foreign_weights
from common.cli import UserError, run_command
from common.device import quiet_tensorflow
from common.options import OneLineParser
from common.scales import scale_name


def main(argv):
    """Run the command."""
    converters = _converters()
    arguments = _parser(converters).read(_join_scales(argv))
    scale = _scale(arguments.scale)
    quiet_tensorflow("cpu")
    options = {name: value for name, value in arguments.as_dict().items()
               if name not in ("model", "scale", "source", "output") and value is not None}
    model = convert(arguments.model, arguments.source, arguments.output, scale, **options)
    metadata = json.loads(model.zoo_metadata)
    told = ", ".join(f"{name} {value}" for name, value in metadata["options"].items())
    print(f"{arguments.output}: {arguments.model} {scale_name(metadata['scale'])}, {told}, "
          f"{model.count_params():,} parameters")


def convert(name, source, output, scale=None, **options):
    """Convert a file and write the result.

    Args:
        name: of the model.
        source: the file, or the prefix, index or folder of a checkpoint.
        output: the `.h5` to write.
        scale: a number or a tuple; None: what the file has.
        options: of the network, in place of those that the file tells or the model's defaults.

    Returns:
        the model.

    Raises:
        UserError: an unknown model or one that is converted from nothing, a wrong or damaged
            file, a scale or option that does not fit.
    """
    from common import weights

    converters = _converters()
    models.network(name)
    if name not in converters:
        raise UserError(f"{name} is converted from no other program's weights; "
                        f"{', '.join(converters)} are")
    output = Path(output)
    if output.suffix != ".h5":
        raise UserError(f"weights are saved as .h5, not as {output.name}")
    if output.exists() and output.resolve() == Path(source).resolve():
        raise UserError(f"{output} is the source; name another file")
    converter = converters[name]
    found = foreign_weights.read(source, converter.EXPECTS, name)
    scale, told, arrays = converter.convert(found, scale)
    model = models.create(name, scale, **{**told, **options})
    _assign(model, arrays, found)
    weights.save(model, output)
    return model


def _assign(model, arrays, source):
    from common.keras_compat import layer_variables

    layers = {layer.name: layer_variables(layer) for layer in model.layers}
    layers = {name: variables for name, variables in layers.items() if variables}
    for name in {**layers, **arrays}:
        wanted = [tuple(variable.shape) for variable in layers.get(name, [])]
        given = [array.shape for array in arrays.get(name, [])]
        if given != wanted:
            raise source.unfit(f"layer {name} has arrays of {_shapes(given)}, not of "
                               f"{_shapes(wanted)}")
    for name, variables in layers.items():
        for variable, array in zip(variables, arrays[name]):
            variable.assign(array)


def _shapes(shapes):
    return ", ".join("x".join(map(str, shape)) for shape in shapes) or "nothing"


def _converters():
    """The modules `models/<name>/convert.py` that there are, by name."""
    return {name: importlib.import_module(f"models.{name}.convert") for name in models.available()
            if importlib.util.find_spec(f"models.{name}.convert")}


def _join_scales(argv):
    """`--scale 2 3 4 SOURCE` as `--scale 2,3,4 SOURCE`, so that it does not swallow the files."""
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
        raise UserError(f"--scale takes numbers such as 2 or 2 3 4, not {text!r}") from error
    return scales if len(scales) > 1 else scales[0]


def _parser(converters):
    lines = [f"{name}: {foreign_weights.KINDS[kind]} ({which})"
             for name, module in converters.items() for kind, which in module.EXPECTS.items()]
    parser = OneLineParser(
        prog="python -m scripts.convert_weights",
        description="Convert weights of other programs to an .h5 of the zoo. " + "; ".join(lines))
    parser.add_argument("source", metavar="SOURCE",
                        help="the file; of a TensorFlow checkpoint the prefix, index or folder")
    parser.add_argument("output", metavar="OUT.h5", help="the weight file to write")
    parser.add_argument("--model", required=True, metavar="M", help="the network")
    parser.add_argument("--scale", type=str, metavar="S [S...]",
                        help="scale, or several of a network that can have them; default: what "
                             "the file has")
    flags = {}
    for name, module in converters.items():
        for option, (kind, text) in getattr(module, "OPTIONS", {}).items():
            flags.setdefault((option, kind), []).append(f"of {name}: {text}")
    for (option, kind), texts in flags.items():
        parser.add_argument(f"--{option}", type=kind, help="; ".join(texts))
    return parser


if __name__ == "__main__":
    run_command(main)
