import pytest

from common.cli import UserError
from common.device.chip_options import OPTIONS
from common.modelzoo.flags import pairs, words
from common.modelzoo.standard_flags import as_options


def translated(*argv):
    return words(as_options(pairs(argv), "out"))


def test_at_their_inert_values_they_do_nothing():
    assert translated("--over_dump=False", "--data_dump_flag=0", "--data_dump_step=10",
                      "--data_dump_path=/d", "--profiling=False", "--profiling_dump_path=/p",
                      "--autotune=False", "--over_dump_path=/o", "--batch_size=4") == [
        "--batch_size=4"]


@pytest.mark.parametrize("argv, options", [
    (["--over_dump=True"], ["--npu_overflow_path=out/overflow_dump"]),
    (["--over_dump", "--over_dump_path=/o"], ["--npu_overflow_path=/o"]),
    (["--data_dump_flag=True"], ["--npu_dump_path=out/data_dump"]),
    (["--data_dump_flag=1", "--data_dump_path", "/d", "--data_dump_step=0|5"],
     ["--npu_dump_path=/d", "--npu_dump_step=0|5"]),
    (["--profiling=true", "--profiling_dump_path=/p"], ["--npu_profiling_path=/p"]),
    (["--autotune=True"], ["--aoe_mode=2"]), (["--autotune"], ["--aoe_mode=2"]),
])
def test_switched_on_they_are_options_of_the_adapter(argv, options):
    assert translated(*argv) == options
    assert all(option[2:].split("=")[0] in OPTIONS for option in options)


def test_a_switch_is_true_or_false():
    with pytest.raises(UserError, match="--profiling must be true or false, got 'maybe'"):
        translated("--profiling=maybe")
