"""Each rule of the inference form on a network that it is for, and on one that it must leave."""

from collections import Counter

import numpy as np
import pytest

import models
from common.inference.footprint import footprint
from common.inference.forms import operations, rewrites
from common.inference.forms.form import InferenceForm, inference_form
from common.inference.upscaler import Upscaler
from common.nn.keras_compat import keras, policy_scope, set_seed, tf
from common.nn.layers import (
    DepthToSpace,
    EdgePad,
    NearestUpscale,
    PReLU,
    Scale,
    ShiftScale,
    SpaceToDepth,
    WeightedMean,
)

layers = keras.layers
SIZES = ((1, 1), (2, 7), (12, 9))


def conv(filters, side=3, padding="same", **options):
    return layers.Conv2D(filters, side, padding=padding, bias_initializer="he_normal",
                         **options)


def chain(*steps, inputs=4):
    """A network of one layer after the other, none of whose weights is 0 or 1."""
    image = x = keras.Input((None, None, inputs))
    for step in steps:
        x = step(x)
    return shaken(keras.Model(image, x))


def shaken(model):
    rng = np.random.default_rng(0)
    model.set_weights([w + rng.uniform(0.05, 0.4, w.shape) * np.where(w.ndim == 4, 0.1, 1)
                       for w in model.get_weights()])
    return model


def formed(model, rules=rewrites.RULES):
    """The form, compared with its model, and how many operations of each kind it has."""
    form = inference_form(model, rules)
    for size in SIZES:
        x = np.random.default_rng(1).normal(size=(2, *size, model.input_shape[-1]))
        x = x.astype("float32")
        np.testing.assert_allclose(form(x), model(x, training=False), rtol=2e-5, atol=2e-5)
    return form, Counter(type(operation).__name__ for operation in form.operations)


def convolutions(form):
    return [each for each in form.operations if isinstance(each, operations.Convolution)]


@pytest.mark.parametrize("normalisation", [
    {}, {"scale": False}, {"center": False}, {"scale": False, "center": False, "epsilon": 0.1}])
def test_batch_normalisation_is_folded_into_the_convolution_before_it(normalisation):
    _, kinds = formed(chain(conv(6, use_bias=False), layers.BatchNormalization(**normalisation),
                            conv(5, 4), layers.BatchNormalization(**normalisation), Scale(0.2)))
    assert kinds == {"Input": 1, "Convolution": 2}


def test_a_shift_and_a_scale_are_folded_only_after_a_convolution():
    _, kinds = formed(chain(ShiftScale(0.3, 2.0), conv(3, 1), ShiftScale([1.0, 2.0, 3.0], 0.5),
                            layers.ReLU(), Scale(0.2)))
    assert kinds == {"Input": 1, "Affine": 2, "Convolution": 1, "Pointwise": 1}


def test_a_convolution_whose_features_are_used_twice_stays():
    image = keras.Input((None, None, 4))
    x = conv(6)(image)
    _, kinds = formed(shaken(keras.Model(image, layers.Add()([
        x, layers.BatchNormalization()(x)]))))
    assert kinds == {"Input": 1, "Convolution": 1, "Affine": 1, "Sum": 1}


@pytest.mark.parametrize("initial", [-0.5, 0.25, 0.9, 1.5])  # more than 1 with what is added
def test_prelu_comes_before_the_pixel_shuffle(initial):
    form, kinds = formed(chain(conv(12), DepthToSpace(2), PReLU(initial)))
    assert [type(each).__name__ for each in form.operations[1:]] == [
        "Convolution", "Pointwise", "Shuffle"]


@pytest.mark.parametrize("activation", [layers.ReLU(), layers.LeakyReLU(0.2),
                                        layers.Activation("tanh"), ShiftScale([1.0] * 3, 2.0)])
def test_other_activations_do_too(activation):
    _, kinds = formed(chain(conv(12), DepthToSpace(2), activation))
    assert kinds["Convolution"] == 1 and kinds["Shuffle"] == 1


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("side, padding", [(3, "same"), (5, "same"), (9, "same"), (5, "valid")])
def test_a_last_convolution_of_few_channels_gives_a_block_of_pixels(scale, side, padding):
    pad = [EdgePad(side // 2)] if padding == "valid" else []
    model = chain(conv(16 * scale**2), DepthToSpace(scale), *pad, conv(3, side, padding))
    form, _ = formed(model)
    last = convolutions(form)[-1]
    block = {2: 2, 3: 3, 4: 2}[scale] if last.stride > 1 else scale
    assert last.kernel.shape[3] == 3 * block**2
    assert isinstance(form.operations[-1], operations.Shuffle)
    if (side, scale) in ((5, 2), (9, 2)) and padding == "same":  # no larger before the shuffle
        assert last.stride == 1 and last.kernel.shape[0] == (side + 1) // 2
    found, before = footprint_of(form), footprint_of(model)
    assert found.scale == before.scale and before.radius <= found.radius <= before.radius + 1


def footprint_of(network):
    """Its footprint, of an image of three channels before it."""
    image = keras.Input((None, None, 3))
    front = conv(4, 1)
    front.build((None, None, None, 3))
    whole = keras.Model(image, front(image))
    return footprint(lambda x, training: network(whole(x), training=training))


@pytest.mark.parametrize("steps", [
    [conv(3, 9)],  # the image's size may be odd
    [DepthToSpace(2), EdgePad(1), conv(3, 4, "valid")],  # and so this one's
    [DepthToSpace(2), conv(3, 4)],  # an even kernel
    [DepthToSpace(2), conv(64)],  # many channels
    [DepthToSpace(2), conv(3, 3, dilation_rate=2)]])
def test_other_convolutions_stay(steps):
    form, kinds = formed(chain(conv(64, 1), *steps))
    assert all(each.stride == 1 for each in convolutions(form))
    assert kinds["Shuffle"] == (len(steps) > 1)


@pytest.mark.parametrize("enlarge", [NearestUpscale(2), layers.UpSampling2D(2), NearestUpscale(3)])
@pytest.mark.parametrize("side", [3, 5])
def test_a_convolution_of_repeated_pixels_is_parted(enlarge, side):
    form, kinds = formed(chain(enlarge, conv(32, side), layers.LeakyReLU(0.2)))
    assert not any(getattr(each, "repeats", False) for each in form.operations)
    if side == 3:
        parts = 4 if getattr(enlarge, "scale", 2) == 2 else 9
        assert kinds["Convolution"] == kinds["Pointwise"] == parts


def test_one_of_few_channels_becomes_one_convolution():
    form, kinds = formed(chain(NearestUpscale(2), conv(3, 9)))
    assert kinds == {"Input": 1, "Convolution": 1, "Shuffle": 1}
    assert convolutions(form)[0].kernel.shape == (5, 5, 4, 12)


def test_parts_go_one_by_one_into_a_last_convolution():
    _, kinds = formed(chain(NearestUpscale(2), conv(32, 3, activation="relu"), conv(3, 5)))
    assert "Concatenation" not in kinds and kinds["Convolution"] == 8 and kinds["Sum"] == 1


def test_a_last_convolution_is_computed_once_for_a_weighted_mean():
    image = x = keras.Input((None, None, 4))
    deep, large, last, images = conv(4), conv(32, activation="relu"), conv(3), []
    for _ in range(3):
        x = deep(x)
        images.append(ShiftScale(0.5)(last(DepthToSpace(2)(large(x)))))
    _, kinds = formed(shaken(keras.Model(image, WeightedMean([1.0, 2.0, 4.0])(images))))
    assert kinds == {"Input": 1, "Convolution": 3 + 3 + 1, "Pointwise": 3, "Sum": 1, "Shuffle": 2}


def test_a_mean_of_different_layers_stays():
    image = keras.Input((None, None, 4))
    _, kinds = formed(shaken(keras.Model(image, WeightedMean([1.0, 2.0])([
        conv(16)(image), ShiftScale(0.5)(conv(16)(image))]))))
    assert kinds["Mean"] == 1 and kinds["Convolution"] == 2


def test_what_is_no_graph_of_single_tensors_is_run_as_it_is():
    image = keras.Input((None, None, 4))
    two = layers.Dot(-1)([conv(3)(image), conv(3)(image)])
    assert isinstance(inference_form(keras.Model(image, two)), InferenceForm)
    subclass = type("Own", (keras.Model,), {"call": lambda self, x, training=None: x})()
    assert inference_form(subclass) is subclass


def test_unknown_layers_are_called_as_they_are():
    _, kinds = formed(chain(conv(6), layers.BatchNormalization(), layers.Softmax(),
                            conv(4, activation="softplus"), SpaceToDepth(2)))
    assert kinds == {"Input": 1, "Convolution": 1, "Layer": 3}


def test_a_form_is_a_copy(photo):
    model = shaken(models.create("edsr", 2, **models.model("edsr").small))
    form, lr = inference_form(model), photo(9, 13)[None].astype("float32")
    before = model(lr).numpy()
    model.set_weights([w * 0 for w in model.get_weights()])
    np.testing.assert_allclose(form(lr), before, atol=1e-3)
    assert form.name == model.name and form.zoo_metadata == model.zoo_metadata
    assert Upscaler(form).scale == 2


@pytest.mark.parametrize("name", [name for name in models.available() if models.model(name).joint])
def test_a_joint_model_has_one_form_for_all_scales(name, photo):
    set_seed(0)
    model = shaken(models.create(name, (2, 3, 4), **models.model(name).small))
    lr = photo(8, 11)[None].astype("float32")
    answers, expected = inference_form(model)(lr), model(lr)
    assert sorted(answers) == ["x2", "x3", "x4"]
    for scale, image in expected.items():
        np.testing.assert_allclose(answers[scale], image, atol=np.abs(image).max() * 5e-6)


@pytest.mark.parametrize("name, scale", [("bsrn", 2), ("srdrm", 2), ("vdsr", 3), ("srcnn", 3)])
@pytest.mark.stack("main")
def test_the_edges_compute_in_bfloat16_as_exactly_as_before(name, scale, photo):
    def network():
        set_seed(0)
        return models.create(name, scale, **models.model(name).small)

    with policy_scope("mixed_bfloat16"):
        low = network()
    form, lr = inference_form(low), photo(40, 60)[None].astype("float32")
    truth = network()(lr, training=False).numpy()
    assert {each.dtype for each in convolutions(form)} == {"bfloat16"}
    assert all(variable.dtype == tf.bfloat16 for variable in form.variables
               if len(variable.shape) == 4)
    assert form(lr).dtype == tf.float32
    error, before = (np.sqrt(np.mean((np.asarray(answer) - truth)**2))
                     for answer in (form(lr), low(lr, training=False)))
    assert error < max(1.25 * before, 0.05)


@pytest.mark.stack("main")
def test_float16_keeps_its_float32_edges():
    with policy_scope("mixed_float16"):
        image = keras.Input((None, None, 3))
        model = keras.Model(image, conv(3, dtype="float32")(conv(64)(image)))
    assert [each.dtype for each in convolutions(inference_form(model))] == ["float16", "float32"]
