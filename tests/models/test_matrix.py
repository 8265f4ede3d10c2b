"""What every registered model must do, at every scale."""

import functools
import importlib.util
import json
import os
import subprocess
from collections import namedtuple
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

import models
from common import weights
from common.cli import UserError
from common.inference.forms.form import inference_form
from common.inference.forms.rewrites import RULES
from common.inference.upscaler import Upscaler
from common.nn.keras_compat import keras, set_seed, tf
from common.training.losses import l1
from common.training.steps import PixelStep, adam
from scripts.export import FORMATS, export

ROOT = Path(__file__).resolve().parents[2]
HAS_OPENVINO = importlib.util.find_spec("openvino") is not None
CASES = [(name, scale) for name in models.available()
         for scale in models.model(name).network.SCALES]
JOINT = [name for name in models.available() if models.model(name).joint]
Case = namedtuple("Case", "name scale model upscale")


def case_id(case):
    return f"{case[0]}_x{case[1]}"


# For what does not depend on the scale; where there is x1 it works on the largest blocks of pixels.
at_the_first_scale = pytest.mark.parametrize(
    "case", [(name, models.model(name).network.SCALES[0]) for name in models.available()],
    indirect=True, ids=case_id)


@pytest.fixture(scope="module")
def built():
    """Each model once for the whole file; a test leaves its weights as they were."""
    @functools.cache
    def of(name, scale):
        set_seed(0)
        model = models.create(name, scale, **models.model(name).small)
        return Case(name, scale, model, Upscaler(model))
    return of


@pytest.fixture(params=CASES, ids=case_id)
def case(request, built):
    return built(*request.param)


@pytest.mark.parametrize("name", models.available())
def test_every_recipe_averages_the_weights_where_it_is_told_to(name):
    known = models.model(name)
    kinds = {field.name for field in fields(known.recipe.options_class)}
    small = {key: value for key, value in known.small.items() if key in kinds}
    stage = {"stage": "psnr"} if "stage" in kinds else {}
    options = known.recipe.options_class(**{**small, **stage}, scale=known.network.SCALES[0],
                                         ema_decay=0.5)
    step = known.recipe.build_step(options)
    assert step.model is not step.trained
    assert step.model.zoo_metadata == step.trained.zoo_metadata
    assert step.tracked["average"] is step.model
    step = known.recipe.build_step(replace(options, ema_decay=0.0))
    assert step.model is step.trained and "average" not in step.tracked


def test_every_model_says_what_a_small_one_is():
    assert all(models.model(name).small for name in models.available())


@pytest.mark.parametrize("height, width", [(1, 1), (1, 5), (7, 2), (24, 24), (97, 61)])
def test_any_size_comes_out_exactly_scale_times_as_large(case, photo, height, width):
    sr = case.model(photo(height, width)[None].astype("float32")).numpy()
    assert sr.shape == (1, height * case.scale, width * case.scale, 3)
    assert sr.dtype == np.float32 and np.isfinite(sr).all()


def test_a_batch_equals_its_images_one_by_one(case, photo):
    model = case.model
    batch = np.stack([photo(20, 30), photo(40, 60)[20:, 30:]]).astype("float32")
    single = np.concatenate([model(image[None]).numpy() for image in batch])
    np.testing.assert_allclose(model(batch).numpy(), single, atol=1e-3)


def test_h5_round_trip_through_the_zoo_and_through_stock_keras(case, photo, tmp_path):
    path = tmp_path / "weights.h5"
    weights.save(case.model, path)
    lr = photo(17, 23)[None].astype("float32")
    sr = case.model(lr).numpy()
    assert weights.read_metadata(path)["model"] == case.name
    # Not bit for bit: the first call in a process may differ from later ones in the last one.
    np.testing.assert_allclose(models.load(path, case.scale)(lr).numpy(), sr, atol=1e-4)
    stock = keras.models.load_model(str(path), compile=False)
    np.testing.assert_allclose(stock(lr).numpy(), sr, atol=1e-4)


OTHER_STACK = """
import json, sys
import numpy as np
from common.device.quiet import quiet_tensorflow
quiet_tensorflow("cpu")
import models
from common import weights
for line in sys.stdin:
    source, lr, sr, target = json.loads(line)
    model = models.load(source)
    np.save(sr, model(np.load(lr)).numpy())
    weights.save(model, target)
    print("done", flush=True)
"""


@pytest.fixture(scope="module")
def other_stack(other_python):
    """A process of the other stack: `other_stack(weights, lr.npy, sr.npy, weights to write)`."""
    process = subprocess.Popen([other_python, "-c", OTHER_STACK], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "PYTHONPATH": str(ROOT)})

    def ask(*paths):
        process.stdin.write(json.dumps([str(path) for path in paths]) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        assert answer == "done\n", process.communicate()[1]

    yield ask
    process.communicate()


def test_h5_opens_on_the_other_stack_and_comes_back(case, photo, tmp_path, other_stack):
    lr = photo(17, 23)[None].astype("float32")
    ours, theirs = tmp_path / "ours.h5", tmp_path / "theirs.h5"
    weights.save(case.model, ours)
    np.save(str(tmp_path / "lr.npy"), lr)
    other_stack(ours, tmp_path / "lr.npy", tmp_path / "sr.npy", theirs)
    sr = case.model(lr).numpy()
    np.testing.assert_allclose(np.load(str(tmp_path / "sr.npy")), sr, atol=1e-3)
    np.testing.assert_allclose(models.load(theirs)(lr).numpy(), sr, atol=1e-4)


def test_every_variable_has_a_part_in_the_loss(case, photo):
    hr = photo(9 * case.scale, 12 * case.scale)[None].astype("float32")
    with tf.GradientTape() as tape:
        loss = l1(case.model(hr[:, ::case.scale, ::case.scale]), hr)
    for gradient in tape.gradient(loss, case.model.trainable_variables):
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


@at_the_first_scale
def test_train_steps_lower_the_loss(case, photo):
    hr = photo(24 * case.scale, 24 * case.scale)
    before = case.model.get_weights()
    step = PixelStep(case.model, adam(), l1)
    batch = tf.constant(hr[None, ::case.scale, ::case.scale]), tf.constant(hr[None])
    losses = [float(step(batch, [2e-3])["loss"]) for _ in range(20)]
    case.model.set_weights(before)
    assert losses[-1] < 0.8 * losses[0], losses


@pytest.fixture
def shaken(case):
    """The network with batch statistics, slopes and biases that are neither 0 nor 1."""
    before, rng = case.model.get_weights(), np.random.default_rng(0)
    case.model.set_weights([w + rng.uniform(0.001, 0.02, w.shape) for w in before])
    yield case.model
    case.model.set_weights(before)


def agree(form, model, lr):
    """Whether the form answers as its model does, to a thousandth of a grey level."""
    expected = model(lr, training=False).numpy()
    assert form is not model
    return np.abs(form(lr).numpy() - expected).max() <= 1e-3 * max(1, np.abs(expected).max() / 255)


@pytest.mark.parametrize("height, width", [(1, 1), (7, 2), (37, 53)])
def test_the_inference_form_answers_as_the_trained_network(case, shaken, photo, height, width):
    lr = np.stack([photo(height, width), photo()[-height:, -width:]]).astype("float32")
    assert agree(inference_form(shaken), shaken, lr)


@at_the_first_scale
def test_the_inference_form_agrees_after_each_rule(case, shaken, photo):
    lr = photo(13, 18)[None].astype("float32")
    for count in range(len(RULES) + 1):
        assert agree(inference_form(shaken, RULES[:count]), shaken, lr), RULES[:count]


def test_tiles_give_the_whole_image(case, photo):
    lr = photo(61, 83)
    whole = case.upscale(lr).astype(int)
    for network in (case.model, inference_form(case.model)):
        assert np.abs(whole - Upscaler(network, tile=24)(lr)).max() <= 1


@at_the_first_scale
def test_self_ensemble_does_not_depend_on_how_the_image_is_turned(case, photo):
    upscale = Upscaler(case.model, self_ensemble=True)
    # Whole blocks of every network: others are padded at the bottom and right, before the turns.
    lr = photo(20, 28).astype("float32")
    sr = upscale.predict(lr)
    for turn in (lambda x: x[::-1], lambda x: x[:, ::-1], np.rot90):
        turned = upscale.predict(np.ascontiguousarray(turn(lr)))
        np.testing.assert_allclose(turned, turn(sr), atol=1e-2)


@pytest.mark.parametrize("name", JOINT)
def test_a_joint_model_holds_one_model_per_scale(name, photo, tmp_path):
    set_seed(0)
    model = models.create(name, (2, 3, 4), **models.model(name).small)
    lr = photo(17, 23)[None].astype("float32")
    answers = model(lr)
    assert sorted(answers) == ["x2", "x3", "x4"]
    path = tmp_path / "joint.h5"
    weights.save(model, path)
    again = models.load(path)(lr)
    stock = keras.models.load_model(str(path), compile=False)(lr)
    for scale in (2, 3, 4):
        sr = answers[f"x{scale}"].numpy()
        assert sr.shape == (1, 17 * scale, 23 * scale, 3)
        np.testing.assert_allclose(models.load(path, scale)(lr).numpy(), sr, atol=1e-3)
        np.testing.assert_array_equal(again[f"x{scale}"].numpy(), sr)
        np.testing.assert_array_equal(stock[f"x{scale}"].numpy(), sr)


@pytest.mark.parametrize("name", [name for name in models.available() if name not in JOINT])
def test_other_models_refuse_several_scales(name):
    with pytest.raises(UserError, match="one scale at a time"):
        models.create(name, (2, 3), **models.model(name).small)


def test_a_grey_image_stays_grey(case, photo):
    sr = case.upscale(photo(61, 83)[..., 1])
    assert sr.shape == (61 * case.scale, 83 * case.scale) and sr.dtype == np.uint8


def test_no_two_layers_start_alike(case):
    kernels = [variable.numpy() for variable in case.model.trainable_variables
               if len(variable.shape) == 4]
    for i, a in enumerate(kernels):
        assert not any(a.shape == b.shape and (a == b).all() for b in kernels[:i])


@at_the_first_scale
@pytest.mark.parametrize("format", ["saved_model", "onnx", "openvino", "litert"])
def test_every_export_gives_the_models_answer_at_any_size(case, format, photo, tmp_path,
                                                          open_export):
    """A frozen_pb has one size; see test_frozen."""
    if format == "openvino":
        pytest.importorskip("openvino")
    path = tmp_path / f"model{FORMATS[format].suffix or ''}"
    differences = export(case.model, format, path)
    assert max(differences.values()) < 0.005
    # All that can read it have done so.
    assert ("openvino" in differences) == (format != "saved_model" and HAS_OPENVINO)
    written = {path, path.with_suffix(".bin")} if format == "openvino" else {path}
    assert set(tmp_path.iterdir()) == written  # nothing temporary is left
    run = open_export(format, path)
    for height, width in ((1, 1), (2, 7), (45, 31)):
        lr = np.stack([photo(height, width), photo()[-height:, -width:]]).astype("float32")
        sr = run(lr)
        assert sr.dtype == np.float32
        assert sr.shape == (2, height * case.scale, width * case.scale, 3)
        np.testing.assert_allclose(sr, case.model(lr).numpy(), atol=0.005)
