"""Notices the loss of another process of the run, and ends this one with a clear line."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time

from common.cli import UserError
from common.device.cluster import Cluster

# The next step notices a process that has ended. One that is silent, as after a power cut, is
# noticed within (EVERY + PATIENCE) * TRIES = 30 seconds; GRACE seconds later this process ends,
# whatever it is doing.
EVERY, PATIENCE, TRIES, GRACE = 5, 5, 3, 15

log = logging.getLogger("sr_zoo")


class Watch:
    """Checks in the background that the other processes answer.

    Args:
        cluster: whose processes are running.
    """

    def __init__(self, cluster: Cluster):
        self._cluster = cluster
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop checking, as the other processes may end from now on."""
        self._stop.set()
        self._thread.join()  # the process must not end while it is inside TensorFlow

    def explain(self) -> None:
        """Raise a `UserError` if a failure was caused by a lost process."""
        for _ in range(TRIES):
            gone = self._silent()
            if gone is not None:
                raise UserError(self._line(gone))
            time.sleep(1)  # it may be about to end

    def _run(self):
        tries = 0
        while not self._stop.wait(EVERY):
            gone = self._silent()
            tries = 0 if gone is None else tries + 1
            if tries == TRIES and not self._stop.is_set():
                self._abort(self._line(gone))

    def _abort(self, line):
        from tensorflow.python.eager import context
        from tensorflow.python.framework import errors

        # The step under way fails with this, and `explain` says why; without a step, end here.
        context.context().abort_collective_ops(errors.UNAVAILABLE, line)
        if not self._stop.wait(GRACE):
            give_up(line)

    def _silent(self):
        """The first rank that does not answer, or None."""
        from tensorflow.python.eager import context
        from tensorflow.python.framework import errors

        for rank in range(len(self._cluster.addresses)):
            try:
                if rank != self._cluster.rank:
                    context.context().check_collective_ops_peer_health(
                        f"/job:worker/replica:0/task:{rank}", timeout_in_ms=PATIENCE * 1000)
            except errors.OpError:
                return rank
        return None

    def _line(self, rank):
        addresses = self._cluster.addresses
        return (f"process {rank} of {len(addresses)} ({addresses[rank]}) is gone; start all of "
                "them again: they go on from the last checkpoint")


def give_up(line: str) -> None:
    """Print an error and end the process at once, whatever it is doing."""
    sys.stdout.flush()
    print(f"error: {line}", file=sys.stderr, flush=True)
    time.sleep(0.1)
    os._exit(2)
