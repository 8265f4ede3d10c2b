"""The flags of ModelZoo's EDSR description in the zoo's words; nothing else knows them."""

from common.cli import UserError
from common.modelzoo.flags import boolean, pairs

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
    flags, result = pairs(argv), []
    names = [name for name, _ in flags]
    resume = [value for name, value in flags if name == "--resume_path"]
    for name, value in flags:
        if name in ("--from_scrach", "--from_scratch"):
            scratch = boolean(name, value)
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
