from types import SimpleNamespace

import pytest

from common.training.schedules import learning_rate

BASE = {"learning_rate": 1e-3, "lr_schedule": "constant", "decay_step": 500, "decay_rate": 0.9,
        "decay_epochs": 0,
        "halve_at": (), "restarts": 0, "min_learning_rate": 0.0, "warmup_steps": 0}


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
