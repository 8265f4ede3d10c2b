import pytest

from common.cli import UserError
from common.modelzoo.flags import boolean, has, pairs, value_of, words

SHORT = {"-c": "--config"}


def test_flags_and_their_values():
    argv = ["--a", "1", "--b=2=3", "--c", "--d", "-1", "word", "-c", "f", "-cg", "-c=h"]
    assert pairs(argv, SHORT) == [
        ("--a", "1"), ("--b", "2=3"), ("--c", None), ("--d", "-1"), (None, "word"),
        ("--config", "f"), ("--config", "g"), ("--config", "h")]
    assert words(pairs(["--a", "1", "--c", "x y"])) == ["--a=1", "--c=x y"]
    assert pairs(["--o", "a", "b", "--c"], lists=("--o",)) == [
        ("--o", "a"), ("--o", "b"), ("--c", None)]


@pytest.mark.parametrize("argv, value", [
    ([], None), (["--chips", "x"], None), (["--chip"], ""), (["--chip="], ""),
    (["--chip", "npu"], "npu"), (["--chip=cpu", "--chip", "npu"], "npu"),
    (["--chip", "npu", "--chip=cpu", "--x", "1"], "cpu"), (["--chip", "--x"], "")])
def test_the_last_value_counts(argv, value):
    assert value_of(argv, "--chip") == value


def test_a_short_flag_stands_for_a_long_one():
    assert value_of(["-c", "a.yaml"], "--config", SHORT) == "a.yaml"
    assert has(["--no_augment", "-c", "a"], "--preset", "--config", short=SHORT)
    assert has(["--print_config=skip"], "--help", "--print_config")
    assert not has(["--out", "word", "preset"], "--preset")


@pytest.mark.parametrize("value, truth", [(None, True), ("True", True), ("no", False)])
def test_a_truth_value(value, truth):
    assert boolean("--x", value) is truth
    with pytest.raises(UserError, match="--x must be true or false, got 'maybe'"):
        boolean("--x", "maybe")
