"""Which command of the zoo a ModelArts job runs, and with which flags."""

from pathlib import Path
from typing import Optional

from common.cli import UserError
from common.modelzoo.flags import has, value_of

# A few hundred steps from the beginning, with one validation image at their end.
PERF = {"--resume": "no", "--train_steps": "200", "--val_every": "1000000", "--val_images": "1",
        "--log_every": "20"}
PERF_FOLDER = "perf"  # in the results' folder, whose own run stays as it is
SUFFIXES = {"onnx": ".onnx", "frozen_pb": ".pb", "litert": ".tflite"}  # others are folders


def job_command(model, mode: str, data_dir: Optional[Path], folder: Path, passed: list) -> list:
    """A module of the zoo and its flags; those passed on come last, where they count.

    Args:
        model: a `models.Model`.
        mode: train, perf, evaluate or export.
        data_dir: folder of the data; None where the command needs none or its flags name it.
        folder: of the results.
        passed: flags for the command.

    Raises:
        UserError: the folder holds weights of several scales, of which none is chosen.
    """
    data = ["--data_dir", str(data_dir)] if data_dir else []
    if mode in ("train", "perf"):
        defaults = {}
        if mode == "perf":
            folder, defaults = folder / PERF_FOLDER, dict(PERF)
            if has(passed, "--epochs", short={"-e": "--epochs"}):
                del defaults["--train_steps"]
        flags = [word for flag, value in defaults.items() for word in (flag, value)]
        quick = model.quick if mode == "perf" else ()  # the last stage is what is measured
        return [f"{model.package}.train", *data, "--output_dir", str(folder), *flags, *quick,
                *passed]
    weights = value_of(passed, "--weights") or _trained(model.name, value_of(passed, "--scale"),
                                                        folder)
    chosen = ["--model", model.name, *(["--weights", str(weights)] if weights else [])]
    if mode == "evaluate":
        return ["scripts.evaluate", *chosen, *data, "--json", str(folder / "evaluate.json"),
                "--save_images", str(folder / "images"), *passed]
    kind = value_of(passed, "--format") or "saved_model"
    name = (Path(weights).stem if weights else model.name) + SUFFIXES.get(kind, f"_{kind}")
    return ["scripts.export", *chosen, "--format", kind, "--output", str(folder / name), *passed]


def _trained(model, scale, folder):
    """The best weights of a training among the results, None where there are none."""
    found = sorted(path for path in folder.glob(f"{model}_x*.h5")
                   if not path.stem.endswith("_last"))
    if len(found) > 1:
        found = [path for path in found if path.stem == f"{model}_x{scale}"] or found
    if len(found) > 1:
        raise UserError(f"{folder} holds {', '.join(path.name for path in found)}; choose one with "
                        "--scale or --weights")
    return found[0] if found else None
