"""The folder of a run: its files, and whether a new start may resume what it holds."""

import json
import logging
import os
import shutil
from pathlib import Path

import yaml

from common.cli import UserError
from common.files import make_folder, sha256, write_json, write_text
from common.flags import about, group_of, to_yaml
from common.scales import scale_name
from common.training.checkpoint_files import (
    checkpoints_in,
    files_of,
    read_sealed,
    write_sealed,
)
from common.training.options import LENGTH
from common.yaml_files import read_yaml

log = logging.getLogger("sr_zoo")


class RunFolder:
    """`config.yaml`, `train.log`, `metrics.jsonl`, `checkpoints/`, weights and pictures of a run.

    How a run was started is believed from its checkpoints, which have checksums; `config.yaml` and
    `data.txt` show it.

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
        self.metrics = self.path / "metrics.jsonl"
        self.curves = self.path / "curves.png"
        self.comparison = self.samples / "comparison.png"
        self.started = {}
        self.before = None  # the summary of the finished run that this start goes on from
        self._data = self.checkpoints / "data.txt"
        self._sums = self.checkpoints / "finished.json"
        self._previous = self.path / ".previous"

    def holds_run(self):
        """Whether it holds a checkpoint of an earlier start."""
        return bool(checkpoints_in(self.checkpoints))

    def check_same(self, options, fingerprint):
        """Refuse to resume a run with options or images that would change what it learns.

        Args:
            options: of this start.
            fingerprint: of the training images.

        Raises:
            UserError: naming what differs; or nothing says how the run was started.
        """
        started = self._read_start()
        before, now = (_with_relative_load(values) for values in
                       (started["options"], _values(options)))
        differ = {key for key in now if key in before and before[key] != now[key]
                  and not about(type(options), key, "free")}
        again = self._advice(options, differ)
        if "load" in differ:
            raise UserError(f"{self.path} already holds a run, which did not start from "
                            f"{options.load}; {again}")
        if options.lr_schedule != "cosine":
            differ -= LENGTH
        if differ:
            changes = ", ".join(f"{key} was {before[key]} and is {now[key]}"
                                for key in now if key in differ)
            raise UserError(f"{self.path} holds a run with other options: {changes}; {again}")
        if started["data"] not in (None, fingerprint):
            raise UserError(f"{self.path} holds a run on other training images; {again}")

    def _advice(self, options, differ):
        """How a user gets what a refused start was to do."""
        over = "--resume no to start over"
        if self._has_first_stage(options):  # and keeps it
            over = f"{self._stage(options)}--resume no to start the second stage over"
        if any(group_of(type(options), key) is None or key in ("scale", "load") for key in differ):
            return f"choose another --output_dir, or {over}"  # perhaps another network
        return f"go on from it with {self.elsewhere(options)}, or {over}"

    def elsewhere(self, options):
        """The flags that go on with the run here in another folder, with other options."""
        return f"{self._stage(options)}--output_dir NEW --resume {self.path}"

    def _stage(self, options):
        load = f"--load {options.load} " if self._has_first_stage(options) else ""
        return f"--stage {options.stage} {load}" if hasattr(options, "stage") else ""

    def _has_first_stage(self, options):
        load = str(_with_relative_load(_values(options)).get("load"))
        return load.startswith(os.path.join("psnr", ""))

    def started_from(self, resume):
        """Whether the run here was itself started with this `--resume PATH`."""
        return self._read_start()["options"].get("resume") == resume

    def _read_start(self):
        """The options and the data of the run here, of a checkpoint's record if one is whole."""
        for path in checkpoints_in(self.checkpoints):
            record = read_sealed(f"{path}.json")
            if record and "options" in record:
                return record
        try:
            options = read_yaml(self.config)
            data = self._data.read_text(encoding="utf-8").strip() if self._data.exists() else None
        except (OSError, ValueError, UserError):
            options = None
        if not isinstance(options, dict):
            raise UserError(f"{self.config} is missing or damaged, and no checkpoint says how the "
                            "run was started; choose another --output_dir, or --resume no to "
                            "start over")
        return {"options": options, "data": data}

    def begin(self, options, fingerprint):
        """Keep the options and images of this start."""
        self.started = {"options": _values(options), "data": fingerprint}
        sums = read_sealed(self._sums)
        if sums and sums.get(self.summary.name) == sha256(self.summary):
            self.before = self.read_summary()
        if self._sums.is_file():  # what it says will be outdated
            self._sums.unlink()
        write_text(self._data, fingerprint + "\n")
        write_text(self.config, to_yaml(options))

    def clear(self):
        """Put an earlier run aside, into `.previous`, but not the cache of prepared images.

        What has no checkpoint is removed, and what is in `.previous` then stays.
        """
        if self.holds_run():
            shutil.rmtree(self._previous, ignore_errors=True)
            make_folder(self._previous)
        # The checkpoints first: they decide whether `settle` takes a run back.
        for path in self._parts():
            if not path.exists():
                continue
            aside = self._previous / path.name
            if self._previous.is_dir() and not aside.exists():
                os.replace(path, aside)
            else:
                _remove(path)

    def settle(self):
        """Remove a run that was put aside once a new one has a checkpoint; else take it back."""
        if not self._previous.is_dir():
            return
        if not self.holds_run() and checkpoints_in(self._previous / "checkpoints"):
            log.info("taking back the run in %s: the one that was to replace it has no checkpoint",
                     self._previous)
            for path in reversed(self._parts()):
                aside = self._previous / path.name
                if aside.exists():
                    _remove(path)
                    os.replace(aside, path)
        shutil.rmtree(self._previous, ignore_errors=True)

    def _parts(self):
        return [self.checkpoints, self.samples, self.path / "logs", self.config, self.summary,
                self.best, self.last, self.metrics, self.curves, self.path / "train.log"]

    def read_summary(self):
        """The result of a finished run as a dict, or None."""
        try:
            summary = json.loads(self.summary.read_text(encoding="utf-8"))
            return summary if isinstance(summary["steps"], int) else None
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None

    def write_summary(self, summary, others=()):
        """Keep the result of a finished run, and the checksums of all that it has to have.

        Args:
            summary: a dict.
            others: paths of files that a model has written beside the run's own.
        """
        write_json(self.summary, summary)
        paths = [self.config, self._data, self.metrics, self.summary, self.best, self.last,
                 self.curves, self.comparison, *others,
                 *files_of(checkpoints_in(self.checkpoints)[0])]
        write_sealed(self._sums, {os.path.relpath(path, self.path): sha256(path)
                                  for path in paths})

    def damaged(self):
        """The files of a finished run that are missing or not as they were written, as paths."""
        sums = read_sealed(self._sums)
        if sums is None:
            return [self._sums]
        return [self.path / name for name, known in sums.items()
                if sha256(self.path / name) != known]


def _values(options):
    """The options as they are read back from YAML and JSON."""
    return yaml.safe_load(to_yaml(options))


def _remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    elif path.exists() or path.is_symlink():
        path.unlink()


def _with_relative_load(values):
    """Options with `load` relative to the run's folder if it lies inside, so that both may move."""
    if all(isinstance(values.get(key), str) for key in ("load", "output_dir")):
        path = os.path.relpath(values["load"], values["output_dir"])
        if not path.startswith(os.pardir):
            return {**values, "load": path}
    return values


def default_folder(model, scale):
    """Where a run writes if not told: `output/<model>_x<scale>` in the current folder."""
    return Path("output") / f"{model}_{scale_name(scale)}"
