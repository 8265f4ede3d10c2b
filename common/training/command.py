"""The frame of every model's `train.py`: flags to options, options to a run."""

import sys
from pathlib import Path

from common.data.sets import describe
from common.device import npu
from common.flags import parse
from common.training.options import npu_options
from common.training.reports import log_to_console


def training_command(name, options_class, build_step, argv, lines=None, plan=None, on_save=None):
    """Read the options of a model and train it.

    Args:
        name: of the model; its presets are `models/<name>/configs/*.yaml`.
        options_class: a dataclass that extends `TrainOptions`.
        build_step: as in `loop.train`.
        argv: the flags, in the zoo's own words.
        lines, on_save: as in `loop.train`.
        plan: function of the options to the options of several runs, one after the other.

    Raises:
        UserError: as `options.parse` and `loop.train`.
    """
    train_file = Path(sys.modules[options_class.__module__].__file__)
    options = parse(options_class, argv, prog=f"python -m models.{name}.train",
                    presets=train_file.parent / "configs",
                    exclusive=[("train_steps", "epochs")],
                    description=f"Train {name}.",
                    epilog=f"Data sets: {describe()}.", obsolete=npu.OBSOLETE)

    stages = plan(options) if plan else [options]

    from common.device.open import open_device, quiet_tensorflow

    quiet_tensorflow(options.chip)
    with log_to_console():
        # Before the loop's modules: on an NPU nothing may touch TensorFlow earlier.
        device = open_device(options.chip, options.precision, npu_options(options))
        from common.training.loop import rehearse, train

        # Runs that follow each other share what is prepared of the images.
        cache = Path(stages[-1].output_dir, "cache") if len(stages) > 1 else None
        with device.together():
            for stage in stages[1:]:
                rehearse(name, stage, build_step, device, cache)
            for stage in stages:
                train(name, stage, build_step, lines, on_save, device, cache)
