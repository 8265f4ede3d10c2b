"""Translate the flags of ModelZoo's EDSR description into the zoo's."""

from common.cli import UserError
from common.modelzoo.flags import boolean, pairs, words

RENAMED = {"--lr": "--learning_rate", "--save_step": "--save_epochs", "--resume_path": "--resume"}


def translate(argv):
    """Rewrite the description's flags; others pass through.

    `--lr` is `--learning_rate`, `--save_step` (epochs) is `--save_epochs`, `--resume_path P` is
    `--resume P`. `--decay_step` and `--decay_rate` also select the exponential schedule.
    `--from_scrach` (spelt so there) is checked against `--resume_path` and dropped, as is
    `--momentum`, which is Adam's first beta and can only be 0.9.

    Raises:
        UserError: the flags contradict each other or have no counterpart.
    """
    flags, result = pairs(argv), []
    names = {name for name, _ in flags}
    for name, value in flags:
        if name in ("--from_scrach", "--from_scratch"):
            _check_start(name, boolean(name, value), "--resume_path" in names)
        elif name == "--momentum":
            if value not in ("0.9", ".9"):
                raise UserError(f"--momentum {value}: only 0.9, Adam's first beta, is supported")
        elif name == "--eval_dir":
            raise UserError("--eval_dir belongs to the program that measures checkpoints: bash "
                            f"models/edsr/scripts/test.sh --eval_dir {value or 'FOLDER'}")
        elif (name, value) == ("--preset", "seed"):
            raise UserError("--preset seed is now called --preset modelzoo")
        else:
            result.append((RENAMED.get(name, name), value))
    if names & {"--decay_step", "--decay_rate"} and "--lr_schedule" not in names:
        result.append(("--lr_schedule", "exponential"))
    return words(result)


def _check_start(name, scratch, resumes):
    if scratch and resumes:
        raise UserError(f"{name} true and --resume_path exclude each other; give one")
    if not scratch and not resumes:
        raise UserError(f"{name} false needs --resume_path, the checkpoint to resume from")
