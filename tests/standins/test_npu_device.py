"""The stand-ins for the Ascend adapter against its published interface.

Signatures and errors are those of github.com/hicann/tensorflow, commit 82957b92 of July 2026. They
run in processes of their own, since they change TensorFlow.
"""

import ast
import json
from pathlib import Path

import pytest

from common.device import chip_options
from common.nn.keras_compat import IS_KERAS_3

STANDINS = Path(__file__).parent
ascend = pytest.mark.stack("ascend")  # npu_device exists for TensorFlow 2.6.5 alone

# Module of the stand-in, name, and arguments as published.
SIGNATURES = [
    ("device", "open", "device_id=None"),
    ("device", "global_options", ""),
    ("device", "set_npu_loop_size", "loop_size"),
    ("device", "set_device_sat_mode", "mode"),
    ("device", "is_inf_nan_enabled", ""),
    ("device", "keep_dtype_scope", ""),
    ("device", "npu_compat_function", "func=None, *args, **kwargs"),
    ("device", "NpuDeviceHandle.__init__",
     "self, ctx, device_id, device_options, workers_num, worker_id"),
    ("device", "NpuDeviceHandle.as_default", "self"),
    ("device", "NpuDeviceHandle.is_cluster_worker", "self"),
    ("device", "NpuDeviceHandle.name", "self"),
    ("device", "NpuDeviceHandle.scope", "self"),
    ("distribute", "all_reduce",
     "values, reduction='mean', fusion=1, fusion_id=-1, group='hccl_world_group'"),
    ("distribute", "broadcast",
     "values, root_rank=0, fusion=2, fusion_id=0, group='hccl_world_group'"),
    ("distribute", "shard_and_rebatch_dataset", "dataset, global_bs"),
    ("distribute", "npu_distributed_keras_optimizer_wrapper",
     "optimizer, reduce_reduction='mean', fusion=1, fusion_id=-1, group='hccl_world_group'"),
    ("compat", "enable_v1", ""),
    ("train/optimizer", "NpuLossScaleOptimizer.__init__",
     "self, inner_optimizer, dynamic=True, initial_scale=None, dynamic_growth_steps=None"),
    ("train/optimizer", "NpuLossScaleOptimizer.apply_gradients",
     "self, grads_and_vars, name=None"),
]
# What the adapter's configs have, with the default and the values of those that have some.
PUBLISHED = {
    "precision_mode": (None, set(chip_options.PRECISION_MODES)),
    "precision_mode_v2": (None, set(chip_options.PRECISION_MODES_V2)),
    "op_compiler_cache_mode": ("enable", set(chip_options.CACHE_MODES)),
    "aoe_config.aoe_mode": (None, set(chip_options.AOE_MODES)),
    "deterministic": (0, {0, 1}),
    "dump_config.enable_dump": (False, {True, False}),
    "profiling_config.enable_profiling": (False, {True, False}),
    "dump_config.dump_path": (None, None),
    "dump_config.dump_step": (None, None),
    "dump_config.dump_mode": ("output", set(chip_options.DUMP_MODES)),
    "dump_config.enable_dump_debug": (False, {True, False}),
    "dump_config.dump_debug_mode": ("all", {"aicore_overflow", "atomic_overflow", "all"}),
    "modify_mixlist": (None, None),
    "fusion_switch_file": (None, None),
    "op_precision_mode": (None, None),
    "op_compiler_cache_dir": (None, None),
    "graph_memory_max_size": (None, None),
    "experimental.logical_device_deploy_config.logical_device_cluster_deploy_mode":
        ("LB", {"LB", "SINGLE"}),
    "experimental.graph_memory_optimize_config.recompute": (None, {"auto", "manual"}),
    "experimental.multi_branches_config.dynamic_node_type": (None, {"0"}),
    "experimental.model_deploy_config.model_deploy_devicelist": (None, None),
    "experimental.enable_graph_parallel": (False, {True, False}),
}
PROFILING = {"output": "./", "training_trace": "on", "task_time": "on", "hccl": "on",
             "aicpu": "on", "aic_metrics": "PipeUtilization", "msproftx": "off"}


@pytest.mark.parametrize("module, name, arguments", SIGNATURES)
def test_signatures_are_the_published_ones(module, name, arguments):
    tree = ast.parse((STANDINS / "npu_device" / f"{module}.py").read_text())
    for part in name.split("."):
        tree = next(node for node in tree.body if getattr(node, "name", None) == part)
    assert ast.unparse(tree.args) == ast.unparse(
        ast.parse(f"def f({arguments}): pass").body[0].args)


def test_options_are_the_published_ones():
    table = ast.parse((STANDINS / "npu_device" / "options.py").read_text()).body
    names = {}
    exec(compile(ast.Module(table, []), "options", "exec"), names)  # it needs no TensorFlow
    for dotted, (default, values) in PUBLISHED.items():
        entry = names["OPTIONS"]
        for part in dotted.split("."):
            entry = entry[part]
        assert entry[0] == default and (values is None or set(entry[1]) == values), dotted
    assert "auto_tune_mode" not in names["OPTIONS"]
    assert json.loads(names["OPTIONS"]["profiling_config"]["profiling_options"][0]) == PROFILING


def finished(results):
    """The outputs of processes that went well."""
    assert [status for status, _ in results] == len(results) * [0], results
    return [output for _, output in results]


OPTIONS = """
import npu_device as npu
import tensorflow as tf

def fails(kind, call, *arguments):
    try:
        call(*arguments)
    except kind as error:
        return str(error)
    raise AssertionError(f"{call} {arguments} did not fail")

options = npu.global_options()
assert "auto_tune_mode" in fails(ValueError, setattr, options, "auto_tune_mode", "RL,GA")
assert "allow_mix" in fails(ValueError, setattr, options, "precision_mode", "mixed")
fails(TypeError, setattr, options, "op_compiler_cache_mode", 3)
fails(ValueError, setattr, options.aoe_config, "aoe_mode", "3")
options.precision_mode = "allow_mix_precision"
assert npu.distribute.all_reduce([tf.constant(2.0)], "sum")[0] == 2.0
handle = npu.open()
assert handle.as_default() is handle and handle.name().endswith("NPU:1")
assert (handle.workers_num, handle.worker_id, handle.is_cluster_worker()) == (1, 0, False)
fails(RuntimeError, setattr, options, "precision_mode", "force_fp16")
fails(RuntimeError, npu.open, 1)
function = tf.function(lambda x: x, jit_compile=True)
assert not function._jit_compile
assert npu.distribute.shard_and_rebatch_dataset(7, 8) == (7, 8)

optimizer = npu.train.optimizer.NpuLossScaleOptimizer(tf.keras.optimizers.SGD(1.0))
assert isinstance(optimizer, tf.keras.mixed_precision.LossScaleOptimizer)
variable, scale = tf.Variable(1.0), float(optimizer.loss_scale)
for gradient, value, factor in ((0.5, 0.5, 1), (float("inf"), 0.5, 0.5)):
    tf.function(lambda g: optimizer.apply_gradients([(g, variable)]))(tf.constant(gradient))
    assert float(variable) == value and float(optimizer.loss_scale) == factor * scale
    assert bool(optimizer.last_step_finite) == (factor == 1)
fails(TypeError, lambda: optimizer.apply_gradients([], experimental_aggregate_gradients=False))
"""


@ascend
def test_options_device_and_loss_scaling(forked, tmp_path):
    finished(forked([(OPTIONS, {"ASCEND_DEVICE_ID": "1", "NPU_STANDIN_RECORD": "calls"})]))
    calls = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    assert [call["call"] for call in calls] == ["open", "as_default", "NpuLossScaleOptimizer"]
    assert calls[0]["options"] == {"precision_mode": "allow_mix_precision"}
    assert calls[0]["tensorflow_was_used"]  # by the constant before


OPERATIONS = """
import npu_device as npu
import tensorflow as tf
from tensorflow.python.eager import context

npu.open().as_default()
with tf.device("CPU:0"):
    variable = tf.Variable(3.0)

@tf.function
def double(x):
    with npu.keep_dtype_scope():
        y = x * variable
    return y + 1.0

double(variable.read_value())
with context.device("CPU:0"):
    tf.constant(1.0) + 2.0
variable.assign(tf.constant(2.0) + 1.0)
made = {op.type: op for op in double.get_concrete_function(tf.constant(1.0)).graph.get_operations()}
assert made["Mul"].get_attr("_keep_dtype") == 1
assert "_keep_dtype" not in made["AddV2"].node_def.attr
"""


@ascend
def test_operations_outside_functions_are_noted_whatever_tf_device_says(forked, tmp_path):
    finished(forked([(OPERATIONS, {"NPU_STANDIN_OPERATIONS": "operations"})]))
    lines = (tmp_path / "operations").read_text().splitlines()
    assert lines.index("function double") > lines.index("graph ReadVariableOp")
    assert [line for line in lines if line.startswith("graph")] == [
        "graph AssignVariableOp", "graph ReadVariableOp", "graph AssignVariableOp"]
    assert lines.count("operation AddV2") == 1  # that on the CPU is not the adapter's


CLUSTER = """
import os
import npu_device as npu
import tensorflow as tf

handle = npu.open().as_default()
rank = handle.worker_id
assert handle.workers_num == 2 and rank == int(os.environ["RANK_ID"])
one, two = tf.constant([1.0, 2.0]) + rank, tf.constant(rank)
step = tf.function(lambda a, b: (npu.distribute.all_reduce([a, b], "sum"),
                                 npu.distribute.all_reduce(a)))
for _ in range(2):
    (total, ranks), mean = step(one, two)
assert total.numpy().tolist() == [3.0, 5.0] and int(ranks) == 1
assert mean.numpy().tolist() == [1.5, 2.5]
variable = tf.Variable([rank, 7], dtype=tf.int64)
npu.distribute.broadcast([variable], root_rank=1)
assert variable.numpy().tolist() == [1, 7]
for call, value in ((npu.distribute.all_reduce, tf.constant(1, tf.int64)),
                    (npu.distribute.broadcast, tf.Variable(1.0, dtype=tf.float64))):
    try:
        call(value)
        raise AssertionError(f"{value.dtype} went through")
    except TypeError:
        pass
dataset, size = npu.distribute.shard_and_rebatch_dataset(tf.data.Dataset.range(4), 8)
assert (size, [int(x) for x in dataset]) == (4, [rank, rank + 2])
"""


@ascend
def test_collectives_exchange_values(forked, tmp_path, rank_table):
    finished(forked([(CLUSTER, {"NPU_STANDIN_RECORD": "calls", **rank_table(2, rank)})
                     for rank in range(2)]))
    calls = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    for rank in range(2):
        mine = [(call["call"], call.get("reduction"), call.get("values"))
                for call in calls if call["rank"] == rank][2:]
        assert mine == 2 * [("all_reduce", "sum", 2), ("all_reduce", "mean", 1)] + [
            ("broadcast", None, 1)]


@ascend
def test_a_cluster_that_is_not_described_does_not_open(forked, rank_table):
    code = ("import npu_device as npu\ntry:\n    npu.open()\n"
            "except (RuntimeError, ValueError) as error:\n    print(error)")
    table, cases = rank_table(2, 0), {
        "all not be configured": {"RANK_TABLE_FILE": None}, "rank id": {"RANK_ID": None},
        "same time": {"CM_CHIEF_IP": "a"}, "RANK_SIZE and CM_WORK_SIZE": {"CM_WORKER_SIZE": "2"},
        "Failed open npu device 0": {"NPU_STANDIN_DEVICES": "0"}}
    outputs = finished(forked([
        (code, {key: value for key, value in {**table, **change}.items() if value is not None})
        for change in cases.values()]))
    for words, output in zip(cases, outputs):
        assert words in output


BRIDGE = """
import tensorflow.compat.v1 as tf
from npu_bridge.npu_init import npu_config_proto
rewrite = npu_config_proto().graph_options.rewrite_options
assert [o.name for o in rewrite.custom_optimizers] == ["NpuOptimizer"]
tf.disable_v2_behavior()
config = tf.ConfigProto()
with tf.Session(config=config) as session:
    assert session._config.graph_options.rewrite_options.custom_optimizers
"""


def test_npu_bridge_changes_sessions_and_npu_device_loads_on_its_tensorflow_alone(
        forked, tmp_path):
    bridge, device = forked([(BRIDGE, {"NPU_STANDIN_RECORD": "calls"}), ("import npu_device", {})])
    finished([bridge])
    assert (tmp_path / "calls").read_text() == '{"call": "npu_init"}\n'
    assert ("built for TensorFlow 2.6.5" in device[1]) == (device[0] == 1) == IS_KERAS_3
