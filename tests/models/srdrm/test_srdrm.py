"""SRDRM against its authors' weights, a stock Keras network, and losses computed by hand."""

import json

import numpy as np
import pytest

import models
from common.cli import UserError
from common.images.files import read_rgb
from common.inference.upscaler import Upscaler
from common.metrics import psnr
from common.nn.keras_compat import IS_KERAS_3, keras, policy_scope, set_seed, tf
from models.convert import convert
from models.srdrm import discriminator
from models.srdrm.losses import colour_distance, srdrm_loss

layers = keras.layers
POLICIES = ["mixed_float16"] + ["mixed_bfloat16"] * IS_KERAS_3


def stock(modules, tail_kernel, num_blocks=2, filters=6):
    """The authors' network as one writes it in Keras: [-1, 1] in and out, layers without names."""
    def conv(x, count, kernel, activation=None):
        return layers.Conv2D(count, kernel, padding="same", activation=activation,
                             bias_initializer="random_normal")(x)

    def norm(x, momentum):
        return layers.BatchNormalization(
            momentum=momentum, beta_initializer="random_normal",
            moving_mean_initializer="random_normal",
            moving_variance_initializer=keras.initializers.RandomUniform(0.5, 2.0))(x)

    image = x = keras.Input((None, None, 3))
    for _ in range(modules):
        head = x = conv(x, filters, 4, "relu")
        for _ in range(num_blocks):
            y = layers.Activation("relu")(norm(conv(x, filters, 3), 0.5))
            x = layers.Add()([norm(conv(y, filters, 3), 0.5), x])
        x = layers.Add()([norm(conv(x, filters, 4), 0.8), head])
        x = conv(layers.UpSampling2D(2)(x), 4 * filters, 3, "relu")
    return keras.Model(image, conv(x, 3, tail_kernel, "tanh"))


# Of two images of USR-248, by a program of PyTorch functions that reads the authors' files itself.
AUTHORS_PSNR = {"srdrm": {"im_xb_1032_": 33.1062, "im_xb_1374_": 29.4821},
                "srdrm_gan": {"im_xb_1032_": 33.0733, "im_xb_1374_": 29.6659}}


@pytest.mark.parametrize("name", AUTHORS_PSNR)
def test_the_authors_weights_have_their_psnr(name, shared, tmp_path):
    """On 8-bit grey over the whole image."""
    model = convert("srdrm", shared / "weights" / "srdrm" / f"{name}_x2_model_20.h5",
                    tmp_path / "srdrm_x2.h5")
    assert model.count_params() == 830_851 and len(model.get_weights()) == 108
    upscale, folder = Upscaler(model), shared / "data" / "USR-248"
    for image, expected in AUTHORS_PSNR[name].items():
        lr, hr = (read_rgb(folder / part / f"{image}.jpg") for part in ("lr_2x", "hr"))
        assert psnr(upscale(lr), hr, channel="gray") == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("modules, tail_kernel", [(1, 9), (2, 5), (3, 5)])
def test_a_stock_keras_network_of_any_scale(modules, tail_kernel, tmp_path):
    layers.Conv2D(1, 1)  # the running numbers need not begin at the first
    set_seed(1)
    theirs = stock(modules, tail_kernel)
    theirs.save(str(tmp_path / "theirs.h5"))
    ours = convert("srdrm", tmp_path / "theirs.h5", tmp_path / "ours.h5")
    told = json.loads(ours.zoo_metadata)
    assert told["scale"] == 2**modules
    assert told["options"] == {"num_blocks": 2, "num_filters": 6, "tail_kernel": tail_kernel}
    lr = np.random.RandomState(1).randint(0, 256, (1, 9, 14, 3)).astype("float32")
    expected = (theirs(lr / 127.5 - 1).numpy() + 1) * 127.5
    assert expected.std() > 1
    np.testing.assert_allclose(ours(lr).numpy(), expected, atol=1e-2)
    momenta = [[layer.momentum for layer in model.layers if hasattr(layer, "momentum")]
               for model in (theirs, ours)]
    assert momenta[0] == momenta[1]


def test_other_keras_files_are_refused(tmp_path, shared):
    out = tmp_path / "out.h5"
    with pytest.raises(UserError, match="holds srdrm x2, not x4; correct --scale"):
        convert("srdrm", shared / "weights" / "srdrm" / "srdrm_x2_model_20.h5", out, 4)
    image = keras.Input((None, None, 3))
    keras.Model(image, layers.Conv2D(3, 3)(image)).save(str(tmp_path / "conv.h5"))
    with pytest.raises(UserError, match="it has 1 convolutions and 0 batch normalisations"):
        convert("srdrm", tmp_path / "conv.h5", out)
    bent = layers.PReLU(shared_axes=[1, 2])(image)
    keras.Model(image, bent).save(str(tmp_path / "prelu.h5"))
    with pytest.raises(UserError, match="neither a convolution with a bias nor a batch n[a-z]*$"):
        convert("srdrm", tmp_path / "prelu.h5", out)
    keras.Model(image, layers.Dense(3)(image)).save(str(tmp_path / "dense.h5"))
    with pytest.raises(UserError, match="dense.* is neither a convolution with a bias nor"):
        convert("srdrm", tmp_path / "dense.h5", out)
    assert not out.exists()


@pytest.mark.parametrize("scale, parameters", [(2, 830_851), (4, 1_901_571), (8, 2_972_291)])
def test_parameters(scale, parameters):
    """The first module and the tail have 830,851; 256 features into a further one 1,070,720."""
    assert models.create("srdrm", scale).count_params() == parameters


@pytest.mark.parametrize("policy", POLICIES)
def test_mixed_precision_gives_float32(policy):
    with policy_scope(policy):
        model = models.create("srdrm", 4, num_blocks=1, num_filters=8)
        judge = discriminator.build(32, num_filters=8)
    sr = model(tf.ones((1, 8, 8, 3)))
    assert sr.dtype == tf.float32 and sr.shape == (1, 32, 32, 3)
    assert judge(sr).dtype == tf.float32
    assert str(model.get_layer("module0_body").compute_dtype) == policy.replace("mixed_", "")


def test_the_discriminator_is_the_authors():
    """Eight convolutions, every second one by steps of two; 30x40 verdicts on 640x480 pixels."""
    judge = discriminator.build()
    widths = [3, 64, 64, 128, 128, 256, 256, 512, 512]
    convs = sum((9 * a + 1) * b for a, b in zip(widths, widths[1:]))
    norms, dense = sum(4 * b for b in widths[2:]), 512 * 1024 + 1024 + 1024 + 1
    assert judge.count_params() == convs + norms + dense
    assert [int(side) for side in judge(tf.zeros((1, 480, 640, 3))).shape] == [1, 30, 40, 1]
    small = discriminator.build(40, num_filters=4)
    assert tuple(small.output_shape) == (None, 3, 3, 1)
    logits = 50 * small(tf.random.stateless_uniform((8, 40, 40, 3), (1, 2), 0, 255), training=True)
    assert logits.numpy().min() < 0  # no sigmoid


def test_losses_of_one_pixel_by_hand():
    sr, hr = tf.constant([[[[100.0, 50, 20]]]]), tf.constant([[[[120.0, 40, 50]]]])
    # mean red 110: (512 + 110)/256 * 20^2 + 4 * 10^2 + (767 - 110)/256 * 30^2
    squares = 971.875 + 400 + 2309.765625
    assert float(colour_distance(sr, hr)) == pytest.approx(squares / 255, rel=1e-6)
    mse = (400 + 100 + 900) / 3 / 127.5**2
    assert float(srdrm_loss(sr, hr)) == pytest.approx(0.8 * mse + 0.2 * squares / 255, rel=1e-6)


def test_losses_are_means_over_pixels_and_images():
    sr, hr = np.random.RandomState(2).uniform(0, 255, (2, 3, 4, 5, 3)).astype("float32")
    single = [float(srdrm_loss(sr[i:i + 1, y:y + 1, x:x + 1], hr[i:i + 1, y:y + 1, x:x + 1]))
              for i in range(3) for y in range(4) for x in range(5)]
    assert float(srdrm_loss(sr, hr)) == pytest.approx(np.mean(single), rel=1e-5)


@pytest.mark.parametrize("loss", [colour_distance, srdrm_loss])
@pytest.mark.parametrize("value", [0.0, 128.0, 255.0])
def test_losses_can_be_differentiated_at_equality(loss, value):
    images = tf.fill((1, 2, 2, 3), value)
    with tf.GradientTape() as tape:
        tape.watch(images)
        result = loss(images, tf.fill((1, 2, 2, 3), value))
    assert float(result) == 0
    np.testing.assert_array_equal(tape.gradient(result, images).numpy(), 0)


def test_the_loss_stays_finite_at_its_largest():
    black, white = tf.zeros((1, 2, 2, 3)), tf.fill((1, 2, 2, 3), 255.0)
    # every channel by 255: (2 + .5 + 4 + 2 + .5 of 255/256) * 255
    expected = 0.8 * 4 + 0.2 * (8 + 255 / 256) * 255
    assert float(srdrm_loss(black, white)) == pytest.approx(expected, rel=1e-6)
