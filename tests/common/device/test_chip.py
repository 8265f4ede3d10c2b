"""What a chip asks of the code that runs on it; and that no other code knows a chip."""

import ast
import contextlib
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from common.device import chip, npu
from common.nn.keras_compat import tf

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
        "common.cli", "common.files", "common.nn.keras_compat"}
