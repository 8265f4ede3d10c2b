"""The flags that every script of ModelZoo has for looking into a chip, as the zoo's own."""

from common.device.chip_options import STANDARD_FOLDERS, STANDARD_VALUES
from common.modelzoo.flags import boolean

_KNOWN = {*STANDARD_FOLDERS, *STANDARD_VALUES,
          *(folder for _, folder, _ in STANDARD_FOLDERS.values())}


def as_options(flags: list, output: str) -> list:
    """Replace ModelZoo's standard flags; at False, as its scripts have them, they do nothing.

    Args:
        flags: list of (long flag, value), as `flags.pairs` reads them.
        output: the run's folder, in which dumps and profiles are written unless a flag names
            another.

    Returns:
        the other flags, and those of the zoo that do what the standard flags say.

    Raises:
        UserError: a switch that is neither true nor false.
    """
    given = {name: value for name, value in flags if name in _KNOWN}
    options = [(option, given.get(folder) or f"{output}/{name}")
               for switch, (option, folder, name) in STANDARD_FOLDERS.items()
               if _on(given, switch)]
    options += [(option, value or given[flag])
                for flag, (switch, option, value) in STANDARD_VALUES.items()
                if _on(given, switch) and (value or given.get(flag))]
    return [flag for flag in flags if flag[0] not in _KNOWN] + options


def _on(given, switch):
    return switch in given and boolean(switch, given[switch])
