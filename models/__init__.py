"""The registry: every model of the zoo by name.

    model = models.create("edsr", scale=2, num_blocks=16, num_filters=64)
    model = models.load("edsr_x2.h5")

A model maps RGB float32 images (N, H, W, 3) in [0, 255] of any height and width to `scale` times
the size, nominally in [0, 255] and not clipped.
"""

import importlib
import inspect
import json
from pathlib import Path

from common.cli import UserError, did_you_mean
from common.scales import scale_name, scale_tuple

# name -> the module with SCALES and build(scale, **options)
_NETWORKS = {
    "bsrn": "models.bsrn.network",
    "edsr": "models.edsr.network",
    "esrgan": "models.esrgan.network",
    "srcnn": "models.srcnn.network",
    "srdrm": "models.srdrm.network",
    "srgan": "models.srgan.network",
    "vdsr": "models.vdsr.network",
}


def available():
    """The names of the models that `create` knows."""
    return tuple(_NETWORKS)


def create(name, scale, **options):
    """Build a model with fresh weights.

    Args:
        name: one of `available()`.
        scale: how many times the output is as large as the input; for a network that can have
            several, a tuple of them.
        options: the network's own, e.g. num_blocks; `help(models.network(name).build)` lists them.

    Returns:
        a Keras model, float32 RGB (N, H, W, 3) in [0, 255] to (N, H*scale, W*scale, 3), unclipped;
        for several scales to a dict of these, keyed "x2", "x3", ...

    Raises:
        UserError: an unknown name, scale or option.
    """
    net = network(name)
    joint = isinstance(scale, (tuple, list))
    known = ", ".join(str(s) for s in net.SCALES)
    if joint and not getattr(net, "JOINT", False):
        raise UserError(f"{name} has one scale at a time; choose one of {known}")
    for s in scale_tuple(scale):
        if s not in net.SCALES:
            raise UserError(f"{name} has no scale {s}; choose {'some' if joint else 'one'} of "
                            f"{known}")
    scale = tuple(scale) if joint else scale
    signature = inspect.signature(net.build).parameters
    known = [option for option in signature if option != "scale"]
    for option in options:
        if option not in known:
            raise UserError(f"{name} has no option {option!r}{did_you_mean(option, known)}; "
                            f"it has {', '.join(known)}")
    defaults = {option: signature[option].default for option in known}
    options = {**defaults, **options}
    model = net.build(scale, **options)
    model.zoo_metadata = json.dumps({"model": name, "scale": scale, "options": options})
    return model


def load(path, scale=None, **options):
    """Rebuild the model that a zoo `.h5` describes and read its weights, whichever stack wrote it.

    Args:
        path: the file.
        scale: if given, what the file must hold; of a joint model's file, the one to build.
        options: changes to the network's options that leave its layers as they are, such as a
            smaller num_recursions of BSRN.

    Raises:
        UserError: no such file, not one of the zoo's, damaged, or of another scale.
    """
    from common import weights

    metadata = weights.read_metadata(path)
    held = metadata["scale"]
    if scale is None or scale == held:
        scale = held
    elif scale not in scale_tuple(held):
        raise UserError(f"{path} holds {metadata['model']} {scale_name(held)}, not x{scale}")
    model = create(metadata["model"], scale, **{**metadata["options"], **options})
    weights.load_into(model, path, unused=scale != held)
    return model


def bundled_weights(name, scale):
    """The path of the weights that come with the zoo for a model and scale.

    Raises:
        UserError: an unknown model, or none come with it.
    """
    network(name)
    folder = Path(__file__).parent / name / "weights"
    path = folder / f"{name}_x{scale}.h5"
    if not path.is_file():
        have = sorted(p.name for p in Path(__file__).parent.glob("*/weights/*.h5"))
        raise UserError(f"no weights for {name} x{scale} come with the zoo (it has "
                        f"{', '.join(have) or 'none'}); train them and name them with --weights")
    return path


def network(name):
    """The network module of a model, with `SCALES` and `build(scale, **options)`.

    Raises:
        UserError: an unknown name; the nearest known one is suggested.
    """
    if name not in _NETWORKS:
        raise UserError(f"no model {name!r} in the zoo{did_you_mean(name, _NETWORKS)}; "
                        f"it has {', '.join(_NETWORKS)}")
    return importlib.import_module(_NETWORKS[name])
