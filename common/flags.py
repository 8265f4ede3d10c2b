"""A dataclass of options read from flags, a preset and a YAML file, with one-line errors."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonargparse
import yaml

from common.cli import UserError, did_you_mean, one_line, unknown
from common.yaml_files import read_yaml

MOST = 2**31 - 1  # that a whole number may be


def option(default: Any, help: str | None = None, free: bool | None = None,
           stage: str | None = None) -> Any:
    """A dataclass field that is read as a flag; what is left out is as in the class it extends.

    Args:
        default: its default value.
        help: its help text.
        free: whether it may change when a run is resumed.
        stage: the only stage of a training that uses it.
    """
    return dataclasses.field(default=default,
                             metadata={"help": help, "free": free, "stage": stage})


def about(options_class: type, name: str, key: str) -> Any:
    """The value of a key of `option` for a field, set by the class or one that it extends."""
    for base in options_class.__mro__:
        field = getattr(base, "__dataclass_fields__", {}).get(name)
        if field is not None and field.metadata.get(key) is not None:
            return field.metadata[key]
    return None


def group_of(options_class: type, name: str) -> str | None:
    """The `GROUP` of the class that first had a field; None for the options of a model's own."""
    for base in reversed(options_class.__mro__):
        if name in getattr(base, "__dataclass_fields__", {}):
            return vars(base).get("GROUP")
    return None


def parse(options_class: type, argv: list[str], prog: str, presets: str | os.PathLike | None = None,
          exclusive: Sequence[Sequence[str]] = (), description: str | None = None,
          epilog: str | None = None, obsolete: dict[str, str] | None = None) -> Any:
    """Read options: the dataclass's defaults, then a preset, then `--config`, then flags.

    Args:
        options_class: a dataclass whose fields were made with `option`.
        argv: the flags.
        prog: the command's name for the help text.
        presets: folder of `<name>.yaml` files that `--preset <name>` chooses from.
        exclusive: groups of field names: the one given by the highest rank (flag, YAML, preset)
            sets the others to None.
        description, epilog: for the help text.
        obsolete: {name of an option that there was: what is said of it}.

    Returns:
        an instance of `options_class`. `--help` and `--print_config` print and exit with 0.

    Raises:
        UserError: an unknown option (the nearest is suggested) or a value of a wrong type.
    """
    parser = _parser(options_class, prog, presets, description, epilog)
    parser.obsolete = obsolete or {}
    ranks, quiet = [{}], [a for a in argv if not a.startswith("--print_config")]
    if presets is not None:
        name = parser.read(quiet, defaults=False).as_dict().get("preset")
        if name:
            ranks.append(_read_preset(parser, presets, name))
            parser.set_defaults(ranks[-1])
    given = parser.read(quiet, defaults=False).as_dict()
    ranks.append({key: value for key, value in given.items() if value is not None})
    for group in exclusive:
        for rank in ranks:
            named = [key for key in group if rank.get(key) is not None]
            if len(named) > 1:
                raise UserError(f"--{named[0]} and --{named[1]} exclude each other; give one")
            if named:
                parser.set_defaults({key: None for key in group if key != named[0]})
    values = parser.read(argv).as_dict()
    names = [field.name for field in dataclasses.fields(options_class)]
    return options_class(**{name: _plain(values[name]) for name in names})


def to_yaml(options: Any) -> str:
    """The options as YAML text, in the order of the dataclass, that `--config` reads back."""
    values = {key: list(value) if isinstance(value, tuple) else value
              for key, value in dataclasses.asdict(options).items()}
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


class _HelpFormatter(jsonargparse.DefaultHelpFormatter):
    """Shows an option's default only if it has one; the help text explains what None means."""

    def _expand_help(self, action):
        text = super()._expand_help(action)
        return text.replace(" (default: null)", "").replace(", default: null)", ")")


class OneLineParser(jsonargparse.ArgumentParser):
    """A parser whose errors are `UserError`s of one line, with the nearest option suggested."""

    obsolete = {}
    joint = False  # whether --scale takes a number or a list

    def __init__(self, **kwargs):
        super().__init__(exit_on_error=False, allow_abbrev=False, default_env=False,
                         formatter_class=_HelpFormatter, **kwargs)

    def known_options(self) -> list[str]:
        """The long flags that this parser knows."""
        return [flag for action in self._actions for flag in action.option_strings
                if flag.startswith("--")]

    def read(self, argv: list[str], **kwargs) -> jsonargparse.Namespace:
        """Parse flags into a namespace, with ~ and variables expanded; or raise a `UserError`."""
        argv = self._with_scales(argv)
        for word, following in zip(argv, [*argv[1:], ""]):
            if word in ("--config", "-c") or word.startswith("--config="):
                _check_config(word.partition("=")[2] or following)
        try:
            given = self.parse_args(argv, **kwargs)
        except jsonargparse.ArgumentError as error:
            raise UserError(self._explain(str(error))) from error
        for name, value in list(given.items()):
            _check_number(name, value)
            given[name] = _expanded(value)
        return given

    def _with_scales(self, argv):
        """`--scale 2,3,4`, as BSRN's authors write it, as the words that this parser reads."""
        several = any(action.nargs == "+" for action in self._actions
                      if "--scale" in action.option_strings)
        if not several and not self.joint:
            return argv
        result = []
        for before, word in zip(["", *argv], argv):
            found = re.fullmatch(r"(--scale=)?(\d+(?:,\d+)+)", word)
            if not found or not (found.group(1) or before == "--scale"):
                result.append(word)
                continue
            result += ["--scale"] if found.group(1) else []
            result += found.group(2).split(",") if several else [f"[{found.group(2)}]"]
        return result

    def _explain(self, message):
        unknown = re.search(r"[Uu]nrecognized arguments: (\S+)", message)
        unknown = unknown or re.search(r"Option '([^']+)' is not accepted", message)
        if unknown:
            name = unknown.group(1).split("=")[0]
            flag = name if name.startswith("-") else f"--{name}"
            if flag[2:] in self.obsolete:
                return f"{flag} {self.obsolete[flag[2:]]}"
            return (f"unknown option {flag}{did_you_mean(flag, self.known_options())}; "
                    "--help lists all")
        message = one_line(message)
        wrong = re.search(r'key "([^"]+)": (.*)', message)
        if wrong:
            what = wrong.group(2).replace("<class 'collections.abc.Sequence'>", "list as [1,2]")
            what = re.sub(r"<class '(\w+)'>", r"\1", what)
            what = re.sub(r"typing(?:_extensions)?\.Literal\[(.*?)\]", r"value out of \1", what)
            choice = re.search(r"\[(?:NoneType, )?value out of ([^\]]*?)(?:, NoneType)?\]"
                               r".*Given value: (.*)", what)
            if choice:  # an option that may be left out
                what = f"Expected a value out of {choice.group(1)}. Got value: {choice.group(2)}"
            return f"--{wrong.group(1)}: {what}"
        return message


def _check_config(path):
    content = read_yaml(_expanded(path))
    if not isinstance(content, (dict, type(None))):
        raise UserError(f"{path} holds no options: expected lines of `name: value`")


def _check_number(name, value):
    """Refuse what arrays and file formats cannot hold."""
    for item in value if isinstance(value, (tuple, list)) else [value]:
        if isinstance(item, int) and not -MOST <= item <= MOST:
            raise UserError(f"--{name}: a whole number from {-MOST} to {MOST} is needed")
        if isinstance(item, float) and not math.isfinite(item):
            raise UserError(f"--{name}: a finite number is needed, got {item}")


def _expanded(value):
    """Texts with ~ and $NAME expanded, which shells leave alone in --flag=~/x and in YAML."""
    if isinstance(value, (tuple, list)):
        return type(value)(_expanded(item) for item in value)
    if isinstance(value, str) and "\0" in value:
        raise UserError(f"an option holds a NUL character: {value!r:.80}")
    if isinstance(value, str) and not os.path.exists(value):
        return os.path.expandvars(os.path.expanduser(value))
    return value


def _parser(options_class, prog, presets, description, epilog):
    parser = OneLineParser(prog=prog, usage=f"{prog} [options]", description=description,
                           epilog=epilog)
    parser.add_argument("--config", "-c", action="config", help="YAML file of options")
    if presets is not None:
        parser.add_argument("--preset", type=str, default=None,
                            help=f"start from a set of options: {', '.join(_names(presets))}")
    groups = {}
    parser.joint = "Tuple" in str(options_class.__annotations__.get("scale"))
    for field in dataclasses.fields(options_class):
        groups.setdefault(group_of(options_class, field.name), []).append(field)
    own = groups.pop(None, [])
    for title, group_fields in [("the model's own options", own), *groups.items()]:
        group = parser.add_argument_group(title)
        for field in group_fields:
            _add(group, field, about(options_class, field.name, "help"))
    return parser


def _add(group, field, help_text):
    if field.type is bool:
        action = jsonargparse.ActionYesNo(yes_prefix="", no_prefix="no_")
        group.add_argument(f"--{field.name}", action=action, default=field.default, nargs="?",
                           help=help_text)
    else:
        group.add_argument(f"--{field.name}", type=field.type, default=field.default,
                           help=help_text)


def _plain(value):
    """jsonargparse's restricted numbers as the numbers they are, which YAML and JSON can hold."""
    if isinstance(value, (tuple, list)):
        return tuple(_plain(item) for item in value)
    for kind in (bool, int, float):
        if isinstance(value, kind):
            return kind(value)
    return value


def _names(presets):
    return sorted(path.stem for path in Path(presets).glob("*.yaml"))


def _read_preset(parser, presets, name):
    path = Path(presets) / f"{name}.yaml"
    if not path.is_file():
        raise unknown("preset", name, _names(presets))
    values = read_yaml(path) or {}
    return _given(parser, values)


def _given(parser, values):
    known = [flag.lstrip("-") for flag in parser.known_options()]
    for key in values:
        if key not in known:
            raise UserError(f"unknown option {key!r} in a preset{did_you_mean(key, known)}")
    return values
