"""Weights of other programs as weights of the zoo.

What a model is converted from, and how, is in its `models/<name>/convert.py`: `EXPECTS` (kind of
file -> which), optionally `OPTIONS` (option of the network that a file does not tell -> type and
help) and `convert(source)`. That takes all arrays out of a `common.weights.source.Source`, raises
a `UserError` where they are another network's, and returns the scale (a tuple: any of these, with
`_x2` in the names of the layers that only one has; None: the file does not tell), the options of
the network and `{layer name: [arrays]}`.
"""

from pathlib import Path

import models
from common.cli import UserError
from common.scales import scale_name, scale_tuple
from common.weights import source as foreign_weights


def converters():
    """The modules `models/<name>/convert.py` that there are, by name."""
    found = {name: models.model(name).converter for name in models.available()}
    return {name: module for name, module in found.items() if module}


def convert(name, source, output, scale=None, tell=None, **options):
    """Convert a file and write the result.

    Args:
        name: of the model.
        source: the file, or the prefix, index or folder of a checkpoint.
        output: the `.h5` to write.
        scale: a number or a tuple; None: what the file has.
        tell: called with a line where the file left something to choose.
        options: of the network, in place of those that the file tells or the model's defaults.

    Returns:
        the model.

    Raises:
        UserError: an unknown model or one that is converted from nothing, a wrong or damaged
            file, a scale or option that does not fit.
    """
    from common import weights

    known = converters()
    models.model(name)
    if name not in known:
        raise UserError(f"{name} is converted from no other program's weights; "
                        f"{', '.join(known)} are")
    output = Path(output)
    if output.suffix != ".h5":
        raise UserError(f"weights are saved as .h5, not as {output.name}")
    if output.exists() and output.resolve() == Path(source).resolve():
        raise UserError(f"{output} is the source; name another file")
    found = foreign_weights.read(source, known[name].EXPECTS, name)
    if found.note and tell:
        tell(found.note)
    held, told, arrays = known[name].convert(found)
    scale = _scale(found, held, scale)
    others = [f"_x{s}" for s in scale_tuple(held) if s not in scale_tuple(scale)]
    arrays = {layer: arrays[layer] for layer in arrays if not any(x in layer for x in others)}
    model = models.create(name, scale, **{**told, **options})
    _check(model, arrays, found)
    weights.assign(model, arrays)
    weights.save(model, output)
    return model


def _scale(source, held, wanted):
    """The scale to build: what was asked for, or else what the file has."""
    if held is None and wanted is None:
        raise UserError(f"{source.path} does not tell its scale; give one with --scale")
    if None not in (held, wanted) and not set(scale_tuple(wanted)) <= set(scale_tuple(held)):
        raise UserError(f"{source.path} holds {source.what} {scale_name(held)}, not "
                        f"{scale_name(wanted)}; correct --scale")
    return held if wanted is None else wanted


def _check(model, arrays, source):
    from common.nn.keras_compat import layer_variables

    layers = {layer.name: layer_variables(layer) for layer in model.layers}
    layers = {name: variables for name, variables in layers.items() if variables}
    for name in {**layers, **arrays}:
        wanted = [tuple(variable.shape) for variable in layers.get(name, [])]
        given = [array.shape for array in arrays.get(name, [])]
        if given != wanted:
            raise source.unfit(f"layer {name} has arrays of {_shapes(given)}, not of "
                               f"{_shapes(wanted)}")


def _shapes(shapes):
    return ", ".join("x".join(map(str, shape)) for shape in shapes) or "nothing"
