"""Training patches, drawn from `(seed, step)` alone so that a run can be repeated and resumed."""

import logging

import numpy as np

from common.cli import UserError
from common.data.degradation import degrade
from common.data.store import ImageStore
from common.data.threads import THREADS

# LR pixels around a patch that are degraded with it, so that blur and JPEG reach over its edges as
# in a whole image: about 2.7 sigma of the widest blur at x2.
MARGIN = 4

log = logging.getLogger("sr_zoo")


class PatchSampler:
    """Draws aligned LR and HR patches; `batch(step)` is a pure function of seed and step.

    Each epoch takes the images in a new random order, one patch each. Images smaller than a patch
    are left out, which is logged.

    Args:
        store: an `ImageStore`. If it has no LR images, each HR patch is degraded anew, with draws
            from `(seed, step)` too.
        scale: integer.
        patch_size: side of the LR patch, in pixels.
        batch_size: patches per batch.
        seed: integer.
        augment: flip and rotate at random (8 orientations).

    Raises:
        UserError: a patch is larger than every image.
    """

    dtype, channels = "uint8", 3

    def __init__(self, store: ImageStore, scale: int, patch_size: int, batch_size: int, seed: int,
                 augment: bool = True):
        self.scale, self.patch_size, self.batch_size = scale, patch_size, batch_size
        self.hr_side, self.scales = patch_size * scale, {scale: self}
        self._seed, self._augment = seed, augment
        self.threads = None if store.lr else THREADS
        sides = [min(hr.shape[:2]) // scale for hr in store.hr]
        kept = [i for i, side in enumerate(sides) if side >= patch_size]
        if not kept:
            largest = int(np.argmax(sides))
            height, width = (side // scale for side in store.hr[largest].shape[:2])
            raise UserError(f"--patch_size {patch_size} is larger than every LR image; the largest "
                            f"is that of {store.pairs[largest].hr} ({width}x{height} pixels at "
                            f"x{scale}): choose at most {sides[largest]}")
        if len(kept) < len(sides):
            log.info("%d of %d images are smaller than a patch of %d LR pixels at x%d and are left "
                     "out", len(sides) - len(kept), len(sides), patch_size, scale)
        self._hr = [store.hr[i] for i in kept]
        self._lr = [store.lr[i] for i in kept] if store.lr else None
        self._order = Order(seed, len(kept))

    def scale_of(self, step: int) -> int:
        """The scale of a step's patches."""
        return self.scale

    def batch(self, step: int, part: int = 0, parts: int = 1) -> tuple:
        """The patches of a step.

        Args:
            step: number of steps done before it.
            part, parts: return only one of so many equal shares.

        Returns:
            (lr, hr): uint8 (N, p, p, 3) and (N, p*scale, p*scale, 3).
        """
        p, s, share = self.patch_size, self.scale, share_of(self.batch_size, part, parts)
        lr = np.empty((len(share), p, p, 3), np.uint8)
        hr = np.empty((len(share), p * s, p * s, 3), np.uint8)
        draws = _generator(self._seed, 1, step).random_raw(4 * self.batch_size)
        draws = draws.reshape(self.batch_size, 4)
        for row, n in enumerate(share):
            i = self._order.at(step * self.batch_size + n)
            height, width = (side // s for side in self._hr[i].shape[:2])
            top = int(draws[n, 0] % np.uint64(height - p + 1))
            left = int(draws[n, 1] % np.uint64(width - p + 1))
            turn = int(draws[n, 2] % np.uint64(8)) if self._augment else 0
            small = (self._lr[i][top:top + p, left:left + p] if self._lr
                     else self._degraded(i, top, left, int(step), n))
            lr[row] = _turned(small, turn)
            hr[row] = _turned(self._hr[i][top * s:(top + p) * s, left * s:(left + p) * s], turn)
        return lr, hr

    def _degraded(self, i, top, left, *key):
        """The LR patch at (top, left), degraded within its surroundings."""
        p, s = self.patch_size, self.scale
        above, before = min(top, MARGIN), min(left, MARGIN)
        rows = slice((top - above) * s, (top + p + MARGIN) * s)
        columns = slice((left - before) * s, (left + p + MARGIN) * s)
        lr = degrade(self._hr[i][rows, columns], s, self._seed, *key)
        return lr[above:above + p, before:before + p]


class JointSampler:
    """Draws one of several scales per step, again from `(seed, step)` alone.

    Args:
        samplers: {scale: `PatchSampler`}, which is its `scales`.
        seed: integer.
    """

    def __init__(self, samplers: dict, seed: int):
        self.scales, self._names, self._seed = samplers, tuple(samplers), seed

    def scale_of(self, step: int) -> int:
        """The scale of a step's patches."""
        draw = _generator(self._seed, 2, step).random_raw()
        return self._names[int(draw % len(self._names))]


class Order:
    """A random order of images or patches that is new in each epoch, so that all are seen equally.

    Args:
        seed: integer.
        count: number of images or patches.
    """

    def __init__(self, seed: int, count: int):
        self._seed, self._count = seed, count
        self._known = (None, None)  # the last epoch and its order

    def at(self, position: int) -> int:
        """Which image or patch is at a position of the whole run."""
        epoch, place = divmod(int(position), self._count)
        known, order = self._known
        if known != epoch:
            draws = _generator(self._seed, 0, epoch).random_raw(self._count)
            order = np.argsort(draws, kind="stable")
            self._known = (epoch, order)  # one assignment, as two threads may draw at once
        return order[place]


def patch_dataset(sampler, start_step: int, stop_step: int, mine=range(1), parts: int = 1,
                  beside=None, only=None):
    """The batches of steps start..stop-1 as a `tf.data.Dataset`, prefetched in the background.

    Where several devices share a batch, each batch is cut into `parts`, and those in `mine` follow
    one another: the same patches as on one device, in the same order.

    Args:
        sampler: a `PatchSampler` or `LumaPatches`.
        start_step, stop_step, mine, parts: see above.
        beside: function of a step and the `share_of` its batch to float32 arrays, which follow the
            patches; always of the same shapes.
        only: function of a step to whether it is wanted.
    """
    from common.nn.keras_compat import tf

    def shares(position):
        step, part = int(position) // len(mine), mine[int(position) % len(mine)]
        patches = sampler.batch(step) if parts == 1 else sampler.batch(step, part, parts)
        return (*patches, *added(step, part))

    def added(step, part):
        return beside(step, share_of(sampler.batch_size, part, parts)) if beside else ()

    n, p, c, side = (sampler.batch_size // parts, sampler.patch_size, sampler.channels,
                     sampler.hr_side)
    shapes = [(n, p, p, c), (n, side, side, c),
              *(array.shape for array in added(start_step, mine[0]))]
    types = [sampler.dtype] * 2 + ["float32"] * (len(shapes) - 2)

    def draw(position):
        values = tf.numpy_function(shares, [position], types)
        return tuple(tf.ensure_shape(value, shape) for value, shape in zip(values, shapes))

    def wanted(position):
        chosen = tf.numpy_function(lambda p: np.bool_(only(p // len(mine))), [position], "bool")
        return tf.ensure_shape(chosen, ())

    positions = tf.data.Dataset.range(start_step * len(mine), stop_step * len(mine))
    positions = positions.filter(wanted) if only else positions
    return positions.map(draw, sampler.threads).prefetch(4 * len(mine))


def share_of(batch_size: int, part: int, parts: int) -> range:
    """The places in a batch that belong to one of its equal shares."""
    size = batch_size // parts
    return range(part * size, (part + 1) * size)


def _generator(*key):
    # Philox gives the same raw stream in all NumPy versions; the methods of Generator do not.
    return np.random.Philox(np.random.SeedSequence(key))


def _turned(patch, turn):
    """One of the 8 orientations: bit 0 flips columns, bit 1 rows, bit 2 swaps them."""
    if turn & 1:
        patch = patch[:, ::-1]
    if turn & 2:
        patch = patch[::-1]
    return patch.transpose(1, 0, 2) if turn & 4 else patch
