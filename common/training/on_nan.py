"""What a run does where its numbers are not finite: stop, leave out steps, or roll back."""

import math

from common.cli import UserError
from common.device.chip import at_once
from common.nn.keras_compat import function, state_variables, tf

MOST_SKIPPED = 100  # steps in a row
MOST_ROLLBACKS = 3  # in a row


class State:
    """The variables of a training step: whether they are finite, and as they were before.

    Args:
        things: models, optimizers and variables.

    Attributes:
        variables: of all these things.
    """

    def __init__(self, things):
        self.variables = [variable for thing in things for variable in state_variables(thing)]
        self._all_finite = function(self._finite)
        self._copied = function(self._copies)
        self._assigned = function(self._assign)

    def is_finite(self):
        """Whether all are."""
        return bool(self._all_finite())

    def copy(self):
        """Their values, for `put_back`."""
        return self._copied()

    def at_once(self):
        """A `with` block that may read and assign all of them eagerly; see `chip.at_once`."""
        return at_once(self.variables, self.copy)

    def put_back(self, values):
        """Give them the values of `copy`."""
        self._assigned(values)

    def _assign(self, values):
        for variable, value in zip(self.variables, values):
            variable.assign(value)

    def _finite(self):
        return tf.reduce_all([tf.reduce_all(tf.math.is_finite(tf.convert_to_tensor(variable)))
                              for variable in self.variables if variable.dtype.is_floating])

    def _copies(self):
        return [tf.identity(variable) for variable in self.variables]


def all_finite(values):
    """Whether all numbers of a dict are finite, and there are any."""
    return bool(values) and all(math.isfinite(value) for value in values.values())


def rollbacks(rows):
    """How often the run was rolled back since its last finite loss, by the rows of its metrics."""
    count = 0
    for row in reversed(rows):
        if "loss" in row:
            break
        count += "rolled_back_to" in row
    return count


def failure(done, losses, kept, folder, options, precision):
    """The error of a run that stops, with advice that its folder allows.

    Args:
        done: step by which it was noticed.
        losses: the means that were to be logged.
        kept: step of the newest checkpoint, 0 for none.
        folder: the `RunFolder`.
        options, precision: of the run.
    """
    changes = ["a lower --learning_rate"]
    if options.clip == "none":
        changes.append("--clip global_norm")
    if precision.startswith("mixed"):
        changes.append("--precision float32")
    text = f"a loss is not finite by step {done}: {_told(losses)}; "
    if not losses:
        text = f"no step of the last {MOST_SKIPPED}, by step {done}, was finite; "
    elif all_finite(losses):
        text = f"the weights are not finite after step {done}; "
    if not kept:
        return UserError(f"{text}there is no checkpoint yet: start again with "
                         f"{' or '.join(changes)}")
    more = "" if options.on_nan != "stop" else ", or in this folder with --on_nan skip or rollback"
    return UserError(f"{text}the checkpoint of step {kept} is kept. Go on from it with "
                     f"{folder.elsewhere(options)} and {' or '.join(changes)}{more}")


def _told(losses):
    return ", ".join(f"{name} {value:g}" for name, value in losses.items())
