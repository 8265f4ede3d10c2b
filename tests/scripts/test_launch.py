"""Several processes that train one model together, on one machine."""

import numpy as np
import pytest

from common.training.reports import read_metrics
from common.weights import read_arrays

TRAIN = ["--preset", "demo", "--chip", "cpu", "--batch_size", "4", "--train_steps", "8",
         "--val_every", "8", "--val_images", "1", "--log_every", "4", "--warmup_steps", "0"]
SMALL = {"edsr": ["--num_blocks", "1", "--num_filters", "4"],
         "bsrn": ["--num_features", "4", "--num_states", "4", "--num_recursions", "2"]}


@pytest.mark.parametrize("name", SMALL)
def test_two_workers_learn_what_one_device_does(name, run, tmp_path):
    train = ["-m", f"models.{name}.train", *TRAIN, *SMALL[name], "--output_dir"]
    alone = run(*train, "one", cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    together = run("-m", "scripts.launch", "--workers", "2", "python", *train, "two", cwd=tmp_path)
    assert together.returncode == 0, together.stderr
    ours, theirs = (read_arrays(next((tmp_path / part).glob("*_last.h5")))
                    for part in ("one", "two"))
    assert ours
    for layer, arrays in ours.items():
        for a, b in zip(arrays, theirs[layer]):
            np.testing.assert_allclose(b, a, atol=1e-5)
    losses = [[row["loss"] for row in read_metrics(tmp_path / part / "metrics.jsonl")
               if "loss" in row] for part in ("one", "two")]
    assert len(losses[0]) == 2 and losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_a_command_that_fails_ends_all_with_its_status(run, tmp_path):
    result = run("-m", "scripts.launch", "--workers", "2", "python", "-m", "models.edsr.train",
                 "--no_such_option", "1", cwd=tmp_path)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert "unknown option --no_such_option" in result.stdout + result.stderr
