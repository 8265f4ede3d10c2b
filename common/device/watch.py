"""Notices that another process of the run is gone, and ends this one with a clear line."""

import logging
import os
import sys
import threading
import time

from common.cli import UserError

# A process that ends is noticed by the next step. One that is silent, as when its machine has no
# power, is noticed after at most (EVERY + PATIENCE) * TRIES seconds; GRACE seconds later, which
# makes 45, this process ends whatever it is doing.
EVERY, PATIENCE, TRIES, GRACE = 5, 5, 3, 15

log = logging.getLogger("sr_zoo")


class Watch:
    """Asks the other processes in the background whether they are there.

    Args:
        cluster: a `cluster.Cluster` whose processes are up.
    """

    def __init__(self, cluster):
        self._cluster = cluster
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self):
        """The others may leave now."""
        self._stop.set()
        self._thread.join()  # not to be cut off within TensorFlow when the process ends

    def explain(self):
        """Raise a `UserError` where a failure comes from a process that is gone."""
        for _ in range(TRIES):
            gone = self._silent()
            if gone is not None:
                raise UserError(self._line(gone))
            time.sleep(1)  # it may still be ending

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

        # The step under way fails with this, and `explain` says why; otherwise the end is here.
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


def give_up(line):
    """End the process at once, whatever it is doing."""
    sys.stdout.flush()
    print(f"error: {line}", file=sys.stderr, flush=True)
    time.sleep(0.1)
    os._exit(2)
