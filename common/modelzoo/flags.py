"""Read command lines as flags and values, for code that is not an argument parser."""

from common.cli import UserError


def pairs(argv, short=None, lists=()):
    """Split a command line into flags and values.

    Args:
        argv: its words.
        short: {"-b": "--batch_size"}: long names of short flags, which are read as -b 4, -b=4 or
            -b4.
        lists: long flags that take every word up to the next flag.

    Returns:
        list of (long flag, value or None). A word that belongs to no flag is (None, word); a flag
        of `lists` comes once for each of its words.
    """
    result, rest = [], [_long(word, short or {}) for word in argv]
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            result.append((None, word))
        elif "=" in word:
            result.append(tuple(word.split("=", 1)))
        elif rest and not rest[0].startswith("--"):
            result.append((word, rest.pop(0)))
            while word in lists and rest and not rest[0].startswith("-"):
                result.append((word, rest.pop(0)))
        else:
            result.append((word, None))
    return result


def value_of(argv, flag, short=None):
    """The last value of a long flag, "" where it has none, None where the flag is absent."""
    values = [value or "" for name, value in pairs(argv, short) if name == flag]
    return values[-1] if values else None


def has(argv, *flags, short=None):
    """Whether one of the long flags is there, with or without a value."""
    return any(name in flags for name, _ in pairs(argv, short) if name)


def words(flags):
    """The command line that `pairs` reads as these flags."""
    return [value if name is None else name if value is None else f"{name}={value}"
            for name, value in flags]


def boolean(name, value):
    """Read the value of a yes-or-no flag; without a value it is true.

    Raises:
        UserError: the value is neither true nor false.
    """
    if value is None or value.lower() in ("true", "yes", "1"):
        return True
    if value.lower() in ("false", "no", "0"):
        return False
    raise UserError(f"{name} must be true or false, got {value!r}")


def _long(word, short):
    name, rest = word[:2], word[2:]
    if name not in short or word.startswith("--"):
        return word
    return f"{short[name]}={rest[rest.startswith('='):]}" if rest else short[name]
