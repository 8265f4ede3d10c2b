import pytest

from common.cli import UserError
from common.nn.keras_compat import tf
from common.training.checkpoints import Checkpoints, find_checkpoint


@pytest.fixture
def weight():
    return tf.Variable([1.0, 2.0])


def test_the_last_few_and_the_best_are_kept(tmp_path, weight):
    saved = Checkpoints(tmp_path, {"weight": weight}, keep=2)
    for step in (1, 2, 3, 4):
        weight.assign([step, step])
        if step == 2:
            saved.save_best(step, 33.5)
        saved.save(step)
    assert {p.name for p in tmp_path.glob("step-*.index")} == {"step-3.index", "step-4.index"}
    assert [p.name for p in (tmp_path / "best").glob("*.index")] == ["step-2.index"]
    other = tf.Variable([0.0, 0.0])
    again = Checkpoints(tmp_path, {"weight": other})
    assert again.restore_latest() == 4
    assert other.numpy().tolist() == [4, 4] and float(again.best.numpy()) == 33.5
    assert again.restore(tmp_path / "best") == 2 and other.numpy().tolist() == [2, 2]


def test_a_damaged_checkpoint_is_passed_over(tmp_path, weight):
    saved = Checkpoints(tmp_path, {"weight": weight})
    saved.save(1)
    weight.assign([9.0, 9.0])
    saved.save(2)
    data = tmp_path / "step-2.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:10])
    weight.assign([0.0, 0.0])
    assert Checkpoints(tmp_path, {"weight": weight}).restore_latest() == 1
    assert weight.numpy().tolist() == [1, 2]


def test_nothing_to_restore_is_step_0(tmp_path, weight):
    assert Checkpoints(tmp_path, {"weight": weight}).restore_latest() == 0


def test_a_checkpoint_of_another_network_is_refused(tmp_path, weight):
    Checkpoints(tmp_path, {"weight": weight}).save(1)
    with pytest.raises(UserError, match="another network"):
        Checkpoints(tmp_path, {"weight": tf.Variable([1.0, 2.0, 3.0])}).restore(tmp_path)


def test_a_checkpoint_can_be_named_in_several_ways(tmp_path, weight):
    folder = tmp_path / "run" / "checkpoints"
    Checkpoints(folder, {"weight": weight}).save(7)
    for name in (tmp_path / "run", folder, folder / "step-7", folder / "step-7.index"):
        assert find_checkpoint(name) == str(folder / "step-7")
    with pytest.raises(UserError, match="no checkpoint"):
        find_checkpoint(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="--load"):
        find_checkpoint(tmp_path / "edsr_x2.h5")
