"""Networks exported for an engine: made once with TensorFlow, kept, and opened without it.

Each is a folder in the user's cache, `engines/<weights>-<hash of all that decides it>`, with the
network and `facts.json`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import sys
from collections import namedtuple
from pathlib import Path
from typing import TYPE_CHECKING, Any

import models
from common.cli import UserError, one_line, require_packages
from common.device.chip import only_a_cpu
from common.files import atomic_folder, cache_folder, make_folder, only_process, sha256
from common.inference.engines import ENGINES, check_engine, open_engine
from models.choose import Choice, load_network, open_upscaler

if TYPE_CHECKING:
    from common.inference.upscaler import TiledEnlarger

ENGINE_NAMES = ("auto", "keras", *ENGINES)
# Faster than Keras for most networks (docs/speed.md); the others only start faster.
FASTEST = "openvino"
GREY_LEVEL = 1.0  # how far an answer may be from that of Keras
_PACKAGES = {"onnxruntime": ("tf2onnx", "onnx")}  # which make what the engine reads
_VERSION = 1  # of the folders' content

# A network to be exported, and all that decides what the export is.
Wanted = namedtuple("Wanted", "choice arguments engine precision")


def open_with_engine(choice: Choice, arguments: Any, progress: bool = False) -> TiledEnlarger:
    """Open the chosen network with the engine of a command.

    Args:
        choice: of `models.choose.choose_weights`.
        arguments: with `engine`, `chip`, `precision` and what `open_upscaler` reads.
        progress: show a bar over the tiles of a large image.

    Returns:
        an enlarger whose `engine` says what runs the network.

    Raises:
        UserError: the engine is not installed, cannot serve the options, or does not give the
            answer of Keras; or as `open_upscaler`.
    """
    name = choose_engine(arguments.engine, arguments.chip, arguments.precision)
    if name != "keras":
        precision = "float32" if arguments.precision == "auto" else arguments.precision
        try:
            return _opened(Wanted(choice, arguments, name, precision), progress)
        except UserError:
            if arguments.engine != "auto":
                raise
    return open_upscaler(choice, arguments, progress)


def choose_engine(wanted: str, chip: str, precision: str) -> str:
    """The engine of a command: "keras" or a key of `ENGINES`; nothing is imported to find it.

    Args:
        wanted: one of `ENGINE_NAMES`; auto: on a CPU the fastest that is installed, else Keras.
        chip, precision: of the command.

    Raises:
        UserError: an engine that is not installed or cannot serve the chip or the precision.
    """
    precision = "float32" if precision == "auto" else precision
    if wanted == "auto":
        return fastest(chip, precision)
    if wanted == "keras":
        return wanted
    if chip not in ("auto", "cpu"):
        raise UserError(f"--engine {wanted} runs on the CPU; leave out --chip {chip} or --engine")
    check_engine(wanted, precision)
    return wanted


def fastest(chip: str, precision: str) -> str:
    """The fastest installed engine for a chip and a precision; see `choose_engine`."""
    cpu = chip == "cpu" or (chip == "auto" and only_a_cpu())
    installed = cpu and importlib.util.find_spec(ENGINES[FASTEST].package)
    return FASTEST if installed and precision in ENGINES[FASTEST].precisions else "keras"


def _opened(wanted, progress):
    from common.inference.engine_upscaler import EngineUpscaler
    from common.inference.footprint import Footprint

    engine, arguments = ENGINES[wanted.engine], wanted.arguments
    folder = cache_folder() / "engines" / f"{wanted.choice.path.stem}-{_key(wanted)}"
    for attempt in (0, 1):
        facts = _facts(folder) or _made(folder, wanted)
        if facts["problem"]:
            raise UserError(f"{facts['problem']}; use --engine keras")
        try:
            run = open_engine(wanted.engine, folder / f"network{engine.suffix}", wanted.precision)
            break
        except Exception:  # the engine's own, for a file that is damaged or gone
            if attempt:
                raise
            shutil.rmtree(folder, ignore_errors=True)
    upscaler = EngineUpscaler(run, Footprint(**facts["footprint"]), arguments.tile,
                              arguments.tile_overlap, arguments.self_ensemble, progress)
    upscaler.engine = wanted.engine
    return upscaler


def _key(wanted):
    """The hash of all that decides an export: the weights, the options and the code."""
    choice, arguments = wanted.choice, wanted.arguments
    code = hashlib.sha256()
    for folder in (models.model(choice.model).folder, *(
            Path(models.__file__).parents[1] / "common" / part for part in ("nn", "inference"))):
        for file in sorted(folder.rglob("*.py")):
            code.update(file.read_bytes())
    facts = (_VERSION, wanted.engine, ENGINES[wanted.engine].version, wanted.precision,
             code.hexdigest(), choice.model, choice.scale, sha256(choice.path),
             arguments.recursions, arguments.interpolate,
             arguments.to_weights and sha256(arguments.to_weights))
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:24]


def _facts(folder):
    """What is known of an export; None if it is not there."""
    try:
        return json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _made(folder, wanted):
    """Export a network, compare it with Keras, and keep it; returns its facts."""
    require_packages(f"--engine {wanted.engine}", _PACKAGES.get(wanted.engine, ()))
    make_folder(folder.parent)
    with only_process(folder.parent / f".{folder.name}.lock", "preparing these weights"):
        facts = _facts(folder)
        if facts is None:
            if sys.stderr.isatty():  # it takes some seconds
                print(f"preparing {wanted.choice.path.name} for {wanted.engine}, once",
                      file=sys.stderr)
            with atomic_folder(folder) as temporary:
                facts = _export(temporary, wanted)
                (temporary / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    return facts


def _export(folder, wanted):
    from common.device.open import open_device
    from common.device.quiet import quiet_tensorflow
    from common.inference import exports

    write = {"openvino": exports.write_openvino, "onnxruntime": exports.write_onnx,
             "litert": exports.write_litert}[wanted.engine]
    quiet_tensorflow("cpu")
    open_device("cpu", wanted.precision)  # refuses what Keras cannot be compared in
    from common.inference.agreement import largest_difference
    from common.inference.footprint import footprint
    from common.inference.forms.form import inference_form
    from common.nn.keras_compat import policy_scope

    with policy_scope("float32"):
        model = load_network(wanted.choice, wanted.arguments)
    path = folder / f"network{ENGINES[wanted.engine].suffix}"
    network = inference_form(model)
    facts = {"problem": None, "footprint": footprint(network)._asdict()}
    try:
        write(network, path)
        difference = largest_difference(
            model, open_engine(wanted.engine, path, wanted.precision))
    except (UserError, OSError, MemoryError):
        raise
    except Exception as error:  # of converters and engines, which have many; another day the same
        facts["problem"] = f"{wanted.engine} cannot run {model.name}: {one_line(error)[:200]}"
        return facts
    allowed = GREY_LEVEL
    if wanted.precision != "float32":
        rounded = load_network(wanted.choice, wanted.arguments)
        allowed = max(allowed, largest_difference(model, _in_float32(inference_form(rounded))))
    if not difference <= allowed:
        facts["problem"] = (f"{wanted.engine} differs from Keras by {difference:.1f} grey levels "
                            f"for {model.name} in {wanted.precision}")
    return facts


def _in_float32(model):
    import numpy as np

    return lambda lr: np.asarray(model(lr, training=False)).astype("float32")
