"""What a user chooses of a data set: how many images, which of them validate, how prepared."""

import functools
import logging
from dataclasses import dataclass, replace
from typing import Optional

import numpy as np

from common.cli import UserError
from common.data.prepare import Preparation

LAST_IMAGES = 10  # of a folder without a validation set, at most

log = logging.getLogger("sr_zoo")


@dataclass(frozen=True)
class Choices:
    """The choices, by default none.

    Args:
        number_of_images: the first so many of the set's images that are not its validation images;
            0: all.
        train_test_ratio: share of these, above 0 and below 1, that is trained on; the others, drawn
            from `seed`, are the validation images, in place of the set's own.
        seed: of that draw.
        preparation: what is done with the images. `resize` is for those of the set, `blur`,
            `reduction`, `noise` and `jpeg` for every LR image that is made.
    """

    number_of_images: int = 0
    train_test_ratio: Optional[float] = None
    seed: int = 0
    preparation: Preparation = Preparation()

    def split(self, train, val, place, ratio=None):
        """Choose of a set's own pairs.

        Args:
            train, val: the pairs of a set; `val` may be empty.
            place: where they are, to name it.
            ratio: the `train_test_ratio` of a set without validation images; None: all but the
                last tenth.

        Returns:
            (train, val).

        Raises:
            UserError: as `prepared`.
        """
        train = self.first_images(train, place)
        if self.train_test_ratio:
            train, val = at_random(train, self.train_test_ratio, self.seed)
        elif not val:
            train, val = at_random(train, ratio, self.seed) if ratio else hold_out(train)
        return self.prepared(train), self.prepared(val)

    def first_images(self, pairs, place):
        """The first `number_of_images` of some pairs; a log line says so if there are fewer."""
        if 0 < len(pairs) < self.number_of_images:
            say_once(f"--number_of_images {self.number_of_images}: {place} has only {len(pairs)}, "
                     "all are used")
        return pairs[:self.number_of_images or None]

    def prepared(self, pairs):
        """The pairs of the set itself, to be prepared so.

        Raises:
            UserError: they have LR images of their own, and a size is named or how LR images are
                made.
        """
        wanted = self.preparation
        own = next((pair.lr for pair in pairs if pair.lr is not None), None)
        for name in [*wanted.degradation, *["resize"] * bool(wanted.resize)] if own else ():
            raise UserError(f"--{name} is for sets whose LR images are made here, and this one "
                            f"brings its own, as {own}; leave it out, or name the folder of HR "
                            "images with --dataset folder")
        return [replace(pair, preparation=replace(wanted, crop=pair.preparation.crop,
                                                  resize=wanted.resize or pair.preparation.resize))
                for pair in pairs]

    def prepared_elsewhere(self, pairs, place):
        """Validation pairs of another folder: only the LR images that are made are made alike."""
        if self.preparation.degradation and any(pair.lr is not None for pair in pairs):
            say_once(f"{place} brings its own LR images: they are taken as they are, without "
                     f"{', '.join(f'--{name}' for name in self.preparation.degradation)}")
        return [replace(pair, preparation=replace(
                    self.preparation, crop=pair.preparation.crop, resize=pair.preparation.resize))
                if pair.lr is None else pair for pair in pairs]


def at_random(pairs, ratio, seed):
    """Split pairs into (train, val), each in their old order; a single one serves for both."""
    if len(pairs) < 2:
        return pairs, pairs
    count = min(max(int(ratio * len(pairs) + 0.5), 1), len(pairs) - 1)
    # The raw stream of Philox is fixed for all NumPy versions. 3: no patch is drawn from this one.
    draws = np.random.Philox(np.random.SeedSequence((seed, 3))).random_raw(len(pairs))
    order = np.argsort(draws, kind="stable")
    return [[pairs[i] for i in sorted(part)] for part in (order[:count], order[count:])]


def hold_out(pairs):
    """Split off the last tenth, 1 to `LAST_IMAGES`; a single image serves for both."""
    count = max(1, min(LAST_IMAGES, len(pairs) // 10))
    return (pairs[:-count] or pairs, pairs[-count:])


@functools.cache
def say_once(text):
    """Log a line the first time only: a joint model opens its set once for every scale."""
    log.info(text)
