"""The frame of every model's `train.py`: flags to options, options to one run or several."""

import sys
import time
from dataclasses import replace
from pathlib import Path

from common.data.sets import describe
from common.device.chip_options import OBSOLETE
from common.flags import parse
from common.training.events import log_to_console
from common.training.options import chip_options
from models import catalogue


def training_command(recipe, argv):
    """Read the options of a model and train it.

    Args:
        recipe: the model's `Recipe`; its presets are `configs/*.yaml` beside its options class.
        argv: the flags, the zoo's or those of the model's published program.

    Raises:
        UserError: as `flags.parse` and `run.train`.
    """
    began = time.monotonic()
    options = read_options(recipe, recipe.translate(argv), f"python -m models.{recipe.name}.train")
    if options.load:
        path = catalogue.find(options.load)
        if options.load in catalogue.CATALOGUE:
            options = replace(options, load=str(path))
    stages = recipe.plan(options)

    from common.device.open import open_device
    from common.device.quiet import quiet_tensorflow

    quiet_tensorflow(options.chip)
    with log_to_console():
        # Before the loop's modules: on an NPU nothing may touch TensorFlow earlier.
        device = open_device(options.chip, options.precision, chip_options(options))
        from common.training.run import check_later_stage, train

        # Runs that follow each other share what is prepared of the images.
        cache = Path(stages[-1].output_dir, "cache") if len(stages) > 1 else None
        with device.together():
            for stage in stages[1:]:
                check_later_stage(recipe, stage, device, cache)
            for stage in stages:
                train(recipe, stage, device, cache, began)


def read_options(recipe, argv, prog):
    """The options of a model from the zoo's flags.

    Args:
        recipe: the model's `Recipe`.
        argv: the flags.
        prog: the command's name in the help text.

    Raises:
        UserError: an unknown option or a value that does not fit.
    """
    folder = Path(sys.modules[recipe.options_class.__module__].__file__).parent
    return parse(recipe.options_class, argv, prog, presets=folder / "configs",
                 exclusive=[("train_steps", "epochs")], description=f"Train {recipe.name}.",
                 epilog=f"Data sets: {describe()}.", obsolete=OBSOLETE)
