"""Nested mappings of which every key has to be known: a mistake is named by its dotted path."""

import ast

import yaml

from common.cli import UserError, did_you_mean, one_line


class Section:
    """A mapping, read key by key; `close` then names the keys that nobody asked for.

    A key whose value is nothing (None) counts as absent.

    Args:
        values: the mapping; None is an empty one.
        path: its dotted path, for messages.

    Raises:
        UserError: it is no mapping. The methods raise it for a value of a wrong type.
    """

    def __init__(self, values, path=""):
        if not isinstance(values, (dict, type(None))):
            raise UserError(f"{path}: expected keys and values, not {values!r}")
        self._values = {str(key): value for key, value in (values or {}).items()}
        self._asked = []
        self.path = path

    def at(self, key):
        """The dotted path of a key."""
        return f"{self.path}.{key}" if self.path else str(key)

    def take(self, key, default=None):
        """The value as it is."""
        self._asked.append(key)
        value = self._values.get(key)
        return default if value is None else value

    def text(self, key):
        """A word or a path, or None."""
        value = self.take(key)
        if isinstance(value, (dict, list, tuple)):
            raise self.wrong(key, "a text")
        return None if value is None else str(value)

    def name(self, *known):
        """The key `name`, one of some or nothing."""
        value = self.text("name")
        if value is not None and value not in known:
            raise UserError(f"{self.at('name')} {value!r} is not known"
                            f"{did_you_mean(value, known)}; known: {', '.join(known)}")
        return value

    def number(self, key, default=None):
        """A number, also one that YAML takes for a text, as 1e-4."""
        value = literal(self.take(key, default))
        if isinstance(value, bool) or not isinstance(value, (int, float, type(None))):
            raise self.wrong(key, "a number")
        return value

    def count(self, key, lowest=1):
        """A whole number, or None."""
        value = self.number(key)
        if value is not None and (value != int(value) or value < lowest):
            raise self.wrong(key, f"a whole number of at least {lowest}")
        return None if value is None else int(value)

    def numbers(self, key, default=()):
        """A list of numbers."""
        value = literal(self.take(key, default))
        items = [literal(item) for item in value] if isinstance(value, (list, tuple)) else [None]
        if any(isinstance(item, bool) or not isinstance(item, (int, float)) for item in items):
            raise self.wrong(key, "a list of numbers")
        return items

    def truth(self, key, default=None):
        """True or false."""
        value = self.take(key, default)
        if not isinstance(value, (bool, type(None))):
            raise self.wrong(key, "true or false")
        return value

    def fixed(self, key, *allowed):
        """Only these values, or none, are possible here."""
        value = literal(self.take(key))
        if value is not None and value not in allowed:
            raise UserError(f"{self.at(key)} {value!r} is not possible here, only "
                            f"{' or '.join(map(repr, allowed))}")

    def holds(self, key):
        """Whether the key is there."""
        return self.take(key) is not None

    def section(self, key):
        """The mapping under a key; an empty one where it is absent."""
        return Section(self.take(key), self.at(key))

    def sections(self, key):
        """The list of mappings under a key."""
        items = self.take(key, [])
        if not isinstance(items, list):
            raise self.wrong(key, "a list")
        return [Section(item, f"{self.at(key)}.{i}") for i, item in enumerate(items)]

    def items(self):
        """All (key, value) pairs, which thereby count as asked for."""
        self._asked += self._values
        return list(self._values.items())

    def need(self, *keys):
        """These keys have to be there."""
        for key in keys:
            if self._values.get(key) is None:
                raise UserError(f"{self.at(key)} is missing")

    def close(self):
        """No other keys may be there."""
        for key in self._values:
            if key not in self._asked:
                raise UserError(f"unknown key {self.at(key)}{did_you_mean(key, self._asked)}")
        return self

    def wrong(self, key, expected):
        """The error for a value of another kind than expected."""
        return UserError(f"{self.at(key)}: expected {expected}, not {self._values[key]!r}")


def literal(value):
    """A text that reads as a Python literal, as `(0., 1.)` and `1e-4`, as that."""
    try:
        return ast.literal_eval(value) if isinstance(value, str) else value
    except (ValueError, SyntaxError):
        return value


def override(values, setting):
    """Set one value inside nested mappings and lists by "a.b.0.c=value"; the value is YAML.

    Raises:
        UserError: no such place.
    """
    path, equals, text = setting.partition("=")
    keys = path.split(".")
    if not equals or not all(keys):
        raise UserError(f"-o {setting}: expected key.key=value")
    for i, key in enumerate(keys[:-1]):
        place, key = _place(values, key, keys[:i], setting)
        if isinstance(place, dict) and place.get(key) is None:
            place[key] = {}
        values = place[key]
    place, key = _place(values, keys[-1], keys[:-1], setting)
    try:
        place[key] = literal(text) if literal(text) != text else yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"-o {setting}: {one_line(error)}") from error


def _place(values, key, above, setting):
    """A mapping or list and the key or index in it."""
    if isinstance(values, dict):
        return values, next((known for known in values if str(known) == key), key)
    where = ".".join(above)
    if not isinstance(values, list):
        raise UserError(f"-o {setting}: {where} is {values!r} and has nothing inside")
    if not key.isdigit() or int(key) >= len(values):
        raise UserError(f"-o {setting}: {where} is a list of {len(values)}, counted from 0; "
                        f"there is no {key!r} in it")
    return values, int(key)
