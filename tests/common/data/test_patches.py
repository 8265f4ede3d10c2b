import collections
import hashlib
import time

import numpy as np
import pytest

from common.bicubic import downscale
from common.cli import UserError
from common.data import patches as module
from common.data.pairs import Pair
from common.data.patches import PatchSampler, patch_dataset
from common.data.sets import open_images
from common.data.store import ImageStore


@pytest.fixture(scope="module")
def store(shared, tmp_path_factory):
    pairs = open_images("paired", shared / "data" / "Set5", 2)
    return ImageStore(pairs, 2, tmp_path_factory.mktemp("cache"))


class Coordinates:
    """A store whose pixels say where they are: (image, row, column) of the LR image."""

    def __init__(self, sizes, scale):
        self.lr, self.hr, self.pairs = [], [], []
        for i, (height, width) in enumerate(sizes):
            rows, columns = np.mgrid[:height, :width]
            lr = np.dstack([np.full_like(rows, i), rows, columns]).astype(np.uint8)
            self.lr.append(lr)
            self.hr.append(lr.repeat(scale, axis=0).repeat(scale, axis=1))
            self.pairs.append(Pair(str(i), f"image_{i}.png"))

    def __len__(self):
        return len(self.hr)


class HrOnly:
    """A store without LR images."""

    def __init__(self, store):
        self.hr, self.pairs, self.lr = store.hr, store.pairs, None

    def __len__(self):
        return len(self.hr)


def test_patches_are_aligned_parts_of_the_images(store):
    lr, hr = PatchSampler(store, 2, 24, 16, seed=1, augment=False).batch(3)
    assert lr.shape == (16, 24, 24, 3) and hr.shape == (16, 48, 48, 3)
    assert lr.dtype == hr.dtype == np.uint8
    for left, right in zip(lr, hr):  # the LR patch is the reduced HR patch, but for its border
        np.testing.assert_array_equal(downscale(right, 2)[4:-4, 4:-4], left[4:-4, 4:-4])


@pytest.mark.parametrize("has_lr", [True, False])
def test_augmented_patches_are_aligned_too(monkeypatch, has_lr):
    monkeypatch.setattr(module, "degrade", lambda hr, scale, *key: hr[::scale, ::scale])
    store = Coordinates([(30, 40), (25, 20)], 3)
    sampler = PatchSampler(store if has_lr else HrOnly(store), 3, 10, 64, seed=5)
    turns = collections.Counter()
    for step in range(20):
        lr, hr = sampler.batch(step)
        np.testing.assert_array_equal(hr, lr.repeat(3, axis=1).repeat(3, axis=2))
        for patch in lr.astype(int):
            rows, columns = patch[..., 1], patch[..., 2]
            assert (patch[..., 0] == patch[0, 0, 0]).all()
            assert sorted({*rows.ravel()}) == list(range(rows.min(), rows.min() + 10))
            step_right = (rows[0, 1] - rows[0, 0], columns[0, 1] - columns[0, 0])
            step_down = (rows[1, 0] - rows[0, 0], columns[1, 0] - columns[0, 0])
            turns[step_right, step_down] += 1
    assert len(turns) == 8
    assert min(turns.values()) > 1280 / 8 * 0.7


def test_every_position_and_image_is_drawn_evenly():
    sampler = PatchSampler(Coordinates([(12, 15)] * 5, 2), 2, 10, 16, seed=0, augment=False)
    seen, corners = [], collections.Counter()
    for step in range(50):
        lr, _ = sampler.batch(step)
        seen += list(lr[:, 0, 0, 0])
        corners.update((row, column) for row, column in lr[:, 0, 0, 1:].tolist())
    assert all(sorted(seen[i:i + 5]) == [0, 1, 2, 3, 4] for i in range(0, len(seen), 5))
    assert len({tuple(seen[i:i + 5]) for i in range(0, len(seen), 5)}) > 50
    assert len(corners) == 3 * 6
    assert min(corners.values()) > 800 / 18 * 0.5 and max(corners.values()) < 800 / 18 * 1.6


def test_a_batch_depends_on_seed_and_step_alone(store):
    sampler = PatchSampler(store, 2, 16, 8, seed=7)
    batches = [sampler.batch(step) for step in range(6)]
    fresh = PatchSampler(store, 2, 16, 8, seed=7)
    for step in (5, 0, 3):
        for left, right in zip(fresh.batch(np.int64(step)), batches[step]):
            np.testing.assert_array_equal(left, right)
    digests = {hashlib.sha256(lr.tobytes()).hexdigest() for lr, _ in batches}
    other = PatchSampler(store, 2, 16, 8, seed=8).batch(0)[0]
    assert len(digests) == 6 and hashlib.sha256(other.tobytes()).hexdigest() not in digests


def test_degraded_patches_depend_on_seed_and_step_alone(store):
    sampler = PatchSampler(HrOnly(store), 2, 16, 4, seed=7, augment=False)
    plain = PatchSampler(store, 2, 16, 4, seed=7, augment=False)
    batches = [sampler.batch(step) for step in range(10)]
    fresh = PatchSampler(HrOnly(store), 2, 16, 4, seed=7, augment=False)
    for step in (9, 0, 4):
        halves = [fresh.batch(np.int64(step), part, 2) for part in range(2)]
        for whole, parts in zip(batches[step], zip(*halves)):
            np.testing.assert_array_equal(np.concatenate(parts), whole)
        np.testing.assert_array_equal(batches[step][1], plain.batch(step)[1])
        difference = batches[step][0].astype(float) - plain.batch(step)[0]
        assert 2 < np.abs(difference).mean() < 40
    assert not np.array_equal(PatchSampler(HrOnly(store), 2, 16, 4, seed=8, augment=False)
                              .batch(0)[0], batches[0][0])


def test_the_same_place_is_degraded_anew_in_each_epoch(photo):
    single = Coordinates([(16, 16)], 2)
    single.hr = [photo(32, 32)]
    sampler = PatchSampler(HrOnly(single), 2, 16, 2, seed=0, augment=False)
    drawn = [sampler.batch(step) for step in range(4)]
    assert len({hr.tobytes() for _, pair in drawn for hr in pair}) == 1
    assert len({lr.tobytes() for pair, _ in drawn for lr in pair}) == 8


def test_degraded_patches_come_in_order_from_several_threads(store):
    sampler = PatchSampler(HrOnly(store), 2, 16, 4, seed=3)
    for step, (lr, hr) in zip(range(2, 14), patch_dataset(sampler, 2, 14)):
        np.testing.assert_array_equal(lr.numpy(), sampler.batch(step)[0])
        np.testing.assert_array_equal(hr.numpy(), sampler.batch(step)[1])


def test_a_patch_is_degraded_with_what_surrounds_it(photo, monkeypatch):
    whole, seen = Coordinates([(40, 60)], 2), []
    whole.hr = [photo(80, 120)]

    def reduced(hr, scale, *key):
        seen.append(hr.shape[:2])
        return hr[::scale, ::scale]

    monkeypatch.setattr(module, "degrade", reduced)
    lr, hr = PatchSampler(HrOnly(whole), 2, 20, 64, seed=0, augment=False).batch(0)
    np.testing.assert_array_equal(lr, hr[:, ::2, ::2])
    assert max(seen) == (2 * 28, 2 * 28) and all(side >= 2 * 24 for size in seen for side in size)


def test_draws_are_the_same_on_every_numpy():
    sampler = PatchSampler(Coordinates([(90, 120)] * 7, 2), 2, 24, 4, seed=1234)
    corners = [sampler.batch(step)[0][:, 0, 0].tolist() for step in (0, 1, 10**6)]
    assert corners == [  # (image, row, column) of each patch's first pixel
        [[1, 60, 57], [6, 33, 116], [2, 36, 35], [0, 16, 92]],
        [[3, 86, 1], [5, 2, 33], [4, 44, 26], [1, 40, 64]],
        [[3, 36, 110], [5, 4, 24], [6, 77, 67], [5, 5, 118]]]


def test_a_patch_larger_than_every_image_is_refused(store):
    sides = sorted(min(lr.shape[:2]) for lr in store.lr)
    with pytest.raises(UserError, match=rf"--patch_size {sides[-1] + 1} .*at most {sides[-1]}"):
        PatchSampler(store, 2, sides[-1] + 1, 16, seed=0)


def test_images_smaller_than_a_patch_are_left_out_and_counted(store, caplog):
    with caplog.at_level("INFO"):
        sampler = PatchSampler(store, 2, 115, 16, seed=0)  # img_005 has 114 columns
    assert "1 of 5 images are smaller than a patch of 115 LR pixels" in caplog.text
    assert sampler.batch(0)[0].shape == (16, 115, 115, 3)


def test_patch_dataset_gives_the_batches_in_order(store):
    from common.nn.keras_compat import tf

    sampler = PatchSampler(store, 2, 16, 8, seed=3)
    dataset = patch_dataset(sampler, 5, 12)
    assert [tuple(spec.shape) for spec in dataset.element_spec] == [(8, 16, 16, 3), (8, 32, 32, 3)]
    assert all(spec.dtype == tf.uint8 for spec in dataset.element_spec)
    batches = list(dataset)
    assert len(batches) == 7
    for step, (lr, hr) in zip(range(5, 12), batches):
        expected = sampler.batch(step)
        np.testing.assert_array_equal(lr.numpy(), expected[0])
        np.testing.assert_array_equal(hr.numpy(), expected[1])


def test_mapped_images_give_the_same_batches(store, tmp_path):
    mapped = ImageStore(store.pairs, 2, tmp_path, 0)
    for left, right in zip(PatchSampler(mapped, 2, 32, 16, seed=0).batch(4),
                           PatchSampler(store, 2, 32, 16, seed=0).batch(4)):
        np.testing.assert_array_equal(left, right)


def test_batches_are_made_while_a_step_runs(store, monkeypatch):
    sampler = PatchSampler(store, 2, 16, 8, seed=0)
    batch = sampler.batch

    def slow_batch(step):
        time.sleep(0.05)
        return batch(step)

    monkeypatch.setattr(sampler, "batch", slow_batch)
    batches, waits = iter(patch_dataset(sampler, 0, 100)), []
    for _ in range(9):
        time.sleep(0.08)
        start = time.perf_counter()
        next(batches)
        waits.append(time.perf_counter() - start)
    assert sorted(waits)[4] < 0.025
