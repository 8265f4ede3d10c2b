"""Read nested YAML into dataclasses; an error names the key by its dotted path.

jsonargparse checks and converts single values. Nesting is resolved here, since jsonargparse ignores
`model: 7` and does not say where in a list of dataclasses it found a mistake.
"""

import ast
from dataclasses import MISSING, dataclass, field, fields
from typing import Dict, List

import yaml
from jsonargparse import ArgumentError, ArgumentParser
from jsonargparse.typing import NonNegativeInt, PositiveInt

from common.cli import UserError, did_you_mean, one_line
from common.python37 import Literal, get_args, get_origin

KINDS = {PositiveInt: "a whole number of at least 1", NonNegativeInt: "a whole number, 0 or more",
         float: "a number", bool: "true or false", str: "text", List[float]: "a list of numbers",
         List[PositiveInt]: "a list of whole numbers", Dict[str, float]: "named numbers"}


class Block:
    """Base class of the blocks; each becomes a dataclass of its keys.

    ONLY: {key: value}, more keys, for which only this value, or one of a tuple, is possible.
    OWN: {`name`: keys that only blocks of this name have}.
    NEED: {`name`: keys that blocks of this name must have}.
    OPEN: the names of blocks whose other keys are not read.
    path: where the block is in the YAML.
    """

    ONLY, OWN, NEED, OPEN, path = {}, {}, {}, (), ""

    def __init_subclass__(cls):
        dataclass(cls)

    def at(self, key):
        """The dotted path of a key."""
        return f"{self.path}.{key}" if self.path else key

    def translate(self, notes):
        """Check the keys together; return options that no single key sets, or None."""


def sets(option, meaning=None, default=None, note=None):
    """A key that sets an option, to `meaning[value]` or the value; `note` is for the user."""
    metadata = {"option": option, "meaning": meaning, "note": note}
    return field(metadata=metadata, **({} if default is MISSING else {"default": default}))


def blocks(value):
    """All blocks in a value, the outermost first."""
    if isinstance(value, Block):
        yield value
        value = vars(value)
    if isinstance(value, dict):
        value = list(value.values())
    for item in value if isinstance(value, list) else ():
        yield from blocks(item)


def read(kind, values, path=""):
    """Read a block.

    Args:
        kind: its class. A key may hold a Block, a list or a dict of Blocks, or Optional of these;
            in place of a dict there may be a single block, known by its `name`.
        values: what the YAML holds. A value of None counts as absent.
        path: its dotted path.

    Raises:
        UserError: a key is unknown, missing or of another `name`, or its value is not possible.
    """
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected keys and values, not {values!r}")
    at, keys = f"{path}." if path else "", {one.name: one for one in fields(kind)}
    values = {str(key): value for key, value in values.items()}
    name = values.get("name")
    if name is not None and "name" in keys:
        name = _convert(keys["name"].type, name, f"{at}name")
    if name in kind.OPEN:
        values = {"name": name}
    for key in values:
        owners = [other for other, own in kind.OWN.items() if key in own]
        if owners and name not in owners:
            raise UserError(f"{at}{key} belongs to {' or '.join(owners)}; {at}name is "
                            f"{name or 'missing'}")
        if key not in keys and key not in kind.ONLY:
            raise UserError(f"unknown key {at}{key}{did_you_mean(key, [*keys, *kind.ONLY])}")
    needed = [key for key, one in keys.items() if one.default is MISSING]
    for key in (*needed, *kind.NEED.get(name, ())):
        if values.get(key) is None:
            raise UserError(f"{at}{key} is missing")
    block = kind(**{key: _read_value(one.type, values[key], at + key)
                    for key, one in keys.items() if values.get(key) is not None})
    for key, only in kind.ONLY.items():
        setattr(block, key, _check(literal(values.get(key)), only, at + key))
    block.path = path
    return block


def _read_value(hint, value, path):
    """Read the value of a field: blocks of any shape, or what jsonargparse converts."""
    kind, inner = _block_in(hint), {get_origin(one): get_args(one)
                                    for one in (hint, *get_args(hint))}
    if kind is None:
        return _convert(hint, value, path)
    if list in inner:
        if not isinstance(value, list):
            raise UserError(f"{path}: expected a list, not {value!r}")
        return [read(kind, item, f"{path}.{i}") for i, item in enumerate(value)]
    if dict in inner and isinstance(value, dict) and "name" not in value:
        known = get_args(inner[dict][0]) or tuple(value)  # a Literal's values, or any key
        if not value or set(known) & set(value):
            for key in (key for key in value if key not in known):
                raise UserError(f"unknown key {path}.{key}{did_you_mean(key, known)}")
            return {key: read(kind, item, f"{path}.{key}") for key, item in value.items()
                    if item is not None}
    return read(kind, value, path)


def _block_in(hint):
    if get_args(hint):
        return next(filter(None, map(_block_in, get_args(hint))), None)
    return hint if isinstance(hint, type) and issubclass(hint, Block) else None


def _convert(hint, value, path):
    hints, given = (hint, *get_args(hint)), literal(value)  # YAML takes 1e-4 for text
    if str in hints and not isinstance(value, (dict, list)):
        given = str(value)  # and a folder 2020 for a number
    parser = ArgumentParser(exit_on_error=False, default_env=False)
    parser.add_argument("--value", type=hint)
    try:
        return parser.parse_object({"value": given}).value
    except ArgumentError as error:
        known = next((get_args(one) for one in hints if get_origin(one) is Literal), None)
        if known:
            raise UserError(f"{path} {value!r} is not known{did_you_mean(str(value), known)}; "
                            f"known: {', '.join(known)}") from error
        kind = next(KINDS[one] for one in hints if one in KINDS)
        raise UserError(f"{path}: expected {kind}, not {value!r}") from error


def _check(value, only, path):
    only = only if isinstance(only, tuple) else (only,)
    if value is not None and (list(value) if isinstance(value, tuple) else value) not in only:
        raise UserError(f"{path} {value!r} is not possible here, only "
                        f"{' or '.join(map(repr, only))}")
    return value


def literal(value):
    """Text that is a Python literal, such as `(0., 1.)` or `1e-4`, as its value."""
    try:
        return ast.literal_eval(value) if isinstance(value, str) else value
    except (ValueError, SyntaxError):
        return value


def override(values, setting):
    """Set one value in nested mappings and lists by "a.b.0.c=value"; the value is YAML.

    Raises:
        UserError: there is no such place.
    """
    path, equals, text = setting.partition("=")
    keys, problem = path.split("."), f"-o {setting}: "
    if not equals or not all(keys):
        raise UserError(problem + "expected key.key=value")
    try:
        value = literal(text) if literal(text) != text else yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(problem + one_line(error)) from error
    for i, key in enumerate(keys):
        where = ".".join(keys[:i])
        if isinstance(values, dict):
            key = next((known for known in values if str(known) == key), key)
        elif not isinstance(values, list):
            raise UserError(f"{problem}{where} is {values!r} and has nothing inside")
        elif not key.isdigit() or int(key) >= len(values):
            raise UserError(f"{problem}{where} is a list of {len(values)}, counted from 0; there "
                            f"is no {key!r} in it")
        else:
            key = int(key)
        if i + 1 == len(keys):
            values[key] = value
        elif isinstance(values, dict) and values.get(key) is None:
            values[key] = {}
        values = values[key]
