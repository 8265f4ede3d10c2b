"""Translate PaddleGAN's YAML of RRDBNet and ESRGAN into options of the zoo."""

import copy
from dataclasses import fields
from pathlib import Path

from common.cli import UserError
from models.esrgan.blocks import blocks, read
from models.esrgan.paddlegan_blocks import PaddleGan


def is_paddlegan(values):
    """Whether a YAML file has PaddleGAN's blocks, not the zoo's flat options."""
    own = {*PaddleGan.ONLY, *PaddleGan.__annotations__} - {"dataset", "epochs", "output_dir"}
    return isinstance(values, dict) and (isinstance(values.get("dataset"), dict)
                                         or not own.isdisjoint(values))


def read_options(values):
    """Translate PaddleGAN's YAML.

    Args:
        values: its content.

    Returns:
        {name of an option: value} and a list of lines to show to the user.

    Raises:
        UserError: a key is unknown, or values contradict each other or have no counterpart.
    """
    values, notes, found, options = copy.deepcopy(values), [], {}, {}
    _move_into_blocks(values, notes)
    config = read(PaddleGan, values)
    for block in blocks(config):
        options.update(block.translate(notes) or {})
        for one in (one for one in fields(block) if one.metadata):
            path, value, what = block.at(one.name), getattr(block, one.name), one.metadata
            if value and what["note"]:
                notes.append(f"{path}: {what['note']}")
            elif value is not None and what["option"]:
                first, before = found.setdefault(what["option"], (path, value))
                if value != before:
                    raise UserError(f"{first} {before} and {path} {value} contradict each other")
                options[what["option"]] = what["meaning"][value] if what["meaning"] else value
    scale, gt_patch = options["scale"], options.pop("gt_patch")
    if gt_patch % scale:
        raise UserError(f"the gt_patch_size {gt_patch} is not a multiple of the scale {scale}")
    options.update(_folders(config.dataset, scale), patch_size=gt_patch // scale)
    return {key: value for key, value in options.items() if value is not None}, notes


def _move_into_blocks(values, notes):
    """Move two keys that the description also shows on their own into their blocks."""
    for name, *path in (("batch_size", "dataset", "train"), ("learning_rate", "lr_scheduler")):
        value, block = values.pop(name, None), values
        for part in path:
            if isinstance(block, dict):
                block[part] = block = {} if block.get(part) is None else block[part]
        if value is not None and isinstance(block, dict) and block.setdefault(name, value) != value:
            notes.append(f"{name} {value} is not used: {'.'.join(path)}.{name} is {block[name]}")


def _folders(dataset, scale):
    """The options of the folders: `data_dir` if they are its train, train_X4, test and test_X4."""
    folders = [folder for one in (dataset.train, dataset.test) if one
               for folder in (one.gt_folder, one.lq_folder)]
    parent = Path(folders[0]).parent
    names = "train", f"train_X{scale}", "test", f"test_X{scale}"
    if [Path(folder) for folder in folders] == [parent / name for name in names]:
        return {"dataset": "paired", "data_dir": str(parent)}
    names = "gt_folder", "lq_folder", "val_gt_folder", "val_lq_folder"
    return {"dataset": "paired", **dict(zip(names, folders))}
