"""The programs that published descriptions name, by their files in the models' folders.

scripts/start.py runs `python -m scripts.described FILE [flags]` for them; docs/commands.md lists
all. What these programs take from the network, this zoo's commands do with their own flags.
"""

import re
from pathlib import Path

from common.cli import UserError, run_command
from common.data.sets import DATASETS
from common.modelzoo.flags import has, pairs
from models.command import training_command
from scripts import evaluate, upscale
from scripts.start import DATA, RECIPES, SHORT, model_of

PICTURES = "result-pictures/ensemble"
# Where BSRN's description and others keep data, from the folder of the programs.
PLACES = (".", "dataset", "temp/dataset", "../temp/dataset", "data")


def main(argv):
    """Run a program.

    Args:
        argv: its file, then its flags.

    Raises:
        UserError: the file is none of these programs.
    """
    script = Path(argv[0] if argv else ".")
    if script.stem not in PROGRAMS:
        raise UserError(f"{script} is no program of docs/commands.md")
    return PROGRAMS[script.stem](model_of(script), argv[1:])


def validate(model, flags):
    """Measure a run, and write its images: of BSD100 where it is, else the demo's photographs."""
    flags = _renamed(flags)
    return evaluate.main([f"--model={model.name}", f"--save_images={PICTURES}",
                          *_weights(model, flags), *_data(model, flags), *flags])


def test(model, flags):
    """Enlarge images with a run; without images that are named, `validate`."""
    flags = _renamed(flags)
    named = [value for name, value in pairs(flags, {"-o": "--output", **SHORT})
             if value and not value.isdigit() and name in (None, "--self_ensemble")]
    if not named or has(flags, "--dataset", "--data_dir"):
        return validate(model, flags)
    return upscale.main([f"--model={model.name}", "-o", PICTURES, *_weights(model, flags), *flags])


def trains(model, flags):
    """Train on BSDS500 where it is, else the demo."""
    if has(flags, "--help", *RECIPES, short=SHORT):
        return _train(model, flags)
    if has(flags, *DATA):
        return _train(model, ["--preset=bsd500", *flags])
    place = _place_of("bsds500")
    if place:
        return _train(model, ["--preset=bsd500", f"--data_dir={place}", *flags])
    print("no folder BSDS500 here, and no --data_dir: this is the demo", flush=True)
    return _train(model, ["--preset=demo", *flags])


def paddlegan(model, flags):
    """PaddleGAN's tools/main.py: its flags and YAML are read by the train command."""
    return _train(model, flags)


def paddlegan_evaluation(model, flags):
    """PaddleGAN's tools/eval.py."""
    return _train(model, ["--evaluate-only", *flags])


def paddle_launch(model, flags):
    """`python -m paddle.distributed.launch [its flags] tools/main.py [flags]`: on all GPUs."""
    programs = [i for i, word in enumerate(flags) if word.endswith(".py")]
    if not programs:
        raise UserError("paddle.distributed.launch needs a program, which is tools/main.py here")
    return main([str(Path(flags[programs[0]]).resolve()), *flags[programs[0] + 1:]])


def detector_export(model, flags):
    """The description exports detectors, which belong to another project."""
    raise UserError("the description exports detectors of PaddleDetection, which are not part of "
                    "this zoo; export a network of the zoo with python -m scripts.export "
                    "--weights W.h5 --format saved_model --output FOLDER")


PROGRAMS = {"validate": validate, "validate_gpu": validate, "validate_bsrn": validate,
            "test": test, "test_bsrn": test, "trains": trains, "main": paddlegan,
            "eval": paddlegan_evaluation, "launch": paddle_launch,
            "export_model": detector_export}


def _renamed(flags):
    """EDSR's description has --eval_dir for a folder of checkpoints."""
    return [re.sub("^--eval_dir(?==|$)", "--weights", word) for word in flags]


def _train(model, flags):
    training_command(model.recipe, flags)


def _place_of(name):
    """The folder here that holds a data set, None where none does."""
    return next((place for place in PLACES
                 if Path(place).is_dir() and DATASETS[name].find_in(Path(place))), None)


def _weights(model, flags):
    """The flag for the newest run here; the demo is trained where there is none."""
    if has(flags, "--weights", "--frozen", "--help", short=SHORT):
        return []
    found = _newest(model)
    if found is None:
        print(f"no --weights, and no run of {model.name} in output/: its demo is trained first",
              flush=True)
        chip = [word for name, value in pairs(flags) if name == "--chip"
                for word in (name, value or "")]
        _train(model, ["--preset=demo", *chip])
        found = _newest(model)
    print(f"weights: {found}", flush=True)
    return [f"--weights={found}"]


def _newest(model):
    """The best weights of the newest run in output/, None where there is none."""
    paths = [path for path in Path("output").glob(f"{model.name}_*/{model.name}_x*.h5")
             if not path.stem.endswith("_last")]
    return max(paths, key=lambda path: path.stat().st_mtime, default=None)


def _data(model, flags):
    """The flags for the images to measure on."""
    if has(flags, "--dataset", "--help", short=SHORT):
        return []
    if has(flags, "--data_dir"):
        return ["--dataset=bsd100"] if model.name == "bsrn" else []
    place = _place_of("bsd100")
    return ["--dataset=bsd100", f"--data_dir={place}"] if place else ["--dataset=demo"]


if __name__ == "__main__":
    run_command(main)
