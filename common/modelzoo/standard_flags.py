"""The flags that every script of ModelZoo has for looking into an NPU, as the zoo's own."""

from common.modelzoo.flags import boolean

# Switch -> (the zoo's option, ModelZoo's flag for its folder, the folder's usual name).
_FOLDERS = {"--over_dump": ("--npu_overflow_path", "--over_dump_path", "overflow_dump"),
            "--data_dump_flag": ("--npu_dump_path", "--data_dump_path", "data_dump"),
            "--profiling": ("--npu_profiling_path", "--profiling_dump_path", "profiling")}
_OPERATORS = "2"  # of --aoe_mode: what the older autotune tuned
_KNOWN = {*_FOLDERS, *(folder for _, folder, _ in _FOLDERS.values()), "--data_dump_step",
          "--autotune"}


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
               for switch, (option, folder, name) in _FOLDERS.items() if _on(given, switch)]
    if _on(given, "--data_dump_flag") and given.get("--data_dump_step"):
        options.append(("--npu_dump_step", given["--data_dump_step"]))
    if _on(given, "--autotune"):
        options.append(("--aoe_mode", _OPERATORS))
    return [flag for flag in flags if flag[0] not in _KNOWN] + options


def _on(given, switch):
    return switch in given and boolean(switch, given[switch])
