"""What the check runs: a model's training step at a small size."""

import dataclasses
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import models
from common.cli import UserError
from common.modelzoo.flags import value_of


def stages(name, flags):
    """A model's `build_step`, and small options for each of its stages.

    Args:
        name: of the model.
        flags: of its train command; they override the small defaults.

    Raises:
        UserError: a wrong flag, or a precision that an NPU lacks.
    """
    from models.command import read_options

    model = models.model(name)
    small = [f"--{key}={list(value) if isinstance(value, tuple) else value}"
             for key, value in {**model.small, "batch_size": 2}.items()]
    scale = value_of(flags, "--scale")
    small.append(f"--patch_size={32 if scale == '1' else 16}")
    options = read_options(model.recipe, [*small, *flags],
                           f"python -m scripts.npu_check --model {name}")
    if options.precision not in ("auto", "float32"):
        raise UserError(f"--precision {options.precision}: an NPU has float32 only, which the "
                        "adapter's --precision_mode casts; leave it out")
    if not model.stages:
        return model.recipe.build_step, [options]
    from common.training.stages import in_stage

    names = model.stages if options.stage == "both" else (options.stage,)
    return model.recipe.build_step, [in_stage(options, stage) for stage in names]


@contextmanager
def with_vgg(options):
    """The options, with a VGG19 file of zeros where the step needs one and none is named."""
    wanted = (getattr(options, "stage", None) == "gan" and options.perceptual_weight
              and not options.vgg_weights)
    if not wanted:
        yield options
        return
    import h5py

    from common.training.vgg import BLOCKS

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "vgg19.h5")
        with h5py.File(str(path), "w") as file:
            names, depth = [], 3
            for block, (filters, count) in enumerate(BLOCKS, 1):
                for i in range(1, count + 1):
                    names.append(f"block{block}_conv{i}")
                    group = file.create_group(names[-1])
                    # Without values nothing is written, so the file is small.
                    group.create_dataset("kernel:0", (3, 3, depth, filters), "f4")
                    group.create_dataset("bias:0", (filters,), "f4")
                    group.attrs["weight_names"] = np.array(["kernel:0", "bias:0"], "S")
                    depth = filters
            file.attrs["layer_names"] = np.array(names, "S")
        yield dataclasses.replace(options, vgg_weights=str(path))


def batch_shapes(options, scale):
    """Shape and type of the LR and of the HR batch that the training loop would give the step."""
    n, p = options.batch_size, options.patch_size
    if options.dataset == "hdf5":
        return [((n, p, p, 1), "float32")] * 2
    return [((n, p, p, 3), "uint8"), ((n, p * scale, p * scale, 3), "uint8")]
