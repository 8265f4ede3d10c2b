"""Training patches, drawn from `(seed, step)` alone so that a run can be repeated and resumed."""

import hashlib
import logging

import numpy as np

from common.cli import UserError
from common.data.pairs import hr_size

log = logging.getLogger("sr_zoo")


class PatchSampler:
    """Draws aligned LR and HR patches; `batch(step)` is a pure function of seed and step.

    Images come in a new random order each epoch, so that all are seen equally often. Images smaller
    than a patch are left out, and a log line says so.

    Args:
        store: an `ImageStore`.
        scale: integer.
        patch_size: side of the LR patch, pixels.
        batch_size: patches per batch.
        seed: integer.
        augment: flip and turn at random (8 ways).

    Raises:
        UserError: a patch is larger than every image; the largest is named.
    """

    dtype, channels = "uint8", 3

    def __init__(self, store, scale, patch_size, batch_size, seed, augment=True):
        self.scale, self.patch_size, self.batch_size = scale, patch_size, batch_size
        self.hr_side = patch_size * scale
        self._seed, self._augment = seed, augment
        self._order = (None, None)  # of the epoch drawn last
        sides = [min(lr.shape[:2]) for lr in store.lr]
        kept = [i for i, side in enumerate(sides) if side >= patch_size]
        if not kept:
            largest = int(np.argmax(sides))
            height, width = store.lr[largest].shape[:2]
            raise UserError(f"--patch_size {patch_size} is larger than every LR image; the largest "
                            f"is that of {store.pairs[largest].hr} ({width}x{height} pixels at "
                            f"x{scale}): choose at most {sides[largest]}")
        if len(kept) < len(sides):
            log.info("%d of %d images are smaller than a patch of %d LR pixels at x%d and are left "
                     "out", len(sides) - len(kept), len(sides), patch_size, scale)
        self._lr, self._hr = ([images[i] for i in kept] for images in (store.lr, store.hr))

    def scale_of(self, step):
        """The scale of a step's patches."""
        return self.scale

    def batch(self, step, part=0, parts=1):
        """The patches of a step.

        Args:
            step: steps done before it.
            part, parts: which of so many equal shares of them.

        Returns:
            (lr, hr): uint8 (N, p, p, 3) and (N, p*scale, p*scale, 3).
        """
        p, s, share = self.patch_size, self.scale, share_of(self.batch_size, part, parts)
        lr = np.empty((len(share), p, p, 3), np.uint8)
        hr = np.empty((len(share), p * s, p * s, 3), np.uint8)
        draws = _generator(self._seed, 1, step).random_raw(4 * self.batch_size)
        draws = draws.reshape(self.batch_size, 4)
        for row, n in enumerate(share):
            i = self._image(step * self.batch_size + n)
            height, width = self._lr[i].shape[:2]
            top = int(draws[n, 0] % np.uint64(height - p + 1))
            left = int(draws[n, 1] % np.uint64(width - p + 1))
            turn = int(draws[n, 2] % np.uint64(8)) if self._augment else 0
            lr[row] = _turned(self._lr[i][top:top + p, left:left + p], turn)
            hr[row] = _turned(self._hr[i][top * s:(top + p) * s, left * s:(left + p) * s], turn)
        return lr, hr

    def _image(self, position):
        """Which image the patch at a position of the whole run comes from."""
        epoch, place = divmod(position, len(self._lr))
        known, order = self._order
        if known != epoch:
            order = epoch_order(self._seed, epoch, len(self._lr))
            self._order = (epoch, order)  # in one step: two threads may draw at once
        return order[place]


class JointSampler:
    """Draws one of several scales per step, again from `(seed, step)` alone.

    Args:
        samplers: {scale: `PatchSampler`} of equal patch and batch size.
        seed: integer.
    """

    dtype, channels, hr_side = "uint8", 3, None

    def __init__(self, samplers, seed):
        self.patch_size, self.batch_size = (getattr(next(iter(samplers.values())), name)
                                            for name in ("patch_size", "batch_size"))
        self._samplers, self._scales, self._seed = samplers, tuple(samplers), seed

    def scale_of(self, step):
        """The scale of a step's patches."""
        draw = _generator(self._seed, 2, step).random_raw()
        return self._scales[int(draw % len(self._scales))]

    def batch(self, step, part=0, parts=1):
        """The patches of a step, as `PatchSampler.batch` of its scale."""
        return self._samplers[self.scale_of(int(step))].batch(step, part, parts)


def patch_dataset(sampler, start_step, stop_step, mine=range(1), parts=1):
    """The batches of steps start..stop-1 as a `tf.data.Dataset`, made ahead in the background.

    Where several devices share a batch, each is cut into `parts`, and of each batch those in `mine`
    come one after the other: the same patches as on one device, in the same order.
    """
    from common.nn.keras_compat import tf

    def shares(position):
        return sampler.batch(position // len(mine), mine[position % len(mine)], parts)

    def draw(position):
        lr, hr = tf.numpy_function(sampler.batch if parts == 1 else shares, [position],
                                   [sampler.dtype] * 2)
        n, p, c = sampler.batch_size // parts, sampler.patch_size, sampler.channels
        side = sampler.hr_side  # None where it changes from step to step
        return tf.ensure_shape(lr, (n, p, p, c)), tf.ensure_shape(hr, (n, side, side, c))

    positions = tf.data.Dataset.range(start_step * len(mine), stop_step * len(mine))
    return positions.map(draw).prefetch(4 * len(mine))


def share_of(batch_size, part, parts):
    """The places in a batch of one of its equal shares, as a range."""
    size = batch_size // parts
    return range(part * size, (part + 1) * size)


def epoch_order(seed, epoch, count):
    """The random order of `count` images or patches in an epoch."""
    return np.argsort(_generator(seed, 0, epoch).random_raw(count), kind="stable")


def fingerprint(pairs):
    """A short hex of the names and sizes of the HR images: what a resumed run must find again."""
    text = "".join(f"{pair.name} {hr_size(pair)}\n" for pair in pairs)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _generator(*key):
    # The raw stream of Philox is fixed for all NumPy versions; the methods of Generator are not.
    return np.random.Philox(np.random.SeedSequence(key))


def _turned(patch, turn):
    """One of the 8 ways: bit 0 flips columns, bit 1 rows, bit 2 swaps them."""
    if turn & 1:
        patch = patch[:, ::-1]
    if turn & 2:
        patch = patch[::-1]
    return patch.transpose(1, 0, 2) if turn & 4 else patch
