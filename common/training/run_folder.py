"""The folder of a run: its files, and whether a new start may resume what it holds."""

import json
import os
import shutil
from pathlib import Path

import yaml

from common.cli import UserError
from common.files import make_folder, write_text
from common.flags import about, to_yaml
from common.scales import scale_name
from common.training.options import LENGTH


class RunFolder:
    """`config.yaml`, `train.log`, `metrics.jsonl`, `checkpoints/`, weights and pictures of a run.

    Args:
        path: the folder; made if missing.
        model, scale: name the weight files.

    Raises:
        UserError: it cannot be made or written in.
    """

    def __init__(self, path, model, scale):
        self.path = make_folder(path)
        self.config = self.path / "config.yaml"
        self.checkpoints = self.path / "checkpoints"
        self.samples = self.path / "samples"
        self.summary = self.path / "summary.json"
        self.best = self.path / f"{model}_{scale_name(scale)}.h5"
        self.last = self.path / f"{model}_{scale_name(scale)}_last.h5"
        self._data = self.checkpoints / "data.txt"

    def holds_run(self):
        """Whether it holds a checkpoint of an earlier start."""
        return self.config.is_file() and (self.checkpoints / "checkpoint").is_file()

    def check_same(self, options, fingerprint):
        """Refuse to resume a run with options or images that would change what it learns.

        Args:
            options: of this start.
            fingerprint: of the training images.

        Raises:
            UserError: naming what differs.
        """
        before, now = (_with_relative_load(values) for values in
                       (self._before(), yaml.safe_load(to_yaml(options))))
        differ = {key for key in now if key in before and before[key] != now[key]
                  and not about(type(options), key, "free")}
        again = "choose another --output_dir, or --resume no to start over"
        if str(now.get("load")).startswith(os.path.join("psnr", "")):  # keep the first stage
            again = (f"choose another --output_dir, or --stage gan --load {options.load} --resume "
                     "no to start the second stage over")
        if "load" in differ:
            raise UserError(f"{self.path} already holds a run, which did not start from "
                            f"{options.load}; {again}")
        if options.lr_schedule != "cosine":
            differ -= LENGTH
        if differ:
            changes = ", ".join(f"{key} was {before[key]} and is {now[key]}"
                                for key in now if key in differ)
            raise UserError(f"{self.path} holds a run with other options: {changes}; {again}")
        if self._data.is_file() and self._data.read_text().strip() != fingerprint:
            raise UserError(f"{self.path} holds a run on other training images; {again}")

    def started_from(self, resume):
        """Whether the run here was itself started with this `--resume PATH`."""
        return self._before().get("resume") == resume

    def _before(self):
        return yaml.safe_load(self.config.read_text(encoding="utf-8"))

    def begin(self, options, fingerprint):
        """Record the options and images of a run that starts now."""
        write_text(self._data, fingerprint + "\n")
        self.write_config(options)

    def write_config(self, options):
        """Keep the options of the latest start."""
        write_text(self.config, to_yaml(options))

    def clear(self):
        """Remove an earlier run, but not the cache of prepared images."""
        for path in (self.checkpoints, self.samples, self.path / "logs"):
            shutil.rmtree(path, ignore_errors=True)
        for path in (self.config, self.summary, self.best, self.last, self.path / "metrics.jsonl",
                     self.path / "curves.png", self.path / "train.log"):
            if path.exists():
                path.unlink()

    def read_summary(self):
        """The result of a finished run as a dict, or None."""
        if not self.summary.is_file():
            return None
        return json.loads(self.summary.read_text(encoding="utf-8"))

    def write_summary(self, summary):
        """Keep the result of a finished run."""
        write_text(self.summary, json.dumps(summary, indent=2) + "\n")


def _with_relative_load(values):
    """Options with `load` relative to the run's folder if it lies inside, so that both may move."""
    if values.get("load") and values.get("output_dir"):
        path = os.path.relpath(values["load"], values["output_dir"])
        if not path.startswith(os.pardir):
            return {**values, "load": path}
    return values


def default_folder(model, scale):
    """Where a run writes if not told: `output/<model>_x<scale>` in the current folder."""
    return Path("output") / f"{model}_{scale_name(scale)}"
