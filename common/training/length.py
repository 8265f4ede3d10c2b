"""How many steps a run has, and after which of them something happens."""

import logging
import math

from common.training.options import steps_per_call

log = logging.getLogger("sr_zoo")


class Length:
    """The steps of a run: in all, in an epoch, and between validations, checkpoints and log lines.

    Those between are rounded up to multiples of `turn`, the steps of one call of the compiled step.

    Args:
        options: `TrainOptions`.
        images: how many an epoch goes through.
    """

    def __init__(self, options, images):
        self.epoch = math.ceil(images * options.patches_per_image / options.batch_size)
        self.total = options.train_steps or options.epochs * self.epoch
        self.turn = steps_per_call(options)
        self.val_every = self._in_turns(options.val_every or self.epoch)
        self.save_every = self._in_turns(options.save_every or options.save_epochs * self.epoch
                                         or self.val_every)
        self.log_every = self._in_turns(options.log_every)
        self.sample_every = self._in_turns(options.sample_every)
        self.epochs = math.ceil(self.total / self.epoch)
        if options.train_steps and options.train_steps < self.epoch:
            log.info("--train_steps %d is less than one epoch of %d steps: it counts optimizer "
                     "steps; for passes over the images use --epochs", options.train_steps,
                     self.epoch)

    def _in_turns(self, steps):
        return self.turn * math.ceil(steps / self.turn)

    def due(self, step: int, every: int) -> bool:
        """Whether something is due after `step`: every so many steps, and after the last."""
        return step % every == 0 or step == self.total
