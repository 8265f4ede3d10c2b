"""What a user chooses from a data set: how many images, which validate, and their preparation."""

import functools
import logging
from dataclasses import dataclass, replace
from typing import Optional

import numpy as np

from common.cli import UserError
from common.data.prepare import Preparation

LAST_IMAGES = 10  # at most, held out of a set without validation images

log = logging.getLogger("sr_zoo")


@dataclass(frozen=True)
class Choices:
    """The choices; by default a set is used as it is.

    Args:
        number_of_images: use this many images, the first ones; 0: all. A set's own validation
            images are not counted.
        train_test_ratio: share of these images to train on, between 0 and 1. The others, drawn at
            random from `seed`, replace the set's own validation images.
        seed: of that draw.
        preparation: `resize` is for the images of the set; the rest is for every generated LR
            image.
        skip_bad: leave out images that cannot be read, instead of refusing the set.
    """

    number_of_images: int = 0
    train_test_ratio: Optional[float] = None
    seed: int = 0
    preparation: Preparation = Preparation()
    skip_bad: bool = False

    def split(self, train: list, val: list, place, ratio: Optional[float] = None) -> tuple:
        """Choose the pairs (train, val) from a set's own.

        Args:
            train, val: the set's pairs; `val` may be empty.
            place: where they are, for messages.
            ratio: the default `train_test_ratio` of a set without validation images; None: hold
                out the last tenth.
        """
        if 0 < len(train) < self.number_of_images:
            log_once(f"--number_of_images {self.number_of_images}: {place} has only {len(train)}, "
                     "all are used")
        train = train[:self.number_of_images or None]
        if self.train_test_ratio:
            return at_random(train, self.train_test_ratio, self.seed)
        if val:
            return train, val
        return at_random(train, ratio, self.seed) if ratio else hold_out(train)

    def prepared(self, pairs: list) -> list:
        """Pairs of the set itself, with the chosen preparation.

        Raises:
            UserError: the set has LR images, so that they cannot be resized or generated.
        """
        wanted = self.preparation
        own = next((pair.lr for pair in pairs if pair.lr is not None), None)
        for name in [*wanted.worsened_by, *["resize"] * bool(wanted.resize)] if own else ():
            raise UserError(f"--{name} needs generated LR images, but this data set has its own, "
                            f"such as {own}; leave it out, or use only the HR images with "
                            "--dataset folder")
        return [self._prepared(pair, wanted.resize or pair.preparation.resize) for pair in pairs]

    def prepared_elsewhere(self, pairs: list, place) -> list:
        """Validation pairs from another folder: only their generated LR images are degraded."""
        if self.preparation.worsened_by and any(pair.lr is not None for pair in pairs):
            log_once(f"{place} has its own LR images, which are used without "
                     f"{', '.join(f'--{name}' for name in self.preparation.worsened_by)}")
        return [pair if pair.lr else self._prepared(pair, pair.preparation.resize)
                for pair in pairs]

    def _prepared(self, pair, resize):
        return replace(pair, preparation=replace(self.preparation, crop=pair.preparation.crop,
                                                 resize=resize))


def at_random(pairs: list, ratio: float, seed: int) -> tuple:
    """Split pairs at random into (train, val), in their old order; a single pair serves as both."""
    if len(pairs) < 2:
        return pairs, pairs
    count = min(max(int(ratio * len(pairs) + 0.5), 1), len(pairs) - 1)
    # Philox gives the same raw stream in all NumPy versions. 3: no patch is drawn from this one.
    draws = np.random.Philox(np.random.SeedSequence((seed, 3))).random_raw(len(pairs))
    order = np.argsort(draws, kind="stable")
    return tuple([pairs[i] for i in sorted(part)] for part in (order[:count], order[count:]))


def hold_out(pairs: list) -> tuple:
    """Split off the last tenth, 1 to `LAST_IMAGES` pairs; a single pair serves as both."""
    count = max(1, min(LAST_IMAGES, len(pairs) // 10))
    return pairs[:-count] or pairs, pairs[-count:]


@functools.lru_cache(None)
def log_once(text: str, level: int = logging.INFO) -> None:
    """Log a line only the first time: a joint model opens its set once for each scale."""
    log.log(level, text)
