"""How many steps a run has, and after which of them something happens."""

import logging
import math

log = logging.getLogger("sr_zoo")


class Length:
    """The steps of a run: in all, in an epoch, and between validations, checkpoints and log lines.

    Args:
        options: `TrainOptions`.
        images: how many an epoch goes through.
    """

    def __init__(self, options, images):
        self.epoch = math.ceil(images * options.patches_per_image / options.batch_size)
        self.total = options.train_steps or options.epochs * self.epoch
        self.val_every = options.val_every or self.epoch
        self.save_every = (options.save_every or options.save_epochs * self.epoch
                           or self.val_every)
        self.log_every = options.log_every
        self.sample_every = options.sample_every
        self.epochs = math.ceil(self.total / self.epoch)
        if options.train_steps and options.train_steps < self.epoch:
            log.info("--train_steps %d is less than one epoch of %d steps: it counts optimizer "
                     "steps; for passes over the images use --epochs", options.train_steps,
                     self.epoch)

    def due(self, step: int, every: int) -> bool:
        """Whether something is due after `step`: every so many steps, and after the last."""
        return step % every == 0 or step == self.total
