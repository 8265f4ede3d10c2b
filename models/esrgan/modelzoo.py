"""Translate PaddleGAN's command line into the zoo's flags."""

import hashlib
from pathlib import Path

from common.cli import UserError
from common.modelzoo.flags import has, pairs, words
from common.training.run_folder import default_folder
from common.yaml_files import read_yaml
from models.esrgan.blocks import literal, override
from models.esrgan.paddlegan import is_paddlegan, read_options

SHORT = {"-c": "--config", "-o": "--opt"}
CONFIG = ("--config", "--config-file", "--config_file")
RENAMED = {"--evaluate-only": "--evaluate_only", "--val-interval": "--val_every",
           "--val_interval": "--val_every"}
SWITCHES = {"--no-cuda": ("--chip", "cpu"), "--amp": ("--precision", "mixed_float16")}
FOREIGN = (".pdparams", ".pth", ".pt", ".ckpt", ".safetensors")
# A flag of one of these replaces what the YAML says of all of them.
TOGETHER = ({"train_steps", "epochs"}, {"data_dir", "gt_folder", "lq_folder"},
            {"save_every", "save_epochs"})


def translate(argv):
    """Rewrite PaddleGAN's flags and YAML; other flags pass through and override the YAML.

    `-c/--config-file F.yaml` may be PaddleGAN's YAML, which `-o/--opt a.b=c ...` changes, or
    options of the zoo. `--load` of another framework's weights converts them once, into `cache` in
    the output folder. `--no-cuda` is `--chip cpu`, `--amp` is `--precision mixed_float16`,
    `--val-interval` is `--val_every`.

    Raises:
        UserError: flags or keys are unknown, contradict each other or have no counterpart.
    """
    config, settings, flags = None, [], []
    for name, value in pairs(argv, SHORT, ("--opt",)):
        if name in CONFIG:
            content = _read(name, value)
            if not is_paddlegan(content):
                flags.append(("--config", value))
            elif config is not None:
                raise UserError(f"{name} {value}: give only one of PaddleGAN's YAML files")
            else:
                config = content
        elif name == "--opt":
            settings.append(value or "")
        elif name in ("--amp_level", "--amp-level"):
            if value != "O1":
                raise UserError(f"{name} {value}: only O1 is supported; weights stay float32")
        else:
            flags.append(SWITCHES.get(name) or (RENAMED.get(name, name), value))
    quiet = has(argv, "--help", "--print_config", short={"-h": "--help"})
    if config is not None:
        flags = _join(config, settings, flags, quiet)
    elif settings:
        raise UserError(f"-o {settings[0]} changes a key of PaddleGAN's YAML: name one with "
                        "--config-file, or give the zoo's own flags")
    return words(flags if quiet else _convert_weights(flags))


def _read(flag, path):
    if path is None:
        raise UserError(f"{flag} needs the path of a YAML file")
    return read_yaml(path)


def _join(config, settings, flags, quiet):
    """The YAML's options that no flag replaces, then the flags."""
    for setting in settings:
        override(config, setting)
    options, notes = read_options(config)
    given = {"augment" if name == "--no_augment" else name[2:]: value
             for name, value in flags if name}
    if given.get("scale") not in (None, str(options["scale"])):
        raise UserError(f"--scale {given['scale']} contradicts the YAML's scale "
                        f"{options['scale']}")
    replaced = set(given).union(*(group for group in TOGETHER if group & set(given)))
    if not quiet:
        for note in notes:
            print(note)
    return [(f"--no_{name}", None) if value is False else (f"--{name}", None) if value is True else
            (f"--{name}", str(value)) for name, value in options.items()
            if name not in replaced] + flags


def _convert_weights(flags):
    """Replace `--load` of another framework's weights by their conversion."""
    given = _given(flags)
    load, resume = str(given.get("load", "")), str(given.get("resume", ""))
    if resume.endswith(FOREIGN):
        raise UserError(f"--resume {resume}: a checkpoint of another framework cannot be resumed; "
                        "start from its weights with --load")
    scale = literal(given.get("scale", 4))
    if not load.endswith(FOREIGN) or not isinstance(scale, int):  # a wrong scale is told later
        return flags
    if not Path(load).is_file():
        raise UserError(f"no such file: {load}; correct --load")
    folder = Path(str(given.get("output_dir") or default_folder("esrgan", scale)))
    converted = folder / "cache" / f"{Path(load).stem}-{_digest(load, scale)}.h5"
    if not converted.is_file():
        from common.device.quiet import quiet_tensorflow

        quiet_tensorflow(given.get("chip", "auto"))
        from models.convert import convert

        convert("esrgan", load, converted, scale=scale, report=print)
        print(f"converted {load} to {converted}")
    return [flag for flag in flags if flag[0] != "--load"] + [("--load", str(converted))]


def _given(flags):
    """{option: value} of the flags and of the zoo's YAML files among them; the last one counts."""
    given = {}
    for name, value in flags:
        if name == "--config":
            content = _read(name, value)
            given.update(content if isinstance(content, dict) else {})
        elif name:
            given[name[2:]] = value
    return given


def _digest(path, scale):
    """The content and the scale, so that a run moved together with its weights resumes."""
    digest = hashlib.sha256(f"x{scale}".encode())
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(2**20), b""):
            digest.update(block)
    return digest.hexdigest()[:12]
