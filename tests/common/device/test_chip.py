"""What a chip asks of the code that runs on it; and that no other code knows a chip."""

import ast
import contextlib
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from common.device import chip, npu
from common.nn.keras_compat import function, tf
from common.training.gan_losses import GAN_LOSSES
from common.training.losses import l1
from models.srdrm.losses import srdrm_loss
from scripts.npu_check.graphs import operations

KEPT = tf.compat.v1.AttrValue(i=1)  # as the adapter marks an operation
COMMON = Path(npu.__file__).resolve().parents[1]


class Wrapped:
    def __init__(self, inner):
        self.inner = inner


@pytest.fixture
def opened(monkeypatch):
    """`opened(float16, saturates)`: an NPU is open; returns the calls of its adapter's scope."""
    def open_one(float16=True, saturates=False):
        calls = []

        @contextlib.contextmanager
        def keep_dtype_scope():
            calls.append("enter")
            with tf.compat.v1.get_default_graph()._attr_scope({"_keep_dtype": KEPT}):
                yield
            calls.append("leave")

        train = SimpleNamespace(optimizer=SimpleNamespace(NpuLossScaleOptimizer=Wrapped))
        adapter = SimpleNamespace(keep_dtype_scope=keep_dtype_scope, train=train,
                                  is_inf_nan_enabled=lambda: not saturates)
        monkeypatch.setattr(npu, "_opened", npu.Npu(adapter, None, 0, 0, 1, float16))
        return calls
    return open_one


def test_a_gpu_or_cpu_asks_nothing():
    gradients = [tf.constant(1.0)]
    assert not chip.fixed_shapes() and chip.all_computed(gradients) is gradients
    assert chip.with_loss_scaling("adam", "leader") == ("adam", "adam")
    assert chip.in_float32(lambda a, b: a + b)(1, b=2) == 3


def test_an_npu_does_not_cast_within_in_float32(opened):
    calls = opened()
    assert chip.fixed_shapes()
    assert chip.in_float32(lambda: calls.append("compute") or 5)() == 5
    assert calls == ["enter", "compute", "leave"]


@pytest.mark.parametrize("name", ["l1", "ragan", "srdrm"])
def test_the_gradient_of_a_loss_is_not_cast_either_and_that_of_the_network_is(opened, name):
    """The adapter's scope is an attribute of the operations that are made within."""
    loss = {"l1": l1, "srdrm": srdrm_loss,
            "ragan": lambda sr, hr: GAN_LOSSES["ragan"].discriminator(sr, hr, 1.0, 0.1)}[name]
    kernel, image = tf.ones([3, 3, 3, 3]), tf.random.stateless_uniform([2, 8, 8, 3], [1, 2])

    def learn(kernel, lr, hr):
        with tf.GradientTape() as tape:
            tape.watch(kernel)
            value = loss(tf.nn.conv2d(lr, kernel, 1, "SAME"), hr)
        return value, tape.gradient(value, kernel)

    plain = learn(kernel, image, 5 * image)
    opened()
    concrete = function(learn).get_concrete_function(kernel, image, 5 * image)
    for ours, theirs in zip(concrete(kernel, image, 5 * image), plain):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    kept = {op.type for op in operations(concrete.graph) if "_keep_dtype" in op.node_def.attr}
    cast = {op.type for op in operations(concrete.graph)} - kept
    assert {"Mean", "Mul"} <= kept
    assert {"Conv2D", "Conv2DBackpropFilter"} <= cast
    assert cast <= {"Conv2D", "Conv2DBackpropFilter", "Placeholder", "Const", "Identity",
                    "IdentityN", "Fill", "ShapeN"}, cast


@pytest.mark.parametrize("float16, saturates", [(True, False), (False, False), (False, True)])
def test_each_optimizer_scales_its_own_loss(opened, float16, saturates):
    opened(float16, saturates)
    optimizer, scaling = chip.with_loss_scaling("adam", "leader")
    assert scaling is optimizer
    assert (optimizer.inner if float16 else optimizer) == "adam"


def test_where_an_overflow_is_one_flag_the_second_optimizer_follows_the_first(opened):
    opened(saturates=True)
    leader, scaling = chip.with_loss_scaling("first")
    assert scaling is leader and leader.inner == "first"
    assert chip.with_loss_scaling("second", leader) == ("second", leader)
    assert [float(g) for g in chip.all_computed([tf.constant(1.0), tf.constant(2.0)])] == [1, 2]


def test_only_this_folder_and_the_options_of_training_know_a_chip():
    knowing = {str(path.relative_to(COMMON)) for path in COMMON.rglob("*.py")
               if re.search(r"(?<![iI])npu", path.read_text(encoding="utf-8"))}  # and not "input"
    assert {name for name in knowing if not name.startswith("device/")} <= {"training/options.py"}
    assert "device/npu.py" in knowing


def test_this_folder_imports_nothing_of_the_rooms_above():
    imported = {node.module for path in (COMMON / "device").glob("*.py")
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.ImportFrom) and node.module.startswith("common.")}
    assert {name for name in imported if not name.startswith("common.device")} == {
        "common.cli", "common.files", "common.nn.keras_compat", "common.python37"}
