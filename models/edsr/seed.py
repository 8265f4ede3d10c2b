"""The flags of ModelZoo's EDSR description in the zoo's words; nothing else knows them."""

from common.cli import UserError

RENAMED = {"--lr": "--learning_rate", "--save_step": "--save_epochs"}
SCHEDULE = ("--decay_step", "--decay_rate")


def translate(argv):
    """Rewrite the description's flags; others pass through.

    `--lr` is `--learning_rate`; `--save_step`, counted in epochs, is `--save_epochs`;
    `--decay_step` and `--decay_rate` also choose the exponential schedule; `--resume_path P` is
    `--resume P`; `--from_scrach` (as spelt there) is true for a start without `--resume_path`. The
    description's `--momentum` is Adam's first beta, which is 0.9.

    Raises:
        UserError: the flags contradict each other.
    """
    flags, result = _pairs(argv), []
    names = [name for name, _ in flags]
    resume = [value for name, value in flags if name == "--resume_path"]
    for name, value in flags:
        if name in ("--from_scrach", "--from_scratch"):
            scratch = _boolean(name, value)
            if scratch and resume:
                raise UserError(f"{name} true and --resume_path exclude each other; give one")
            if not scratch and not resume:
                raise UserError(f"{name} false needs --resume_path: the checkpoint to go on from")
        elif name == "--resume_path":
            result += ["--resume", value]
        elif name == "--momentum":
            if value not in ("0.9", ".9"):
                raise UserError(f"--momentum {value}: Adam's first beta is 0.9 here")
        elif name is None:
            result.append(value)
        else:
            result.append(RENAMED.get(name, name))
            if value is not None:
                result.append(value)
    if any(name in SCHEDULE for name in names) and "--lr_schedule" not in names:
        result += ["--lr_schedule", "exponential"]
    return result


def _pairs(argv):
    """[(flag, value or None)], with (None, word) for a word that belongs to no flag."""
    pairs, words = [], list(argv)
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            pairs.append((None, word))
        elif "=" in word:
            pairs.append(tuple(word.split("=", 1)))
        elif words and not words[0].startswith("--"):
            pairs.append((word, words.pop(0)))
        else:
            pairs.append((word, None))
    return pairs


def _boolean(name, value):
    if value is None or value.lower() in ("true", "yes", "1"):
        return True
    if value.lower() in ("false", "no", "0"):
        return False
    raise UserError(f"{name} {value}: give true or false")
