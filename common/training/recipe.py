"""What a model's `train.py` tells the training: its options, its step, the words of its log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

from common.training.lines import Lines


def _unchanged(argv: list[str]) -> list[str]:
    return argv


def _one_run(options: Any) -> list:
    return [options]


@dataclass(frozen=True)
class Recipe:
    """How a model is trained; `models/<name>/train.py` holds it as `RECIPE`.

    Args:
        name: of the model, for file names and log lines.
        options_class: a dataclass that extends `TrainOptions`.
        build_step: function of the options to a step such as `steps.PixelStep` with fresh
            weights; called inside the scope of the device's strategy.
        lines: class of the log's wording, made with the options of the run.
        plan: function of the options to those of the runs that follow each other.
        on_save: function of (step, options, epoch), called by the chief after each checkpoint,
            for files that a model writes beside the zoo's own; it returns their paths.
        translate: function of the flags of the model's published program to the zoo's flags.
    """

    name: str
    options_class: type
    build_step: Callable
    lines: type = Lines
    plan: Callable = _one_run
    on_save: Callable | None = None
    translate: Callable = _unchanged
