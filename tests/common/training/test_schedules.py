from types import SimpleNamespace

import pytest

from common.cli import UserError
from common.training.schedules import batch_factor, check_periods, learning_rate

BASE = {"learning_rate": 1e-3, "lr_schedule": "constant", "decay_step": 500, "decay_rate": 0.9,
        "decay_epochs": 0,
        "halve_at": (), "restarts": 0, "min_learning_rate": 0.0, "warmup_steps": 0, "periods": (),
        "restart_weights": ()}


@pytest.mark.parametrize("changes, step, total, expected", [
    ({}, 12345, 20000, 1e-3),
    ({"lr_schedule": "exponential"}, 0, 1000, 1e-3),
    ({"lr_schedule": "exponential"}, 500, 1000, 0.9e-3),
    ({"lr_schedule": "exponential"}, 250, 1000, 0.9**0.5 * 1e-3),
    ({"lr_schedule": "exponential", "min_learning_rate": 5e-4}, 10**6, 10**6, 5e-4),
    ({"lr_schedule": "staircase"}, 999, 2000, 0.9e-3),
    ({"lr_schedule": "staircase", "decay_epochs": 20, "decay_rate": 0.1}, 799, 9999, 1e-3),
    ({"lr_schedule": "staircase", "decay_epochs": 20, "decay_rate": 0.1}, 800, 9999, 1e-4),
    ({"lr_schedule": "halve", "halve_at": (200, 300)}, 199, 400, 1e-3),
    ({"lr_schedule": "halve", "halve_at": (200, 300)}, 200, 400, 0.5e-3),
    ({"lr_schedule": "halve", "halve_at": (200, 300)}, 399, 400, 0.25e-3),
    ({"lr_schedule": "cosine"}, 0, 100, 1e-3),
    ({"lr_schedule": "cosine"}, 50, 100, 0.5e-3),
    ({"lr_schedule": "cosine", "min_learning_rate": 2e-4}, 50, 100, 0.6e-3),
    ({"lr_schedule": "cosine", "restarts": 1}, 50, 100, 1e-3),
    ({"lr_schedule": "cosine", "restarts": 1}, 75, 100, 0.5e-3),
    ({"warmup_steps": 10}, 0, 100, 1e-4),
    ({"warmup_steps": 10}, 9, 100, 1e-3),
    ({"warmup_steps": 10, "lr_schedule": "cosine"}, 10, 110, 1e-3),
    ({"warmup_steps": 10, "lr_schedule": "cosine"}, 60, 110, 0.5e-3),
])
def test_rates_worked_out_by_hand(changes, step, total, expected):
    options = SimpleNamespace(**{**BASE, **changes})
    steps = SimpleNamespace(total=total, epoch=40)
    assert learning_rate(step, options, steps) == pytest.approx(expected, rel=1e-9)


def test_periods_of_the_cosine_with_their_weights():
    options = SimpleNamespace(**{**BASE, "lr_schedule": "cosine", "periods": (20, 10, 40),
                                 "restart_weights": (1.0, 0.5, 0.25), "min_learning_rate": 1e-5})
    steps = SimpleNamespace(total=70, epoch=40)
    rates = [learning_rate(step, options, steps) for step in range(70)]
    # eta_min + weight / 2 * (rate - eta_min) * (1 + cos(pi * done / period))
    assert rates[0] == pytest.approx(1e-3)
    assert rates[10] == pytest.approx(1e-5 + 0.5 * 9.9e-4)
    assert rates[20] == pytest.approx(1e-5 + 0.5 * 9.9e-4)
    assert rates[25] == pytest.approx(1e-5 + 0.25 * 9.9e-4)
    assert rates[30] == pytest.approx(1e-5 + 0.25 * 9.9e-4)
    assert rates[50] == pytest.approx(1e-5 + 0.125 * 9.9e-4)
    assert min(rates) > 1e-5
    check_periods(options, 70)


@pytest.mark.parametrize("changes, total, text", [
    ({"periods": (20, 10)}, 70, r"periods \[20, 10\] add up to 30, not to the 70 steps"),
    ({"periods": (20, 50), "restart_weights": (1.0,)}, 70, "1 numbers for 2 periods"),
])
def test_periods_that_do_not_fill_the_run_are_refused(changes, total, text):
    options = SimpleNamespace(**{**BASE, "lr_schedule": "cosine", **changes})
    with pytest.raises(UserError, match=text):
        check_periods(options, total)


@pytest.mark.parametrize("meant_for, batch_size, factor", [(0, 128, 1.0), (16, 128, 8.0),
                                                           (16, 16, 1.0), (16, 8, 0.5)])
def test_the_linear_scaling_rule(meant_for, batch_size, factor):
    options = SimpleNamespace(scale_learning_rate=meant_for, batch_size=batch_size)
    assert batch_factor(options) == factor
