"""Variables on the stand-in for an NPU, made, written, saved and read many at a time."""

import pytest

CODE = """
from common.device import npu
npu.open_npu({"precision_mode": "must_keep_origin_dtype"})
from common.device.chip import at_once
from common.nn.keras_compat import keras, tf

with at_once():
    model = keras.Sequential([keras.layers.Dense(2, input_shape=(3,))])
    number = tf.Variable(1, dtype=tf.int64, trainable=False, name="number")
    number.assign(5)
    assert int(number.numpy()) == 5
    try:
        number.assign([1, 2])
        raise AssertionError("a wrong shape was assigned")
    except ValueError:
        pass
variables = [*model.variables, number]
assert [v.name for v in variables] == ["dense/kernel:0", "dense/bias:0", "number:0"]
assert [v.trainable for v in variables] == [True, True, False]
read = tf.function(lambda: [tf.identity(v) for v in variables])
before = [value.numpy() for value in read()]
assert abs(before[0]).min() > 0 and before[2] == 5

checkpoint = tf.train.Checkpoint(model=model, number=number)
with at_once(variables, read):
    checkpoint.write("saved")
    weights = model.get_weights()
assert all((a == b).all() for a, b in zip(weights, before))
with at_once():
    model.set_weights([0 * array for array in weights])
    number.assign(7)
assert [float(tf.reduce_sum(value)) for value in read()] == [0, 0, 7]
with at_once():
    checkpoint.read("saved").assert_existing_objects_matched()
assert all((a == b.numpy()).all() for a, b in zip(before, read()))

lines = open("operations").read().splitlines()
assert not [line for line in lines if line.startswith("graph")], lines
assert lines.count("function write") == 3, lines
number.assign(8)
assert int(number.numpy()) == 8
"""


@pytest.mark.stack("ascend")
@pytest.mark.process
def test_no_operation_runs_for_each_variable(forked):
    (status, said), = forked([(CODE, {"NPU_STANDIN_OPERATIONS": "operations"})])
    assert status == 0, said
