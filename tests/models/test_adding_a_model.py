"""Adding a model takes its folder and one registration: all commands and tests work on it."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import models
from common.images.files import read_rgb
from common.weights import read_metadata

NETWORK = '''
from common.nn.keras_compat import keras
from common.nn.layers import DepthToSpace, ShiftScale

SCALES = (2,)


def build(scale, num_filters=16):
    lr = keras.Input((None, None, 3), name="lr")
    x = ShiftScale([-127.5] * 3, name="shift")(lr)
    x = keras.layers.Conv2D(num_filters, 3, padding="same", activation="relu", name="conv1")(x)
    x = keras.layers.Conv2D(3 * scale**2, 3, padding="same", name="conv2")(x)
    x = DepthToSpace(scale, name="shuffle")(x)
    return keras.Model(lr, ShiftScale([127.5] * 3, name="shift_back")(x), name="tiny")
'''
TRAIN = '''
from dataclasses import dataclass

from jsonargparse.typing import PositiveInt

from common.flags import option
from models.command import training_command
from common.training.options import TrainOptions
from common.training.recipe import Recipe


@dataclass
class TinyOptions(TrainOptions):
    num_filters: PositiveInt = option(16, "features")
    train_steps: PositiveInt = option(20)


def build_step(options):
    import models
    from common.training.ema import averaged
    from common.training.losses import PIXEL_LOSSES
    from common.training.steps import PixelStep, adam

    model = models.create("tiny", options.scale, num_filters=options.num_filters)
    return PixelStep(model, adam(), PIXEL_LOSSES[options.loss],
                     ema=averaged(model, models.another, options.ema_decay))


RECIPE = Recipe("tiny", TinyOptions, build_step)


def main(argv):
    return training_command(RECIPE, argv)
'''


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory):
    """The model `tiny` in a folder outside of the repository, registered while the module runs."""
    folder = tmp_path_factory.mktemp("packages") / "tiny_model"
    (folder / "configs").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "network.py").write_text(NETWORK)
    (folder / "train.py").write_text(TRAIN)
    (folder / "configs" / "demo.yaml").write_text("dataset: demo\n")
    sys.path.insert(0, str(folder.parent))
    models.register(models.Model("tiny", "tiny_model", {"num_filters": 4}))
    yield models.model("tiny")
    del models._MODELS["tiny"]
    sys.path.remove(str(folder.parent))


class Outcomes:
    """A pytest plugin that counts what passed."""

    def __init__(self):
        self.passed = 0

    def pytest_runtest_logreport(self, report):
        self.passed += report.when == "call" and report.passed


def test_the_shared_matrix_runs_on_it(tiny_model, monkeypatch):
    outcomes = Outcomes()
    # Collected before with the other models, it would not be imported anew.
    for name in [name for name in sys.modules if name.endswith("test_matrix")]:
        monkeypatch.delitem(sys.modules, name)
    status = pytest.main(["-q", "-p", "no:cacheprovider", "-k", "tiny and not other_stack",
                          str(Path(__file__).with_name("test_matrix.py"))], plugins=[outcomes])
    assert status == 0 and outcomes.passed > 5


def test_it_trains_upscales_exports_and_is_checked(tiny_model, tiny, photo, tmp_path, capsys):
    from common.images.files import write_image
    from scripts.export import main as export
    from scripts.npu_check.command import main as npu_check
    from scripts.upscale import main as upscale

    run = tmp_path / "run"
    train = sys.modules[tiny_model.recipe.options_class.__module__].main
    train(["--data_dir", str(tiny), "--output_dir", str(run), "--patch_size", "16", "--batch_size",
           "4", "--val_every", "10", "--learning_rate", "1e-3"])
    summary = json.loads((run / "summary.json").read_text())
    assert summary["model"] == "tiny" and summary["steps"] == 20
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert len(losses) == 2 and losses[1] < losses[0]

    weights = run / "tiny_x2.h5"
    assert read_metadata(weights)["options"] == {"num_filters": 16}
    lr = photo(20, 31)
    write_image(tmp_path / "lr.png", lr)
    assert upscale([str(tmp_path / "lr.png"), "-o", str(tmp_path / "sr.png"), "--weights",
                    str(weights)]) in (None, 0)
    expected = models.load(weights)(lr[None].astype("float32"), training=False)
    expected = np.rint(np.clip(np.asarray(expected)[0], 0, 255))
    assert np.abs(read_rgb(tmp_path / "sr.png") - expected).max() <= 1

    export(["--weights", str(weights), "--format", "saved_model", "--output",
            str(tmp_path / "saved")])
    assert (tmp_path / "saved" / "saved_model.pb").is_file()
    capsys.readouterr()
    assert npu_check(["--model", "tiny"]) in (None, 0)
    out = capsys.readouterr().out
    assert "tiny x2 train" in out and "tiny x2 infer" in out and "nothing found" in out
