import numpy as np
import pytest

import models
from common.cli import UserError
from common.nn.keras_compat import tf
from scripts.convert_weights import convert

v1 = tf.compat.v1
FEATURES, STATES, RECURSIONS = 6, 4, 3


def tf1_network(lr):
    """BSRN in TensorFlow 1 with the published variable names; {2: sr, 3: sr, 4: sr}."""
    def conv(x, name, filters, activation=tf.identity):
        with v1.variable_scope(name, reuse=v1.AUTO_REUSE):
            kernel = v1.get_variable("kernel", (3, 3, int(x.shape[-1]), filters), tf.float32,
                                     v1.random_normal_initializer(0, 0.15))
            bias = v1.get_variable("bias", (filters,), tf.float32,
                                   v1.random_normal_initializer(0, 0.5))
        return activation(tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), bias))

    def split(x):
        return tf.split(x, [FEATURES, STATES], -1)

    with v1.variable_scope("generator"):
        x = conv(lr - 127.5, "first_conv/conv2d", FEATURES)
        state = tf.zeros(tf.concat([tf.shape(x)[:-1], [STATES]], 0))
        state.set_shape([None, None, None, STATES])
        outputs = {2: [], 3: [], 4: []}
        for _ in range(RECURSIONS):
            y = conv(tf.concat([x, state], -1), "residual_modules/conv2d", FEATURES + STATES,
                     tf.nn.relu)
            y, state = split(conv(y, "residual_modules/conv2d_1", FEATURES + STATES))
            x = x + y
            y, state = split(conv(tf.concat([x, state], -1), "residual_modules/conv2d_2",
                                  FEATURES + STATES))
            x = x + y
            for scale, stages in ((2, [2]), (3, [3]), (4, [2, 2])):
                large = x
                for i, block in enumerate(stages):
                    name = f"upscale/x{scale}/conv2d" + (f"_{i}" if i else "")
                    large = conv(large, name, FEATURES * block**2, tf.nn.relu)
                    large = tf.nn.depth_to_space(large, block)
                outputs[scale].append(conv(large, f"last_conv/x{scale}/conv2d", 3) + 127.5)
    weights = [2.0 ** (i - RECURSIONS) for i in range(1, RECURSIONS + 1)]
    return {scale: sum(w * image for w, image in zip(weights, images)) / sum(weights)
            for scale, images in outputs.items()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A TensorFlow 1 checkpoint after a step of Adam: its prefix, an image and its results."""
    folder = tmp_path_factory.mktemp("bsrn")
    image = np.random.RandomState(0).uniform(0, 255, (1, 9, 13, 3)).astype("float32")
    with tf.Graph().as_default():
        v1.set_random_seed(0)
        lr = v1.placeholder(tf.float32, (None, None, None, 3))
        results = tf1_network(lr)
        loss = sum(tf.reduce_mean(tf.abs(sr)) for sr in results.values())
        train = v1.train.AdamOptimizer(1e-3).minimize(loss)
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            session.run(train, {lr: image})
            prefix = v1.train.Saver().save(session, str(folder / "model.ckpt"))
            return prefix, image, session.run(results, {lr: image})


def test_the_names_are_the_published_ones(trained, shared):
    index = shared / "weights" / "bsrn" / "bsrn_c64_s64_x234.ckpt"
    published = tf.train.load_checkpoint(str(index)).get_variable_to_shape_map()
    ours = tf.train.load_checkpoint(trained[0]).get_variable_to_shape_map()
    assert set(ours) == set(published) and len(ours) == 3 * 22 + 2


@pytest.mark.parametrize("scale", [None, (2, 4), 2, 3, 4])
def test_a_converted_checkpoint_gives_what_its_graph_gave(trained, tmp_path, scale):
    prefix, image, results = trained
    path = tmp_path / "bsrn.h5"
    convert("bsrn", prefix, path, scale, num_recursions=RECURSIONS)
    sr = models.load(path)(image)
    sr = sr if isinstance(sr, dict) else {f"x{scale}": sr}
    assert sorted(sr) == [f"x{s}" for s in
                          ([scale] if isinstance(scale, int) else scale or (2, 3, 4))]
    for name, array in sr.items():
        np.testing.assert_allclose(array.numpy(), results[int(name[1:])], atol=1e-3)


def test_other_checkpoints_are_refused(tmp_path):
    with tf.Graph().as_default(), v1.Session() as session:
        v1.get_variable("net/kernel", (3, 3))
        session.run(v1.global_variables_initializer())
        prefix = v1.train.Saver().save(session, str(tmp_path / "model.ckpt"))
    with pytest.raises(UserError, match="not of bsrn: expected generator/last_conv.*found net/ker"):
        convert("bsrn", prefix, tmp_path / "out.h5")


def test_what_the_checkpoint_lacks_is_named(trained, tmp_path):
    with tf.Graph().as_default(), v1.Session() as session:
        v1.get_variable("generator/last_conv/x2/conv2d/kernel", (3, 3, 4, 3))
        session.run(v1.global_variables_initializer())
        prefix = v1.train.Saver().save(session, str(tmp_path / "model.ckpt"))
    with pytest.raises(UserError, match="holds bsrn x234, not x25; correct --scale"):
        convert("bsrn", trained[0], tmp_path / "out.h5", (2, 5))
    with pytest.raises(UserError, match="it lacks generator/first_conv/conv2d/kernel"):
        convert("bsrn", prefix, tmp_path / "out.h5")
