"""The device of a run once it is open."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from common.cli import UserError, one_line
from common.device import npu
from common.device.watch import Watch


@dataclass(frozen=True)
class Device:
    """The devices of this process, which is one of `processes`; `open.open_device` makes it.

    `strategy` spreads a step over them; `watch`, where there are other processes, notices the loss
    of one.
    """

    chip: str
    precision: str
    strategy: Any
    description: str
    rank: int = 0
    processes: int = 1
    watch: Watch | None = None

    @property
    def replicas(self) -> int:
        """How many devices, of all processes, share one step."""
        return self.strategy.num_replicas_in_sync * npu.processes()

    @property
    def local_replicas(self) -> int:
        """How many of them are this process's."""
        return self.replicas // self.processes

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the files and the log."""
        return self.rank == 0

    @contextlib.contextmanager
    def together(self) -> Iterator[Device]:
        """Within `with`, the loss of a process ends the others with one clear line.

        All leave the block at the same time, so that none that has finished is taken for lost.

        Raises:
            UserError: another process is gone, or memory or disk space is exhausted.
        """
        from common.nn.keras_compat import tf

        try:
            try:
                yield self
            except SystemExit:  # after a signal, which all processes agree on
                self._leave()
                raise
            self._leave()
        except tf.errors.OpError as error:
            if self.watch:
                self.watch.explain()
            if isinstance(error, tf.errors.ResourceExhaustedError):
                raise UserError("out of memory or of disk space (a smaller --batch_size or "
                                f"--patch_size needs less): {one_line(error)[:300]}") from error
            raise
        finally:
            if self.watch:
                self.watch.stop()

    def _leave(self) -> None:
        from common.device.exchange import agree
        from common.nn.keras_compat import tf

        # A process that has passed this point may end before the others have its answer.
        with contextlib.suppress(tf.errors.OpError):
            agree(self)
