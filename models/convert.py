"""Convert weights of other programs to weights of the zoo.

Each `models/<name>/convert.py` defines `EXPECTS` (kind of file -> description), optionally
`OPTIONS` (network option that files do not contain -> type and help), and `convert(source)`.
`convert` takes all arrays out of a `common.weights.source.Source` and returns the scale, the
network's options and `{layer name: [arrays]}`; it raises a `UserError` if the arrays belong to
another network. The scale is a number, a tuple for a file that fits each of them (layers of a
single scale have `_x2` etc. in their names), or None if the file does not contain it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import models
from common.cli import UserError, one_line
from common.files import check_suffix
from common.scales import scale_name, scale_tuple
from common.untrusted import damaged
from common.weights import source as foreign_weights
from models.choose import wrong_content


def converters() -> dict[str, ModuleType]:
    """Return the modules `models/<name>/convert.py` by model name."""
    found = {name: models.model(name).converter for name in models.available()}
    return {name: module for name, module in found.items() if module}


def convert(name: str, source: str | Path, output: str | Path,
            scale: int | tuple | None = None, report: Callable | None = None,
            **options: Any) -> Any:
    """Convert a file and write the result.

    Args:
        name: the model.
        source: the file, or the prefix, index or folder of a checkpoint.
        output: the `.h5` to write.
        scale: a number or a tuple; None: the file's.
        report: called with a line if one of several networks in the file was chosen.
        options: network options that replace those of the file and the model's defaults.

    Returns:
        the model.

    Raises:
        UserError: an unknown model or one without a converter, a wrong or damaged file, or a scale
            or option that does not fit.
    """
    from common import weights
    from common.nn.keras_compat import at_most

    known = converters()
    models.model(name)
    if name not in known:
        raise UserError(f"no weights of other programs can be converted to {name}; only to "
                        f"{', '.join(known)}")
    check_suffix(output, ".h5")
    output = Path(output)
    if output.exists() and output.resolve() == Path(source).resolve():
        raise UserError(f"{output} is the source; name another file")
    found = foreign_weights.read(source, known[name].EXPECTS, name)
    if found.note and report:
        report(found.note)
    elements = sum(array.size for array in found.arrays.values())
    try:
        held, found_options, arrays = known[name].convert(found)
    except (TypeError, ValueError, IndexError, KeyError, ZeroDivisionError) as error:
        raise found.unfit(f"its arrays have other shapes ({one_line(error)})") from error
    scale = _scale(found, held, scale)
    others = [f"_x{s}" for s in scale_tuple(held) if s not in scale_tuple(scale)]
    arrays = {layer: arrays[layer] for layer in arrays if not any(x in layer for x in others)}
    # One number may become a layer of many, but no file makes a network out of nothing.
    with damaged(source), at_most(2 * elements + 1_000_000):
        model = models.create(name, scale, **{**found_options, **options})
    _check(model, arrays, found)
    weights.assign(model, arrays)
    weights.save(model, output)
    return model


def _scale(source, held, wanted):
    """The scale to build: the wanted one, else the file's."""
    if held is None and wanted is None:
        raise UserError(f"{source.path} does not contain its scale; give it with --scale")
    if None not in (held, wanted) and not set(scale_tuple(wanted)) <= set(scale_tuple(held)):
        raise wrong_content(f"{source.path} holds {source.what} {scale_name(held)}",
                            scale_name(wanted), "--scale")
    return held if wanted is None else wanted


def _check(model, arrays, source):
    from common.nn.keras_compat import layer_variables

    layers = {layer.name: layer_variables(layer) for layer in model.layers}
    layers = {name: variables for name, variables in layers.items() if variables}
    for name in {**layers, **arrays}:
        wanted = [tuple(variable.shape) for variable in layers.get(name, [])]
        given = [array.shape for array in arrays.get(name, [])]
        if given != wanted:
            raise source.unfit(f"layer {name} has arrays of shape {_shapes(given)}, not "
                               f"{_shapes(wanted)}")


def _shapes(shapes):
    return ", ".join("x".join(map(str, shape)) for shape in shapes) or "nothing"
