"""Enlarging images with an exported network, without TensorFlow."""

from __future__ import annotations

import numpy as np

from common.inference.engines import Run
from common.inference.footprint import Footprint
from common.inference.upscaler import TiledEnlarger, out_of_memory


class EngineUpscaler(TiledEnlarger):
    """Enlarges images with an exported network that an engine runs.

    Args:
        run: of `common.inference.engines.open_engine`.
        found: the network's footprint.
        tile, tile_overlap, self_ensemble, progress: see `common.inference.upscaler.Upscaler`.

    Raises:
        UserError: a negative tile or overlap.
    """

    def __init__(self, run: Run, found: Footprint, tile: int = 0, tile_overlap: int | None = None,
                 self_ensemble: bool = False, progress: bool = False):
        super().__init__(found.scale, tile, tile_overlap, self_ensemble, progress)
        self._run, self._found = run, found

    def _footprint(self):
        return self._found

    def _forward(self, window):
        try:
            return self._run(np.ascontiguousarray(window[np.newaxis], np.float32))[0]
        except Exception as error:  # each engine has its own, with words of its own
            if "alloc" in str(error) or "memory" in str(error):
                raise out_of_memory(window) from error
            raise
