"""Learning rates as pure functions of the step, so that a resumed run repeats them exactly."""

import math


def learning_rate(step, options, total_steps):
    """The rate of a step (0 is the first).

    Args:
        step: steps done so far.
        options: learning_rate, lr_schedule (constant, exponential, halve, cosine), decay_step,
            decay_rate, halve_at, restarts, min_learning_rate, warmup_steps of `TrainOptions`.
        total_steps: the steps of the whole run, which cosine spreads its periods over.
    """
    peak, low = options.learning_rate, options.min_learning_rate
    if step < options.warmup_steps:
        return peak * (step + 1) / options.warmup_steps
    if options.lr_schedule == "exponential":
        return max(low, peak * options.decay_rate ** (step / options.decay_step))
    if options.lr_schedule == "halve":
        return max(low, peak * 0.5 ** sum(step >= at for at in options.halve_at))
    if options.lr_schedule == "cosine":
        # SGDR (arXiv 1608.03983) with periods of equal length after the warm-up.
        steps = max(1, total_steps - options.warmup_steps)
        period = max(1, math.ceil(steps / (options.restarts + 1)))
        phase = ((step - options.warmup_steps) % period) / period
        return low + (peak - low) * 0.5 * (1 + math.cos(math.pi * phase))
    return peak
