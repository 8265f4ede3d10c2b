"""The check for an Ascend NPU: the zoo passes, and each planted fault is found."""

import inspect
import json
from types import SimpleNamespace

import numpy as np
import pytest

import models
import models.edsr.network
import models.edsr.train
from common.cli import UserError
from common.nn.keras_compat import keras, tf
from common.training.steps import PixelStep
from scripts.npu_check.check import check, check_step
from scripts.npu_check.command import main
from scripts.npu_check.graphs import check_graph
from scripts.npu_check.support import read_support

layers = keras.layers
SUPPORT = read_support(environment={})


@pytest.fixture(autouse=True, scope="module")
def traced_alone():
    """What is looked through is what was traced: without Grappler, which comes after that."""
    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False, **before})


# ---- the zoo ------------------------------------------------------------------------------------

# The adapter has the ascend stack's TensorFlow; of the other one network of each kind is enough.
ascend = pytest.mark.stack("ascend")


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=() if name in ("edsr", "bsrn", "esrgan") else ascend)
    for name in models.available()])
def test_nothing_is_found_in_a_model_of_the_zoo(name):
    rows = list(check([name]))
    assert [row["findings"] for row in rows] == [[]] * len(rows)
    stages = ["psnr", "gan"] if name in ("srgan", "esrgan", "srdrm") else [None]
    assert [row["stage"] for row in rows if row["mode"] == "train"] == stages
    scales = [2, 3, 4] if name in ("bsrn", "vdsr") else [rows[0]["scale"]]
    assert [row["scale"] for row in rows if row["mode"] == "infer"] == scales
    for row in rows:  # the graph was really gone through
        assert row["operations"] > 50 and row["kinds"] >= 10


@ascend
@pytest.mark.parametrize("name, flags", [
    ("srgan", ["--stage=gan", "--gan_loss=wgan_gp", "--perceptual_weight=0"]),
    ("srgan", ["--stage=gan", "--variant=msrresnet", "--label_noise=0.1", "--ema_decay=0.99",
               "--perceptual_weight=0"]),
    ("esrgan", ["--stage=gan", "--discriminator=unet", "--perceptual_weight=0", "--scale=1"]),
    ("vdsr", ["--dataset=hdf5", "--scale=2"]), ("srcnn", ["--optimizer=adam"])],
    ids=lambda value: value if isinstance(value, str) else " ".join(value))
def test_nothing_is_found_in_its_other_recipes(name, flags):
    for row in check([name], ["train"], flags):
        assert not row["findings"], row


# ---- planted faults -----------------------------------------------------------------------------

def layer_of(call):
    """A Keras layer that does a function of one tensor."""
    class Planted(layers.Layer):
        def call(self, inputs):
            return call(inputs)

        def compute_output_shape(self, input_shape):
            return input_shape
    return lambda: Planted(name="planted")


def through_float64(x):
    return x + tf.cast(tf.cast(x, tf.float64) * 2, tf.float32)


def in_a_loop(x):
    return tf.while_loop(lambda i, x: i < 2, lambda i, x: (i + 1, through_float64(x)), (0, x))[1]


def through_python(x):
    return x + tf.reduce_sum(tf.numpy_function(lambda array: array, [x], tf.float32))


def on_the_cpu(x):
    with tf.device("/cpu:0"):
        return x * 2


def where_of_one(x):
    return x + tf.reduce_sum(tf.cast(tf.where(x > 0), tf.float32))


def masked(x):
    return x + tf.reduce_mean(tf.boolean_mask(x, x > 0))


def distinct(x):
    levels = tf.cast(tf.reshape(x, [-1]), tf.int32)
    return x + tf.cast(tf.reduce_sum(tf.unique(levels)[0]), tf.float32)


def of_any_size(x):
    """A vector, not an image, of a length that data decide."""
    length = tf.cast(tf.reduce_max(x), tf.int32) % 5 + 1
    return x + tf.reduce_sum(tf.fill([length], 2.0))


def until_it_is_small(x):
    return tf.while_loop(lambda x: tf.reduce_max(x) > 1e9, lambda x: (x / 2,), (x,))[0]


def beyond_float16(x):
    return tf.minimum(tf.nn.conv2d(x, tf.eye(3)[None, None], 1, "SAME"), 1e5)


def along_the_rows():
    return layers.TimeDistributed(layers.LSTM(3, return_sequences=True, name="planted"))


FAULTS = {  # what is planted at the network's end: kind, and words of the line
    "prelu": (lambda: layers.PReLU(shared_axes=[1, 2], name="planted"), "layer", "PReLU of Keras"),
    "depthwise": (lambda: layers.DepthwiseConv2D(3, padding="same", name="planted"), "layer",
                  "DepthwiseConv2D of Keras"),
    "lambda": (lambda: layers.Lambda(lambda x: x * 2, name="planted"), "layer", "Lambda of Keras"),
    "float64": (layer_of(through_float64), "type", "float64"),
    "float64 in a loop": (layer_of(in_a_loop), "type", "float64"),
    "python": (layer_of(through_python), "operator", "PyFunc is not supported"),
    "einsum": (layer_of(lambda x: tf.einsum("nhwc,cd->nhwd", x, tf.eye(3))), "operator", "Einsum"),
    "unsupported": (layer_of(tf.math.lgamma), "operator", "Lgamma is not among"),
    "device": (layer_of(on_the_cpu), "device", "CPU:0"),
    "where": (layer_of(where_of_one), "shape", "of Where"),
    "boolean_mask": (layer_of(masked), "shape", "of Where"),
    "unique": (layer_of(distinct), "shape", "of Unique"),
    "a vector of any length": (layer_of(of_any_size), "shape", "shape (None,) is dynamic"),
    "a loop that data end": (layer_of(until_it_is_small), "loop", "data decide how often"),
    "a large constant": (layer_of(beyond_float16), "range", "100000 may be infinite in float16"),
    "lstm": (along_the_rows, "layer", "LSTM of Keras"),
    "epsilon": (layer_of(lambda x: x / (tf.sqrt(tf.reduce_sum(x * x)) + 1e-8)), "epsilon", "1e-08"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_layer_is_found(fault, monkeypatch, capsys):
    make, kind, words = FAULTS[fault]
    build = models.edsr.network.build

    def with_fault(scale, **options):
        model = build(scale, **options)
        return keras.Model(model.input, make()(model.output), name=model.name)

    with_fault.__signature__ = inspect.signature(build)
    monkeypatch.setattr(models.edsr.network, "build", with_fault)
    assert main(["--model", "edsr", "--mode", "train"]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if words in line]
    assert lines and all(line.startswith(f"edsr x2 train: {kind}: ") for line in lines)
    assert any("planted" in line for line in lines)


def model():
    image = keras.Input((None, None, 3))
    return keras.Model(image, layers.Conv2D(3, 3, padding="same", name="conv")(image))


def plain_step():
    return PixelStep(model(), keras.optimizers.SGD(0.1),
                     lambda sr, hr: tf.reduce_mean(tf.abs(sr - hr)))


OPTIONS = SimpleNamespace(scale=1, batch_size=2, patch_size=8, dataset="folder")


def found_in(step):
    return [(finding.kind, finding.name) for finding in check_step(step, OPTIONS, SUPPORT)[0]]


class Step:
    """What the loop calls: `call` of the function, the batch and how often that was before."""

    schedules = ()

    def __init__(self, function, call):
        self._function, self._call, self._count = function, call, 0

    def numbers(self, number, batch_size):
        return []

    def __call__(self, batch, rates, scale=None):
        self._count += 1
        return self._call(self._function, batch, self._count)


def difference(lr, hr, factor=1.0):
    return tf.reduce_mean(tf.cast(hr, tf.float32) - tf.cast(lr, tf.float32)) * factor


def test_a_plain_step_is_clean():
    assert found_in(plain_step()) == []
    assert found_in(Step(tf.function(difference), lambda f, batch, n: f(*batch))) == []


def test_a_python_number_that_changes_is_found():
    step = Step(tf.function(difference), lambda f, batch, n: f(*batch, factor=0.1 * n))
    assert found_in(step) == [("retracing", "_function")]
    step = Step(tf.function(difference), lambda f, batch, n: f(*batch, tf.constant(0.1 * n)))
    assert found_in(step) == []


def test_a_batch_of_any_size_is_found():
    anything = [tf.TensorSpec((None, 8, 8, 3), tf.uint8)] * 2
    step = Step(tf.function(difference, input_signature=anything),
                lambda f, batch, n: f(*batch))
    kinds = found_in(step)
    assert kinds and {kind for kind, _ in kinds} == {"shape"}
    step = plain_step()
    anything.append(tf.TensorSpec((1,), tf.float32))
    step._train = {None: tf.function(step._train[None].python_function, input_signature=anything)}
    assert {kind for kind, _ in found_in(step)} == {"shape"}


def test_a_step_that_is_not_compiled_is_found():
    step = Step(difference, lambda f, batch, n: f(*batch))
    assert found_in(step) == [("eager", "Cast"), ("eager", "Step")]


def test_eager_work_beside_the_compiled_step_is_found():
    count = tf.Variable(0.0)

    def call(function, batch, n):
        count.assign_add(1.0)
        return function(*batch)

    found, _ = check_step(Step(tf.function(difference), call), OPTIONS, SUPPORT)
    assert [finding.kind for finding in found] == ["eager"]
    assert "1 operations (AssignAddVariableOp) run outside" in found[0].problem


@pytest.mark.parametrize("dtype, function, found", [
    ("float16", lambda x: 1 / (x + 1e-5), True),
    ("float16", lambda x: 1 / (x + 1e-8), True),  # a constant of 0 in the graph
    ("float16", lambda x: 1 / (x + 1e-4), False),
    ("float32", lambda x: 1 / (tf.matmul(x, x) + 1e-4), False),
    ("float16", lambda x: x + 1e-5, False),  # nothing is divided by it
    ("float16", lambda x: tf.math.log(tf.maximum(x, 1e-7)), True),
    ("float16", lambda x: tf.sqrt(tf.maximum(x, 0)), False),
    ("float32", lambda x: 1 / (x + 1e-5), False),  # float32 from end to end
    ("float32", lambda x: tf.math.rsqrt(tf.matmul(x, x) + 1e-6), True),  # a product may be lowered
    ("float32", lambda x: tf.math.rsqrt(tf.cast(tf.cast(x, "float16") + 1e-6, "float32")), True)])
def test_small_epsilons_count_where_float16_may_be(dtype, function, found):
    graph = tf.function(function).get_concrete_function(tf.TensorSpec((4, 4), dtype)).graph
    kinds = {finding.kind for finding in check_graph(graph, SUPPORT)}
    assert kinds == ({"epsilon"} if found else set())


def found_in_function(function, *shape, dtype="float32"):
    graph = tf.function(function).get_concrete_function(tf.TensorSpec(shape, dtype)).graph
    return {finding.kind for finding in check_graph(graph, SUPPORT)}


@pytest.mark.parametrize("call", [
    tf.argmax, lambda x: tf.nn.top_k(x, 2), lambda x: tf.where(x > 0, x, 0),
    lambda x: tf.linalg.diag(x)])
def test_what_an_npu_has_is_no_fault(call):
    assert not found_in_function(call, 4, 4)


@pytest.mark.parametrize("function, found", [
    (lambda x: tf.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x * 2), (0, x))[1], False),
    (lambda x: tf.while_loop(lambda i, x: i < tf.shape(x)[0], lambda i, x: (i + 1, x * 2),
                             (0, x))[1], False),
    (lambda x: tf.while_loop(lambda i, x: i < 3, lambda i, x: (i + tf.cast(x[0], tf.int32), x),
                             (0, x))[1], True),
    (lambda x: tf.while_loop(lambda i, x: i < tf.cast(x[0], tf.int32), lambda i, x: (i + 1, x),
                             (0, x))[1], True),
    (lambda x: tf.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, tf.while_loop(
        lambda x: x[0] < 9, lambda x: (2 * x,), (x,))[0]), (0, x))[1], True)],
    ids=["counted", "by the shape", "the body sees data", "the bound is data", "an inner loop"])
def test_loops_that_data_end(function, found):
    assert found_in_function(function, 4) == ({"loop"} if found else set())


@pytest.mark.parametrize("dtype, function, found", [
    ("float16", lambda x: x * 7e4, True),  # infinite by then
    ("float16", lambda x: x * 6e4, False),
    ("float32", lambda x: x * 7e4, False),  # float32 from end to end
    ("float32", lambda x: tf.matmul(x, x) - 7e4, True),
    ("float32", lambda x: tf.where(tf.matmul(x, x) > 0, x, -np.inf), False)])
def test_constants_beyond_float16(dtype, function, found):
    assert found_in_function(function, 4, 4, dtype=dtype) == ({"range"} if found else set())


def test_a_dynamic_shape_is_told_where_it_begins():
    graph = tf.function(lambda x: tf.square(tf.boolean_mask(x, x > 0))).get_concrete_function(
        tf.TensorSpec((2, 2, 2), tf.float32)).graph
    assert [finding.problem for finding in check_graph(graph, SUPPORT)] == [
        "the values decide the shape (None, 1) of Where"]


def test_what_is_called_from_the_step_is_searched():
    inner = tf.function(tf.math.lgamma)
    graph = tf.function(lambda x: inner(x) + inner(2 * x)).get_concrete_function(
        tf.TensorSpec((2,), tf.float32)).graph
    assert [f.problem.split()[0] for f in check_graph(graph, SUPPORT)] == ["Lgamma"]


# ---- the list and the command -------------------------------------------------------------------

def test_canns_own_list_is_taken_where_it_is_installed(tmp_path, monkeypatch, capsys):
    path = tmp_path / "built-in" / "framework" / "tensorflow" / "npu_supported_ops.json"
    path.parent.mkdir(parents=True)
    known = {name: {"isGray": False, "isHeavy": False} for name in SUPPORT.ops - {"DepthToSpace"}}
    path.write_text(json.dumps(known))
    monkeypatch.setenv("ASCEND_OPP_PATH", str(tmp_path))
    assert main(["--model=edsr", "--mode=infer", "--scale=4"]) == 1
    out = capsys.readouterr().out
    assert "edsr x4 infer: operator: " in out
    assert f"DepthToSpace is not among the operators in {path}" in out
    path.write_text("{")
    with pytest.raises(UserError, match="npu_supported_ops.json is not a JSON"):
        read_support()


def test_the_list_has_what_its_sources_name():
    assert {"ArgMax", "Conv2D", "Conv2DBackpropFilter", "FusedBatchNormV3", "ResourceApplyAdam",
            "DepthToSpace", "ReadVariableOp", "_Retval", "StatefulPartitionedCall"} <= SUPPORT.ops
    assert {"Einsum", "EagerPyFunc", "DepthwiseConv2dNative"} <= set(SUPPORT.refused)
    assert not set(SUPPORT.refused) & SUPPORT.ops
    assert {"PReLU", "DepthwiseConv2D", "Lambda"} <= set(SUPPORT.layers)


def test_the_command_says_what_it_went_through(call, tmp_path):
    result = call(main, "--model", "edsr", "--scale", "3", "--num_blocks", "3", "--json",
                  tmp_path / "found.json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    train, infer = result.stdout.splitlines()
    assert train.startswith("edsr x3 train: nothing found in ")
    assert infer.startswith("edsr x3 infer: nothing found in ")
    rows = json.loads((tmp_path / "found.json").read_text())["results"]
    assert [(row["mode"], row["findings"]) for row in rows] == [("train", []), ("infer", [])]


def test_the_commands_exit_statuses(call, tmp_path, monkeypatch):
    monkeypatch.setattr(
        models.edsr.network, "residual_block",
        lambda x, *rest: keras.layers.PReLU(shared_axes=[1, 2], name=rest[-1])(x))
    result = call(main, "--model", "edsr", "--mode", "infer", cwd=tmp_path)
    assert result.returncode == 1, result.stderr
    assert [line.split(": ")[2] for line in result.stdout.splitlines()] == ["block0", "block1"]
    for flags, words in ((["--model", "esdr"], "did you mean 'edsr'"),
                         (["--model", "edsr", "--num_block", "3"], "--num_blocks"),
                         (["--model", "all", "--num_blocks", "3"], "is for one network"),
                         (["--model", "edsr", "--scale", "7"], "no scale 7"),
                         ([], "with --model")):
        result = call(main, *flags, cwd=tmp_path)
        assert (result.returncode, result.stdout) == (2, "")
        assert words in result.stderr and result.stderr.count("\n") == 1
