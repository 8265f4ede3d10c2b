"""PaddleGAN's command line in the zoo's words; nothing else knows it."""

import hashlib
from pathlib import Path

import yaml

from common.cli import UserError, one_line
from common.modelzoo.flags import pairs, words
from common.training.run_folder import default_folder
from models.esrgan.paddlegan import is_paddlegan, read_options
from models.esrgan.sections import literal, override

SHORT = {"-c": "--config", "-o": "--opt"}
CONFIG = ("--config", "--config-file", "--config_file")
RENAMED = {"--evaluate-only": "--evaluate_only", "--val-interval": "--val_every",
           "--val_interval": "--val_every"}
FOREIGN = (".pdparams", ".pth", ".pt", ".ckpt", ".safetensors")


def translate(argv):
    """Rewrite PaddleGAN's flags and its YAML; others pass through and have the last word.

    `-c/--config-file F.yaml` may be PaddleGAN's YAML, which `-o/--opt a.b=c ...` changes, or
    options of the zoo. `--load` of foreign weights converts them once, into `cache` in the output
    folder. `--no-cuda` is `--chip cpu`, `--amp` is `--precision mixed_float16`, `--val-interval` is
    `--val_every`.

    Raises:
        UserError: flags or keys that are unknown, contradict each other or have no counterpart.
    """
    flags, config, settings, result = pairs(argv, SHORT, ("--opt",)), None, [], []
    for name, value in flags:
        if name in CONFIG:
            content = _read(name, value)
            if not is_paddlegan(content):
                result.append(("--config", value))
            elif config is not None:
                raise UserError(f"{name} {value}: one of PaddleGAN's YAML files is enough")
            else:
                config = content
        elif name == "--opt":
            settings.append(value or "")
        elif name == "--no-cuda":
            result.append(("--chip", "cpu"))
        elif name == "--amp":
            result.append(("--precision", "mixed_float16"))
        elif name in ("--amp_level", "--amp-level"):
            if value != "O1":
                raise UserError(f"{name} {value}: weights stay float32 in mixed precision, as O1")
        else:
            result.append((RENAMED.get(name, name), value))
    quiet = any(word.startswith("--print_config") for word in argv) or (
        not {"-h", "--help"}.isdisjoint(argv))
    if config is not None:
        result = _join(config, settings, result, quiet)
    elif settings:
        raise UserError(f"-o {settings[0]} changes a key of PaddleGAN's YAML: name one with "
                        "--config-file, or give the zoo's own flags")
    if not quiet:
        result = _foreign_weights(result)
    return words(result)


def _read(flag, path):
    if path is None:
        raise UserError(f"{flag} needs the path of a YAML file")
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {one_line(error)}") from error


def _join(config, settings, flags, quiet):
    """The YAML's options, then the flags; a flag that is given replaces the YAML's."""
    for setting in settings:
        override(config, setting)
    options, lines = read_options(config)
    given = {name[2:].replace("no_", "", 1) if name == "--no_augment" else name[2:]: value
             for name, value in flags if name}
    if "scale" in options and given.get("scale") not in (None, str(options["scale"])):
        raise UserError(f"--scale {given['scale']} contradicts the YAML's scale "
                        f"{options['scale']}")
    replaced = set(given)
    for group in ({"train_steps", "epochs"}, {"data_dir", "gt_folder", "lq_folder"},
                  {"save_every", "save_epochs"}):
        if group & replaced:
            replaced |= group
    if not quiet:
        for line in lines:
            print(line)
    return [_flag(name, value) for name, value in options.items() if name not in replaced] + flags


def _flag(name, value):
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no_{name}", None
    return f"--{name}", str(value)


def _foreign_weights(flags):
    """`--load` of another framework's weights becomes their conversion."""
    given = _given(flags)
    load, resume = str(given.get("load", "")), str(given.get("resume", ""))
    if resume.endswith(FOREIGN):
        raise UserError(f"--resume {resume}: another framework's checkpoint cannot go on here; "
                        "start from its weights with --load")
    scale = literal(given.get("scale", 4))
    if not load.endswith(FOREIGN) or not isinstance(scale, int):  # such a scale is told later
        return flags
    if not Path(load).is_file():
        raise UserError(f"no such file: {load}; correct --load")
    folder = Path(str(given.get("output_dir") or default_folder("esrgan", scale)))
    converted = folder / "cache" / f"{Path(load).stem}-{_digest(load, scale)}.h5"
    if not converted.is_file():
        from common.device.open import quiet_tensorflow

        quiet_tensorflow(given.get("chip", "auto"))
        from models.convert import convert

        convert("esrgan", load, converted, scale=scale, report=print)
        print(f"converted {load} to {converted}")
    return [flag for flag in flags if flag[0] != "--load"] + [("--load", str(converted))]


def _given(flags):
    """{name of an option: value} of flags and of zoo YAML files among them; the last counts."""
    given = {}
    for name, value in flags:
        if name == "--config":
            content = _read(name, value)
            given.update(content if isinstance(content, dict) else {})
        elif name:
            given[name[2:]] = value
    return given


def _digest(path, scale):
    """What tells a conversion from others; a run that is moved with its weights goes on with it."""
    digest = hashlib.sha256(f"x{scale}".encode())
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(2**20), b""):
            digest.update(block)
    return digest.hexdigest()[:12]
