"""The registry: every model of the zoo by name.

    model = models.create("edsr", scale=2, num_blocks=16, num_filters=64)
    model = models.load("edsr_x2.h5")

A model maps RGB float32 images (N, H, W, 3) in [0, 255] of any height and width to `scale` times
the size, nominally in [0, 255] and not clipped.
"""

from __future__ import annotations

import common  # noqa: F401 - Ctrl-C has no traceback from here on

# isort: split
import importlib
import importlib.util
import inspect
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from common.cli import UserError, did_you_mean, unknown
from common.scales import scale_name, scale_tuple
from common.untrusted import damaged

if TYPE_CHECKING:
    from common.nn.keras_compat import keras


@dataclass(frozen=True)
class Model:
    """What the zoo knows of one of its models; modules are imported when they are asked for.

    Args:
        name: as `create` knows it.
        package: with `network` (`SCALES`, `build(scale, **options)`), `train` (`RECIPE`) and, where
            other programs' weights are converted, `convert`; see `models.convert`.
        small: options of a network small enough for tests.
        stages: names of the runs that a training has one after the other; () for one run.
        quick: flags that keep the stages before the last as short as can be.
        preset: of `test/train_*.sh`, ModelZoo's full and performance runs.
        eight: flags that go with it on eight devices, which want equal shares of the batch.
    """

    name: str
    package: str
    small: dict = field(default_factory=dict)
    stages: tuple = ()
    quick: tuple = ()
    preset: str = "paper"
    eight: tuple = ()

    @property
    def network(self) -> ModuleType:
        """The module with `SCALES` and `build(scale, **options)`."""
        return importlib.import_module(f"{self.package}.network")

    @property
    def recipe(self) -> Any:
        """How it is trained: a `common.training.recipe.Recipe`."""
        return importlib.import_module(f"{self.package}.train").RECIPE

    @property
    def converter(self) -> ModuleType | None:
        """The module that converts other programs' weights, None where there is none."""
        if importlib.util.find_spec(f"{self.package}.convert") is None:
            return None
        return importlib.import_module(f"{self.package}.convert")

    @property
    def joint(self) -> bool:
        """Whether one network can have several scales."""
        return getattr(self.network, "JOINT", False)

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return Path(importlib.util.find_spec(self.package).origin).parent


_GAN = {"stages": ("psnr", "gan"), "quick": ("--psnr_steps", "1")}
_MODELS = {}


def register(model: Model) -> None:
    """Add a model to the zoo."""
    _MODELS[model.name] = model


register(Model("bsrn", "models.bsrn", {"num_features": 8, "num_states": 8, "num_recursions": 3}))
register(Model("edsr", "models.edsr", {"num_blocks": 2, "num_filters": 8, "res_scale": 0.5},
               preset="modelzoo"))
register(Model("esrgan", "models.esrgan", {"num_blocks": 1, "num_filters": 8, "num_growth": 4},
               **_GAN))
register(Model("srcnn", "models.srcnn", {"num_filters": (8, 8)}))
register(Model("srdrm", "models.srdrm", {"num_blocks": 2, "num_filters": 8, "tail_kernel": 5},
               eight=("--batch_size=16", "--scale_learning_rate=2"), **_GAN))
register(Model("srgan", "models.srgan", {"num_blocks": 2, "num_filters": 8},
               preset="coco", **_GAN))
register(Model("vdsr", "models.vdsr", {"num_layers": 4, "num_filters": 8}))


def available() -> tuple:
    """The names of the models that `create` knows."""
    return tuple(_MODELS)


def model(name: str) -> Model:
    """What the zoo knows of a model.

    Raises:
        UserError: an unknown name; the nearest known one is suggested.
    """
    if name not in _MODELS:
        raise unknown("model", name, _MODELS)
    return _MODELS[name]


def create(name: str, scale: int | Sequence[int], **options: Any) -> keras.Model:
    """Build a model with fresh weights.

    Args:
        name: one of `available()`.
        scale: how many times the output is as large as the input; for a network that can have
            several, a tuple of them.
        options: the network's own, e.g. num_blocks; `help(models.model(name).network.build)`
            lists them.

    Returns:
        a Keras model, float32 RGB (N, H, W, 3) in [0, 255] to (N, H*scale, W*scale, 3), unclipped;
        for several scales to a dict of these, keyed "x2", "x3", ...

    Raises:
        UserError: an unknown name, scale or option.

    Example:
        >>> import models
        >>> model = models.create("edsr", scale=2, num_blocks=1, num_filters=4)
        >>> model.name, model.output_shape
        ('edsr_x2', (None, None, None, 3))
    """
    known_model = model(name)
    net = known_model.network
    joint = isinstance(scale, (tuple, list))
    known = ", ".join(str(s) for s in net.SCALES)
    if joint and not known_model.joint:
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
    built = net.build(scale, **options)
    built.zoo_metadata = json.dumps({"model": name, "scale": scale, "options": options})
    return built


def described(metadata: dict) -> keras.Model:
    """The model, with fresh weights, that the description in a zoo `.h5` names."""
    scale = metadata["scale"]
    return create(metadata["model"], tuple(scale) if isinstance(scale, list) else scale,
                  **metadata["options"])


def another(model: keras.Model) -> keras.Model:
    """A model of the same name, scale and options as one of `create`, with fresh weights."""
    return described(json.loads(model.zoo_metadata))


def load(path: str | os.PathLike, scale: int | None = None, **options: Any) -> keras.Model:
    """Rebuild the model that a zoo `.h5` describes and read its weights, whichever stack wrote it.

    Args:
        path: the file, or a name of `models.catalogue`, which is fetched if need be.
        scale: if given, what the file must hold; of a joint model's file, the one to build.
        options: changes to the network's options that leave its layers as they are, such as a
            smaller num_recursions of BSRN.

    Raises:
        UserError: no such file, not one of the zoo's, damaged, or of another scale; a name that
            cannot be fetched.

    Example:
        >>> import models
        >>> model = models.load("edsr_x2.h5")
        >>> model.name, len(model.trainable_weights)
        ('edsr_x2', 12)
    """
    from common import weights
    from models import catalogue

    path = catalogue.find(path)
    metadata = weights.read_metadata(path)
    held = metadata["scale"]
    if scale is None or scale == held:
        scale = held
    elif scale not in scale_tuple(held):
        raise UserError(f"{path} holds {metadata['model']} {scale_name(held)}, not x{scale}")
    arrays = weights.read_arrays(path)
    from common.nn.keras_compat import at_most  # imports TensorFlow, so after a file is refused

    # What the file says of its network is believed as far as its arrays go.
    elements = sum(values.size for layer in arrays.values() for values in layer)
    with damaged(path), at_most(elements):
        loaded = create(metadata["model"], scale, **{**metadata["options"], **options})
    weights.load_into(loaded, path, unused=scale != held, stored=arrays)
    return loaded
