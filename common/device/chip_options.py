"""The options of a chip, today those of an Ascend NPU, checked before the device opens.

Names and values are those of the TensorFlow adapter, github.com/hicann/tensorflow of July 2026:
`tf_adapter_2.x/python/npu_device` (TensorFlow 2.6.5) and `tf_adapter/python/npu_bridge` (1.15).
"""

from __future__ import annotations

import json
import re
from collections import namedtuple
from pathlib import Path

from common.cli import UserError, did_you_mean, one_line
from common.files import make_folder

PRECISION_MODES = ("force_fp32", "allow_fp32_to_fp16", "force_fp16", "must_keep_origin_dtype",
                   "allow_mix_precision", "cube_fp16in_fp32out", "allow_mix_precision_fp16",
                   "allow_mix_precision_bf16", "allow_fp32_to_bf16")
PRECISION_MODES_V2 = ("fp16", "origin", "cube_fp16in_fp32out", "mixed_float16", "mixed_bfloat16",
                      "cube_hif8", "mixed_hif8")
CACHE_MODES = ("enable", "disable", "force")
AOE_MODES = ("1", "2", "4")
DUMP_MODES = ("input", "output", "all")

# The zoo's precisions as modes of the adapter, whose Keras policy stays float32.
PRECISION_OF = {"auto": "allow_mix_precision", "float32": "must_keep_origin_dtype",
                "mixed_float16": "allow_mix_precision",
                "mixed_bfloat16": "allow_mix_precision_bf16"}
INFERENCE_ONLY = {"force_fp16": "allow_mix_precision", "fp16": "mixed_float16"}
MIXED = ("allow_mix_precision", "mixed_")  # beginnings of the modes that use --modify_mixlist
WITHOUT_FLOAT16 = ("must_keep_origin_dtype", "allow_mix_precision_bf16", "allow_fp32_to_bf16",
                   "origin", "mixed_bfloat16")

# values: a tuple of them, or the kind of path or text; free: whether a resumed run may change it.
Option = namedtuple("Option", "values help default free", defaults=(None, True))

OPTIONS = {
    "precision_mode": Option(PRECISION_MODES, "in place of --precision: how the adapter casts",
                             free=False),
    "precision_mode_v2": Option(PRECISION_MODES_V2, "in place of --precision_mode: the same "
                                                    "under newer names", free=False),
    "modify_mixlist": Option("JSON file", "JSON file of operators that mixed precision casts or "
                                          "does not cast", free=False),
    "op_precision_mode": Option("file", "file that chooses the fast or the precise implementation "
                                        "of operators", free=False),
    "fusion_switch_file": Option("file", "file of fusion rules that are switched on or off"),
    "npu_dump_path": Option("folder", "write the outputs of all operators into this folder; "
                                      "they are large: use few steps"),
    "npu_dump_step": Option("steps", "dump only in these steps, e.g. 0|5|10-15"),
    "npu_dump_mode": Option(DUMP_MODES, "what of an operator is dumped; default: output"),
    "npu_overflow_path": Option("folder", "write what overflows in float16 into this folder; not "
                                          "together with --npu_dump_path"),
    "npu_profiling_path": Option("folder", "write a profile into this folder"),
    "aoe_mode": Option(AOE_MODES, "tune 1: subgraphs, 2: operators, 4: gradient splitting; "
                                  "takes hours"),
    "deterministic": Option((True, False), "use operators that give the same result in each run; "
                                           "slower", default=False),
    "op_compiler_cache_mode": Option(CACHE_MODES, "keep compiled operators; force: compile all of "
                                                  "them again; default: enable"),
    "op_compiler_cache_dir": Option("folder", "folder of compiled operators"),
}

# ModelZoo's standard flags. Switch -> (the option, ModelZoo's flag for its folder, its usual name);
# flag -> (its switch, the option, the option's value if it is not the flag's own).
STANDARD_FOLDERS = {
    "--over_dump": ("--npu_overflow_path", "--over_dump_path", "overflow_dump"),
    "--data_dump_flag": ("--npu_dump_path", "--data_dump_path", "data_dump"),
    "--profiling": ("--npu_profiling_path", "--profiling_dump_path", "profiling")}
STANDARD_VALUES = {"--data_dump_step": ("--data_dump_flag", "--npu_dump_step", None),
                   "--autotune": ("--autotune", "--aoe_mode", "2")}  # operators, as it tuned

_GONE = "no longer has an effect; leave it out"
_STATIC = "was removed, as shapes are static here; leave it out"
_DUMP = "is now --npu_dump_path FOLDER, with --npu_dump_step 0|5|10-15"
_TUNE = "is now --aoe_mode, 1: subgraphs, 2: operators, 4: gradient splitting"
_IMPLEMENTATION = "is now --op_precision_mode FILE"
# Options of older adapters and of ModelZoo scripts, with what replaced them.
OBSOLETE = {
    "auto_tune_mode": _TUNE, "mstune_mode": _TUNE, "autotune": _TUNE,
    "graph_memory_max_size": _GONE, "variable_memory_max_size": _GONE,
    "variable_format_optimize": _GONE, "enable_reduce_precision": _GONE,
    "op_select_implmode": _IMPLEMENTATION, "optypelist_for_implmode": _IMPLEMENTATION,
    "op_debug_level": "is now op_debug_config, which is not an option here",
    "dynamic_input": _STATIC, "dynamic_input_config": _STATIC, "dynamic_dims": _STATIC,
    "dynamic_inputs_shape_range": _STATIC, "dynamic_graph_execute_mode": _STATIC,
    "data_dump_flag": _DUMP, "data_dump_path": _DUMP, "data_dump_step": _DUMP,
    "over_dump": "is now --npu_overflow_path FOLDER", "over_dump_path": "is now "
    "--npu_overflow_path FOLDER",
    "profiling": "is now --npu_profiling_path FOLDER",
    "profiling_dump_path": "is now --npu_profiling_path FOLDER",
}


def check_options(options: dict | None, training: bool = False) -> dict:
    """Check options of an NPU and drop those that are None.

    Args:
        options: dict of some of `OPTIONS`; None for none.
        training: refuse modes that are for inference only.

    Returns:
        a new dict; the folders that it names exist.

    Raises:
        UserError: an unknown or obsolete name, a value that the adapter does not have, two options
            that exclude each other, or a file that is missing or not JSON.
    """
    given = {name: value for name, value in (options or {}).items() if value is not None}
    for name, value in given.items():
        if name in OBSOLETE:
            raise UserError(f"{name} {OBSOLETE[name]}")
        if name not in OPTIONS:
            raise UserError(f"no NPU option {name!r}{did_you_mean(name, OPTIONS)}; there are "
                            f"{', '.join(OPTIONS)}")
        _check_value(name, value, OPTIONS[name].values)
    if "precision_mode" in given and "precision_mode_v2" in given:
        raise UserError("--precision_mode and --precision_mode_v2 exclude each other; give one")
    if "npu_overflow_path" in given and "npu_dump_path" in given:
        raise UserError("--npu_overflow_path and --npu_dump_path exclude each other; give one")
    if "npu_dump_path" not in given:
        for name in ("npu_dump_step", "npu_dump_mode"):
            if name in given:
                raise UserError(f"--{name} needs --npu_dump_path, the folder of the dump")
    mode = _mode(given)
    if training and mode in INFERENCE_ONLY:
        raise UserError(f"{mode} is for inference; train with {INFERENCE_ONLY[mode]}")
    return given


def _check_value(name, value, kind):
    if isinstance(kind, tuple):
        if value not in kind:
            raise UserError(f"--{name} {value}: choose one of {', '.join(map(str, kind))}")
    elif kind == "folder":
        make_folder(value)
    elif kind == "steps":
        if not re.fullmatch(r"\d+(-\d+)?(\|\d+(-\d+)?)*", value):
            raise UserError(f"--{name} {value}: give steps and ranges of steps as 0|5|10-15")
    elif not Path(value).is_file():
        raise UserError(f"--{name}: no such file {value}")
    elif kind == "JSON file":
        try:
            json.loads(Path(value).read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"--{name}: {value} is not JSON ({one_line(error)})") from error


def with_precision(options: dict, precision: str = "auto") -> dict:
    """Add the mode that the zoo's `precision` means to checked options, unless they have one.

    Raises:
        UserError: both are given, or `modify_mixlist` without mixed precision.
    """
    named = [name for name in ("precision_mode", "precision_mode_v2") if name in options]
    if named and precision != "auto":
        raise UserError(f"--precision {precision} and --{named[0]} exclude each other; give one")
    options = options if named else {**options, "precision_mode": PRECISION_OF[precision]}
    check_mixlist(options)
    return options


def check_mixlist(options: dict) -> None:
    """Raise a `UserError` if `modify_mixlist` is given without mixed precision.

    Args:
        options: checked, with the mode that will be used; the device's default mode is not mixed.
    """
    mode = _mode(options)
    if "modify_mixlist" in options and not str(mode).startswith(MIXED):
        raise UserError(f"--modify_mixlist needs mixed precision, which {mode or 'the default'} is "
                        "not; leave it out, or give --precision_mode allow_mix_precision")


def uses_float16(options: dict) -> bool:
    """Whether gradients are computed in float16, so that the loss needs scaling."""
    return _mode(options) not in WITHOUT_FLOAT16


def _mode(options):
    return options.get("precision_mode_v2", options.get("precision_mode"))


def global_options(options: dict) -> dict:
    """Convert checked options to {dotted name in `npu_device.global_options()`: value}."""
    values = {}
    for name, value in options.items():
        if name == "npu_dump_path":
            values.update({"dump_config.enable_dump": True,
                           "dump_config.dump_path": str(Path(value).resolve())})
        elif name in ("npu_dump_step", "npu_dump_mode"):
            values[f"dump_config.{name[len('npu_'):]}"] = value
        elif name == "npu_overflow_path":
            values.update({"dump_config.enable_dump_debug": True,
                           "dump_config.dump_debug_mode": "all",
                           "dump_config.dump_path": str(Path(value).resolve())})
        elif name == "npu_profiling_path":
            values.update({"profiling_config.enable_profiling": True,
                           "profiling_config.profiling_options": _profiling(value)})
        elif name == "aoe_mode":
            values["aoe_config.aoe_mode"] = value
        elif name == "deterministic":
            values[name] = int(value)
        else:
            values[name] = str(value)
    return values


def session_parameters(options: dict) -> dict:
    """Convert checked options to {name in the parameter map of `NpuOptimizer`: value}."""
    values = {}
    for name, value in global_options(options).items():
        name = name.split(".")[-1]
        values["profiling_mode" if name == "enable_profiling" else name] = value
    return values


def _profiling(folder):
    return json.dumps({"output": str(Path(folder).resolve()), "training_trace": "on",
                       "task_time": "on", "hccl": "on", "aicpu": "on",
                       "aic_metrics": "PipeUtilization"})
