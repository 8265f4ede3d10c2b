"""Learning rates as pure functions of the step: a resumed run repeats them exactly."""

import math

from common.cli import UserError


def learning_rate(step, options, steps):
    """The rate of a step (0 is the first).

    Args:
        step: steps done so far.
        options: learning_rate, lr_schedule (constant, exponential, staircase, halve, cosine),
            decay_step, decay_epochs, decay_rate, halve_at, restarts, periods, restart_weights,
            min_learning_rate, warmup_steps of `TrainOptions`.
        steps: a `Length`; cosine spreads its periods over `total`.
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
        done, period, weight = _period(step - options.warmup_steps, options, steps)
        return low + weight * (peak - low) * 0.5 * (1 + math.cos(math.pi * done / period))
    return peak


def batch_factor(options):
    """The factor of all rates for a larger batch: the linear scaling rule.

    arXiv 1706.02677, which also uses a warm-up (`warmup_steps`).
    """
    return options.batch_size / options.scale_learning_rate if options.scale_learning_rate else 1.0


def _period(step, options, steps):
    """Steps done of the cosine's period, its length and its weight; SGDR (arXiv 1608.03983)."""
    if not options.periods:
        length = max(1, steps.total - options.warmup_steps)
        period = max(1, math.ceil(length / (options.restarts + 1)))
        return step % period, period, 1.0
    weights = options.restart_weights or (1.0,) * len(options.periods)
    for period, weight in zip(options.periods, weights):
        if step < period:
            return step, period, weight
        step -= period
    return options.periods[-1], options.periods[-1], weights[-1]


def check_periods(options, total):
    """Check that the periods of cosine fill the run and that each has a weight.

    Raises:
        UserError: they do not.
    """
    periods, weights = options.periods, options.restart_weights
    if options.lr_schedule != "cosine" or not (periods or weights):
        return
    if sum(periods) + options.warmup_steps != total:
        raise UserError(f"--periods {list(periods)} add up to {sum(periods)}, not to the "
                        f"{total - options.warmup_steps} steps of the run"
                        + (" after its warm-up" if options.warmup_steps else ""))
    if weights and len(weights) != len(periods):
        raise UserError(f"--restart_weights has {len(weights)} numbers for {len(periods)} periods")
