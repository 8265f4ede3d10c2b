import numpy as np
import pytest

import models
from common.nn.keras_compat import IS_KERAS_3, keras, policy_scope, set_seed, tf
from common.training.checkpoints import Checkpoints
from common.training.ema import averaged
from common.training.losses import PIXEL_LOSSES, charbonnier, l1, mse
from common.training.steps import PixelStep, adam, clip_gradients


def batch(photo, count=4):
    hr = np.stack([photo()[8 * i:8 * i + 32, 100:132] for i in range(count)])
    return tf.constant(hr[:, ::2, ::2]), tf.constant(hr)


def small_edsr():
    set_seed(0)
    return models.create("edsr", 2, num_blocks=1, num_filters=8)


def learn(photo, policy):
    """The losses of fifteen steps in a precision."""
    with policy_scope(policy):
        step = PixelStep(small_edsr(), adam(), l1, "global_norm", 1.0)
        losses = [float(step(batch(photo), [1e-3])["loss"]) for _ in range(15)]
        assert all(v.dtype in ("float32", tf.float32) for v in step.model.trainable_variables)
    return losses


def test_losses_by_hand():
    a, b = tf.constant([0.0, 3.0]), tf.constant([4.0, 3.0])
    assert float(l1(a, b)) == 2
    assert float(mse(a, b)) == 8
    assert float(charbonnier(a, b)) == pytest.approx((np.sqrt(16 + 0.255**2) + 0.255) / 2)
    assert set(PIXEL_LOSSES) == {"l1", "mse", "charbonnier"}


def test_one_step_of_sgd_is_the_gradient_of_the_loss_and_is_traced_once(photo):
    model = small_edsr()
    step = PixelStep(model, keras.optimizers.SGD(1.0), l1)
    lr, hr = batch(photo)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.abs(model(tf.cast(lr, tf.float32)) - tf.cast(hr, tf.float32)))
    gradients = tape.gradient(loss, model.trainable_variables)
    before = [variable.numpy() for variable in model.trainable_variables]
    logged = step((lr, hr), [0.01])
    step((lr, hr), [0.0])
    assert step._train[None].experimental_get_tracing_count() == 1
    assert float(logged["loss"]) == pytest.approx(float(loss), rel=1e-5)
    for variable, value, gradient in zip(model.trainable_variables, before, gradients):
        np.testing.assert_allclose(variable.numpy(), value - 0.01 * gradient.numpy(), rtol=1e-4,
                                   atol=1e-6)


def test_the_average_of_the_weights_by_hand(photo):
    model, average = small_edsr(), small_edsr()
    step = PixelStep(model, keras.optimizers.SGD(1.0), l1, ema=averaged(model, lambda _: average,
                                                                       0.22))
    assert step.model is average
    expected = None
    for decay in (0, 2 / 11, 0.22, 0.22):  # it grows up to what was asked for
        step(batch(photo), [0.01])
        now = [variable.numpy() for variable in model.variables]
        expected = now if not decay else [decay * e + (1 - decay) * n
                                          for e, n in zip(expected, now)]
    for mean, value in zip(average.variables, expected):
        np.testing.assert_allclose(mean.numpy(), value, rtol=1e-5, atol=1e-6)
    assert averaged(model, models.another, 0.0) is None


def test_clipping_by_hand():
    gradients = [tf.constant([3.0]), tf.constant([-4.0])]

    def clipped(method, threshold):
        return [float(g[0]) for g in clip_gradients(gradients, method, threshold)]

    assert clipped("none", 1) == [3, -4]
    assert clipped("value", 2.0) == [2, -2]
    assert clipped("norm", 2.0) == pytest.approx([2, -2])
    assert clipped("global_norm", 2.5) == pytest.approx([1.5, -2])


def test_clipping_is_part_of_the_step(photo):
    model = small_edsr()
    step = PixelStep(model, keras.optimizers.SGD(1.0), mse, "global_norm", 0.5)
    before = [variable.numpy() for variable in model.trainable_variables]
    step(batch(photo), [1.0])
    moved = [v.numpy() - b for v, b in zip(model.trainable_variables, before)]
    assert np.sqrt(sum((m**2).sum() for m in moved)) == pytest.approx(0.5, rel=1e-3)


def test_adjustable_clipping_follows_the_rate():
    clipped = clip_gradients([tf.constant([3.0, 0.01])], "adjustable", 0.004, tf.constant(0.1))
    np.testing.assert_allclose(clipped[0].numpy(), [0.04, 0.01], rtol=1e-6)


def test_weight_decay_is_added_to_the_gradients_of_kernels(photo):
    model = small_edsr()
    step = PixelStep(model, keras.optimizers.SGD(1.0), lambda sr, hr: 0.0 * tf.reduce_mean(sr),
                     weight_decay=0.5)
    before = model.get_weights()
    step(batch(photo), [0.1])
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_allclose(new, old * (0.95 if old.ndim > 1 else 1), rtol=1e-5)


def test_a_slow_layer_moves_a_tenth_as_far(photo):
    moved = []
    for slow in (False, True):
        model = small_edsr()
        layer = model.get_layer("tail")
        step = PixelStep(model, adam(), l1, slow_layers=[layer] if slow else [])
        before = [layer.get_weights()[0], model.get_layer("head").get_weights()[0]]
        step(batch(photo), [1e-3])
        after = [layer.get_weights()[0], model.get_layer("head").get_weights()[0]]
        moved.append([new - old for new, old in zip(after, before)])
    np.testing.assert_allclose(moved[1][0], 0.1 * moved[0][0], atol=1e-8)
    np.testing.assert_allclose(moved[1][1], moved[0][1], atol=1e-8)


def test_each_head_trains_its_own_layers(photo):
    set_seed(0)
    model = models.create("bsrn", (2, 3), num_features=8, num_states=8, num_recursions=2)
    heads = {scale: keras.Model(model.input, model.output[f"x{scale}"]) for scale in (2, 3)}
    step = PixelStep(model, adam(), l1, heads=heads)
    before = {layer.name: layer.get_weights() for layer in model.layers if layer.get_weights()}
    step(batch(photo), [1e-3], scale=2)
    changed = {name for name, arrays in before.items()
               if any((a != b).any() for a, b in zip(arrays, model.get_layer(name).get_weights()))}
    assert {"last_conv_x2", "upscale_x2_conv1", "module_conv3", "first_conv"} <= changed
    assert not {"last_conv_x3", "upscale_x3_conv1"} & changed


def test_a_restored_step_of_several_scales_goes_on_bit_for_bit(photo, tmp_path):
    def fresh():
        set_seed(0)
        model = models.create("bsrn", (2, 3), num_features=4, num_states=4, num_recursions=2)
        step = PixelStep(model, adam(), l1, heads={
            scale: keras.Model(model.input, model.output[f"x{scale}"]) for scale in (2, 3)})
        return step, Checkpoints(tmp_path, step.tracked)

    lr, hr = batch(photo)
    batches = {2: (lr, hr), 3: (lr[:, :8, :8], hr[:, :24, :24])}
    step, checkpoints = fresh()
    for scale in (2, 2, 3):
        step(batches[scale], [1e-3], scale)
    checkpoints.save(3)
    other, restored = fresh()
    assert restored.restore_latest() == 3
    for each in (step, other):
        for scale in (3, 2):
            each(batches[scale], [1e-3], scale)
    for a, b in zip(step.model.get_weights(), other.model.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_mixed_precision_learns_like_float32(photo):
    plain = learn(photo, "float32")
    # TensorFlow 2.6.5 has no bfloat16 convolution on a CPU.
    for policy in ("mixed_float16", "mixed_bfloat16") if IS_KERAS_3 else ("mixed_float16",):
        losses = learn(photo, policy)
        assert losses[-1] < 0.8 * losses[0]
        # A loss scale that starts too high leaves out a step or two before it has come down.
        assert losses[-1] < 1.05 * plain[-4]


TWO_DEVICES = """
from common.device.quiet import quiet_tensorflow
quiet_tensorflow("cpu")
import numpy as np
import models
from common.nn.keras_compat import set_seed, tf
from common.nn.layers import SpectralConv2D
from common.training.losses import l1
from common.training.steps import PixelStep, adam

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
rng = np.random.RandomState(0)
hr = rng.randint(0, 256, (8, 16, 16, 3)).astype("uint8")
data = tf.data.Dataset.from_tensors((hr[:, ::2, ::2], hr)).repeat(5)


def train(strategy):
    with strategy.scope():
        set_seed(0)
        step = PixelStep(models.create("edsr", 2, num_blocks=1, num_filters=8), adam(), l1,
                         "global_norm", 0.5)
        batches = data if strategy.num_replicas_in_sync == 1 else (
            strategy.experimental_distribute_dataset(data))
        losses = [float(step(batch, [1e-3])["loss"]) for batch in batches]
    return losses, [v.numpy() for v in step.model.trainable_variables]


one, two = train(tf.distribute.get_strategy()), train(mirrored)
np.testing.assert_allclose(one[0], two[0], rtol=1e-5)
worst = max(abs(a - b).max() for a, b in zip(one[1], two[1]))
assert worst < 1e-5, worst
moved = abs(one[0][0] - one[0][-1])
assert moved > 0.1, moved
print("same weights", worst)

with mirrored.scope():
    layer = SpectralConv2D(8, 3)
    layer.build((None, None, None, 4))
alone = SpectralConv2D(8, 3)
alone.build((None, None, None, 4))
alone.set_weights(layer.get_weights())
x, start = tf.ones([1, 6, 6, 4]), alone.get_weights()[1]
step = tf.function(lambda: mirrored.run(lambda: layer(x, training=True)))
for _ in range(3):
    step()
    alone(x, training=True)
np.testing.assert_allclose(layer.get_weights()[1], alone.get_weights()[1], atol=1e-6)
assert abs(alone.get_weights()[1] - start).max() > 1e-3
print("same u")
"""


def test_two_devices_train_as_one_and_share_the_u_of_spectral_normalisation(fork, tmp_path):
    process = fork("-c", TWO_DEVICES, cwd=tmp_path)
    said, errors = process.communicate()
    assert process.returncode == 0, errors[-2000:]
    assert "same weights" in said and "same u" in said
