import collections
import hashlib
import re

import numpy as np
import pytest

from common.bicubic import downscale
from common.data import degradation
from common.data.degradation import degrade

STEPS = ("blur", "resize", "gaussian_noise", "poisson_noise", "jpeg")


def test_the_seed_and_the_name_decide_alone(photo):
    image = photo(96, 120)
    names = [f"photo_{i}" for i in range(6)]
    first = {name: degrade(image, 2, 5, name) for name in names}
    for name in reversed(names):
        assert np.array_equal(degrade(image, 2, 5, name), first[name])
    others = [*first.values(), degrade(image, 2, 6, names[0])]
    assert len({made.tobytes() for made in others}) == 7
    np.random.seed(1)  # what others draw does not matter
    assert np.array_equal(degrade(image, 2, 5, "photo_0"), first["photo_0"])
    assert degrade(image, 2, 0, "\udcff.png").shape == (48, 60, 3)  # a name that is not UTF-8


def test_it_is_the_same_on_every_machine(photo):
    """On both stacks, whose NumPy, SciPy and Pillow are years apart."""
    image, digest = photo(90, 120), hashlib.sha256()
    for name in range(40):
        digest.update(degrade(image, 2 + name % 3, 1, name))
    assert digest.hexdigest()[:16] == "c1e085e311bfe0f5"


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_the_size_is_that_of_the_reduction(photo, scale):
    image = photo(61, 83)
    for name in range(8):
        made = degrade(image, scale, 0, name)
        assert made.shape == downscale(image, scale).shape and made.dtype == np.uint8
        cropped = image[:61 // scale * scale, :83 // scale * scale]
        assert np.array_equal(degrade(cropped, scale, 0, name), made)
    for name in range(30):
        assert degrade(image[:scale, :scale], scale, 0, name).shape == (1, 1, 3)


@pytest.fixture
def seen(monkeypatch):
    """[(name of a step, size of its result)] of all that follow."""
    calls = []

    def watched(name, step):
        def call(*arguments):
            result = step(*arguments)
            calls.append((name, result.shape[:2], arguments))
            return result
        return call

    for name in STEPS:
        monkeypatch.setattr(degradation, name, watched(name, getattr(degradation, name)))
    return calls


def test_the_order_is_that_of_the_paper(photo, seen):
    one = "(?:blur )?resize (?:gaussian_noise|poisson_noise) "
    last = "(?:jpeg resize (?:blur )?|resize (?:blur )?jpeg )"
    rounds, ends = collections.Counter(), collections.Counter()
    for name in range(300):
        del seen[:]
        degrade(photo(24, 32), 2, 0, name)
        order = "".join(f"{step} " for step, _, _ in seen)
        assert re.fullmatch(f"blur resize \\w+_noise (?:jpeg {one})?{last}", order), order
        rounds[order.count("jpeg")] += 1
        ends[order.endswith("jpeg ")] += 1
    assert 0.72 < rounds[2] / 300 < 0.88 and 0.4 < ends[True] / 300 < 0.6


def test_strengths_stay_in_their_ranges(photo, seen):
    for name in range(300):
        degrade(photo(80, 120), 4, 0, name)
    of = {step: [arguments for name, _, arguments in seen if name == step] for step in STEPS}
    qualities = [quality for _, quality in of["jpeg"]]
    assert (min(qualities), max(qualities)) == (30, 95)
    sigmas = [sigma for _, sigma, *_ in of["gaussian_noise"]]
    assert 1 <= min(sigmas) < 3 and 27 < max(sigmas) <= 30
    strengths = [strength for _, strength, *_ in of["poisson_noise"]]
    assert 0.05 <= min(strengths) < 0.2 and 2.7 < max(strengths) <= 3
    noises = of["gaussian_noise"] + of["poisson_noise"]
    assert abs(len(of["gaussian_noise"]) / len(noises) - 0.5) < 0.08
    assert abs(np.mean([grey for *_, grey in noises]) - 0.4) < 0.08
    widths = [size[1] for _, size, _ in of["resize"]]
    assert 0.5 * 30 <= min(widths) < 20 and 170 < max(widths) <= 1.5 * 120
    assert {method for *_, method in of["resize"]} == set(degradation.METHODS)
    sides = {kernel.shape[0] for _, kernel in of["blur"]}
    assert sides == set(range(7, 22, 2))
    assert all(np.isclose(kernel.sum(), 1) for _, kernel in of["blur"])


def test_flat_images_stay_what_they_are(photo):
    """Noise does not depend on what else is in an image, and no colour shifts."""
    image = np.empty((96, 96, 3), np.uint8)
    image[...] = (120, 100, 140)
    made = np.array([degrade(image, 2, 0, name) for name in range(60)], float)
    shifts = made.mean((1, 2)) - (120, 100, 140)
    assert np.abs(shifts).max() < 6 and np.abs(shifts.mean(0)).max() < 0.6
    deviations = made.std((1, 2)).mean(1)
    assert deviations.min() < 3 and 15 < deviations.max() < 40


def test_photographs_are_worse_but_still_there(photo):
    image = photo(160, 200)
    plain, scores = downscale(image, 2).astype(float), []
    for name in range(40):
        made = degrade(image, 2, 0, name)
        scores.append(-10 * np.log10(np.mean((made - plain) ** 2) / 255**2))
    assert min(scores) > 15 and 20 < np.mean(scores) < 30 and max(scores) > 28
