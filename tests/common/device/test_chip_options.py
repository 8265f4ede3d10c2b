"""Options of an NPU, checked before a device opens."""

import json

import pytest

from common.cli import UserError
from common.device import chip_options


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "list.json"
    path.write_text('{"black-list": {"to-add": ["ReduceSumD"]}}')
    return path


def refused(options, **kwargs):
    with pytest.raises(UserError) as caught:
        chip_options.check_options(options, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("options, words", [
    ({"precision_mode": "mixed"}, "--precision_mode mixed: choose one of force_fp32"),
    ({"precision_mode_v2": "fp32"}, "--precision_mode_v2 fp32"),
    ({"precision_mode": "force_fp32", "precision_mode_v2": "origin"}, "exclude each other"),
    ({"precison_mode": "force_fp32"}, "did you mean 'precision_mode'?"),
    ({"aoe_mode": "3"}, "choose one of 1, 2, 4"),
    ({"op_compiler_cache_mode": "on"}, "choose one of enable, disable, force"),
    ({"modify_mixlist": "none.json"}, "no such file none.json"),
    ({"fusion_switch_file": "none.cfg"}, "no such file none.cfg"),
    ({"auto_tune_mode": "RL,GA"}, "--aoe_mode"),
    ({"graph_memory_max_size": "0"}, "leave it out"),
    ({"variable_memory_max_size": "0"}, "leave it out"),
    ({"op_select_implmode": "high_precision"}, "--op_precision_mode FILE"),
    ({"dynamic_input": True}, "shapes are static"),
])
def test_what_the_adapter_would_not_take_is_named(options, words):
    assert words in refused(options)


def test_a_list_that_is_no_json_is_named(file):
    file.write_text("{black-list: ")
    assert "is not JSON" in refused({"modify_mixlist": str(file)})


def test_modes_of_inference_are_not_for_training():
    assert "train with allow_mix_precision" in refused({"precision_mode": "force_fp16"},
                                                       training=True)
    only = {"precision_mode": "force_fp16"}
    assert chip_options.check_options(only) == only


def test_options_as_the_adapter_names_them(file, tmp_path):
    given = chip_options.check_options({
        "precision_mode": None, "modify_mixlist": str(file), "npu_dump_path": str(tmp_path / "d"),
        "npu_dump_step": "0|5|10-15", "npu_dump_mode": "all",
        "npu_profiling_path": str(tmp_path / "p"), "aoe_mode": "2", "deterministic": True,
        "op_compiler_cache_dir": str(tmp_path / "c")}, training=True)
    assert all((tmp_path / name).is_dir() for name in "dpc")
    values = chip_options.global_options(chip_options.with_precision(given))
    profiling = json.loads(values.pop("profiling_config.profiling_options"))
    assert profiling["output"] == str(tmp_path / "p") and profiling["training_trace"] == "on"
    assert values == {
        "modify_mixlist": str(file), "dump_config.enable_dump": True,
        "dump_config.dump_path": str(tmp_path / "d"), "profiling_config.enable_profiling": True,
        "dump_config.dump_step": "0|5|10-15", "dump_config.dump_mode": "all",
        "aoe_config.aoe_mode": "2", "deterministic": 1,
        "op_compiler_cache_dir": str(tmp_path / "c"), "precision_mode": "allow_mix_precision"}
    session = chip_options.session_parameters(given)
    assert session["enable_dump"] and session["dump_path"] == str(tmp_path / "d")
    assert session["profiling_mode"] is True and session["aoe_mode"] == "2"


def test_overflow_is_dumped_by_itself(tmp_path):
    given = chip_options.check_options({"npu_overflow_path": str(tmp_path / "o")})
    assert chip_options.global_options(given) == {
        "dump_config.enable_dump_debug": True, "dump_config.dump_debug_mode": "all",
        "dump_config.dump_path": str(tmp_path / "o")}
    assert "exclude each other" in refused({"npu_dump_path": str(tmp_path), **given})
    assert "needs --npu_dump_path" in refused({"npu_dump_step": "5"})
    assert "0|5|10-15" in refused({"npu_dump_path": str(tmp_path), "npu_dump_step": "5,6"})


@pytest.mark.parametrize("precision, mode, float16", [
    ("auto", "allow_mix_precision", True), ("float32", "must_keep_origin_dtype", False),
    ("mixed_float16", "allow_mix_precision", True),
    ("mixed_bfloat16", "allow_mix_precision_bf16", False)])
def test_precisions_of_the_zoo_are_modes(precision, mode, float16):
    options = chip_options.with_precision({}, precision)
    assert options == {"precision_mode": mode} and chip_options.uses_float16(options) == float16


def test_a_mode_and_a_precision_exclude_each_other():
    given = {"precision_mode_v2": "origin"}
    assert chip_options.with_precision(given) == given
    with pytest.raises(UserError, match="exclude each other"):
        chip_options.with_precision(given, "float32")


@pytest.mark.parametrize("options, precision, named", [
    ({}, "float32", "must_keep_origin_dtype"), ({"precision_mode_v2": "origin"}, "auto", "origin"),
    ({"precision_mode": "cube_fp16in_fp32out"}, "auto", "cube_fp16in_fp32out")])
def test_a_mixlist_goes_with_mixed_precision_alone(file, options, precision, named):
    given = chip_options.check_options({"modify_mixlist": str(file), **options})
    with pytest.raises(UserError, match=f"--modify_mixlist needs mixed .*{named} is not"):
        chip_options.with_precision(given, precision)


def test_a_mixlist_with_each_mixed_precision(file):
    given = chip_options.check_options({"modify_mixlist": str(file)})
    for precision in ("auto", "mixed_float16", "mixed_bfloat16"):
        assert chip_options.with_precision(given, precision)["modify_mixlist"] == str(file)
    for mode in ("mixed_float16", "mixed_bfloat16", "mixed_hif8"):
        assert chip_options.with_precision({**given, "precision_mode_v2": mode})
