"""Learning rates as pure functions of the step, so that a resumed run repeats them exactly."""

import math


def learning_rate(step, options, steps):
    """The rate of a step (0 is the first).

    Args:
        step: steps done so far.
        options: learning_rate, lr_schedule (constant, exponential, staircase, halve, cosine),
            decay_step, decay_epochs, decay_rate, halve_at, restarts, min_learning_rate,
            warmup_steps of `TrainOptions`.
        steps: with `total`, which cosine spreads its periods over, and `epoch`, steps of an epoch.
    """
    peak, low = options.learning_rate, options.min_learning_rate
    if step < options.warmup_steps:
        return peak * (step + 1) / options.warmup_steps
    decay_step = options.decay_epochs * steps.epoch or options.decay_step
    if options.lr_schedule == "exponential":
        return max(low, peak * options.decay_rate ** (step / decay_step))
    if options.lr_schedule == "staircase":
        return max(low, peak * options.decay_rate ** (step // decay_step))
    if options.lr_schedule == "halve":
        return max(low, peak * 0.5 ** sum(step >= at for at in options.halve_at))
    if options.lr_schedule == "cosine":
        # SGDR (arXiv 1608.03983) with periods of equal length after the warm-up.
        length = max(1, steps.total - options.warmup_steps)
        period = max(1, math.ceil(length / (options.restarts + 1)))
        phase = ((step - options.warmup_steps) % period) / period
        return low + (peak - low) * 0.5 * (1 + math.cos(math.pi * phase))
    return peak
