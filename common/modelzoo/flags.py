"""What the models' `modelzoo.py` share: a seed's command line as flags and their values."""

from common.cli import UserError


def pairs(argv, short=None, lists=()):
    """Split a command line into flags and values.

    Args:
        argv: its words.
        short: {"-b": "--batch_size"}, what short flags stand for; -b 4, -b=4 and -b4 are the same.
        lists: long flags that take every word up to the next flag.

    Returns:
        list of (long flag, value or None), with (None, word) for a word that belongs to no flag; a
        flag of `lists` comes once for each of its words.
    """
    result, words = [], [_long(word, short or {}) for word in argv]
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            result.append((None, word))
        elif "=" in word:
            result.append(tuple(word.split("=", 1)))
        elif words and not words[0].startswith("--"):
            result.append((word, words.pop(0)))
            while word in lists and words and not words[0].startswith("-"):
                result.append((word, words.pop(0)))
        else:
            result.append((word, None))
    return result


def words(flags):
    """The command line of `pairs`."""
    return [value if name is None else name if value is None else f"{name}={value}"
            for name, value in flags]


def boolean(name, value):
    """The truth of a flag's value; a flag without one is true.

    Raises:
        UserError: neither true nor false.
    """
    if value is None or value.lower() in ("true", "yes", "1"):
        return True
    if value.lower() in ("false", "no", "0"):
        return False
    raise UserError(f"{name} {value}: give true or false")


def _long(word, short):
    name, rest = word[:2], word[2:]
    if name not in short or word.startswith("--"):
        return word
    return f"{short[name]}={rest[rest.startswith('='):]}" if rest else short[name]
