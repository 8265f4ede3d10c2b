"""What scripts/start.py decides: which processes are started, with which flags and variables."""

import json
import os

import pytest

import models
from common.cli import UserError
from scripts import modelzoo_run, start

CM = {"CM_CHIEF_IP": "10.0.0.1", "CM_CHIEF_PORT": "6000", "CM_CHIEF_DEVICE": "0",
      "CM_WORKER_IP": "10.0.0.2", "CM_WORKER_SIZE": "2"}
RANKS = ("JOB_ID", "ASCEND_DEVICE_ID", "RANK_SIZE", "RANK_ID")


@pytest.fixture(autouse=True)
def nothing_here(monkeypatch, tmp_path):
    """A machine without devices, on which each stack has a Python."""
    for name in (*RANKS, "RANK_TABLE_FILE", "SERVER_INDEX", "DEVICES", "CUDA_VISIBLE_DEVICES", *CM):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SR_ZOO_NPU_DEVICES", f"{tmp_path}/davinci[0-9]*")
    monkeypatch.setenv("SR_ZOO_NVIDIA_TRACES", f"{tmp_path}/nvidiactl")
    monkeypatch.setattr(start, "zoo_python", lambda stack: f"/{stack}/python")
    monkeypatch.setattr(start, "find_python", lambda stack: "")
    monkeypatch.setattr(start, "load_cann", lambda: None)
    monkeypatch.setattr(start, "_output_dir", lambda command: "")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def npus(tmp_path):
    """`npus(2)`: the machine has two NPUs."""
    def devices(count):
        for i in range(count):
            (tmp_path / f"davinci{i}").touch()
    return devices


@pytest.fixture
def variables(monkeypatch):
    """`variables(RANK_SIZE=2)` sets them."""
    return lambda **values: [monkeypatch.setenv(k, str(v)) for k, v in values.items()]


@pytest.fixture
def table(tmp_path, variables):
    """`table([(0, 0), (1, 1)])`: a rank table of machines, each a list of (device, rank)."""
    def write(*machines):
        path = tmp_path / "table.json"
        path.write_text(json.dumps({"server_list": [{"device": [
            {"device_id": str(device), "rank_id": str(rank)} for device, rank in cards]}
            for cards in machines]}))
        variables(RANK_TABLE_FILE=path, RANK_SIZE=sum(map(len, machines)))
    return write


def ranks(child):
    return "-".join(child.environment.get(name, "") for name in RANKS)


# ---- run_1p.sh -----------------------------------------------------------------------------------

def test_on_one_device_the_demo_is_trained():
    child, = start.on_one("edsr", [])
    assert child.command == ["/main/python", "-m", "models.edsr.train", "--preset=demo"]
    assert ranks(child) == "10087-0-1-0" and child.environment["CUDA_VISIBLE_DEVICES"] == "0"


@pytest.mark.parametrize("flags", [
    ["--preset", "paper"], ["--preset=paper"], ["--config", "a.yaml"], ["--config=a.yaml"],
    ["-c", "a.yaml", "--scale", "4"], ["--config-file", "a.yaml"]])
def test_a_given_preset_or_config_replaces_the_demo(flags):
    assert start.on_one("edsr", flags)[0].command[3:] == flags


def test_what_the_caller_has_set_stays(variables):
    variables(RANK_SIZE="8", ASCEND_DEVICE_ID="3", CUDA_VISIBLE_DEVICES="2,3")
    child, = start.on_one("edsr", [])
    assert ranks(child) == "10087-3-8-0" and child.environment["CUDA_VISIBLE_DEVICES"] == "2,3"


def test_the_boot_form_of_modelarts(npus, capsys):
    words = ["code", "my data", "/cache/result", "obs://bucket/out"]
    flags = ["--preset=demo", "--data_dir=my data", "--output_dir=/cache/result", "--scale=3"]
    assert start.on_one("edsr", [*words, "--scale=3"])[0].command[3:] == flags
    assert "copying them to obs://bucket/out is the boot code's part" in capsys.readouterr().out
    npus(1)
    assert start.on_one("edsr", [*words, "--scale=3"])[0].command == [
        "/ascend/python", "-m", "models.edsr.train", "--chip=npu", *flags]


@pytest.mark.parametrize("words", [["code", "data", "result"], ["code"],
                                   ["code", "data", "--scale", "2", "x"]])
def test_half_a_boot_form_is_refused(words):
    with pytest.raises(UserError, match="takes CODE_DIR DATA_DIR RESULT_DIR OBS_URL"):
        start.on_one("edsr", words)


def test_an_npu_is_used_unless_another_chip_is_named(npus):
    npus(1)
    assert start.on_one("edsr", [])[0].command[0] == "/ascend/python"
    assert start.on_one("edsr", ["--chip", "cpu"])[0].command[0] == "/main/python"


# ---- run_npu.sh ----------------------------------------------------------------------------------

@pytest.mark.parametrize("starter", [start.on_npu, lambda *a: start.on_one("edsr", ["--chip=npu"])])
def test_without_an_npu_it_says_so(starter):
    with pytest.raises(UserError, match="no NPU here"):
        starter("edsr", [])


def test_each_process_of_a_rank_table_has_its_rank(npus, table, variables):
    npus(2)
    table([(0, 0), (1, 1)])
    with pytest.raises(UserError, match="RANK_ID is not set"):
        start.on_npu("edsr", [])
    variables(RANK_ID=1, ASCEND_DEVICE_ID=1)
    child, = start.on_npu("edsr", [])
    assert ranks(child) == "10087-1-2-1" and child.environment["TF_CPP_MIN_LOG_LEVEL"] == "0"


@pytest.mark.parametrize("more", [{}, {"RANK_SIZE": "2", "RANK_ID": "1"}])
def test_with_cm_neither_size_nor_rank_reach_the_adapter_which_refuses_them(npus, variables, more):
    npus(2)
    variables(ASCEND_DEVICE_ID="1", **CM, **more)
    child, = start.on_npu("edsr", [])
    assert ranks(child) == "10087-1--" and child.environment["CM_WORKER_SIZE"] == "2"


# ---- run_8p.sh -----------------------------------------------------------------------------------

def test_eight_are_the_rule_and_the_folder_is_the_models(npus, table, monkeypatch):
    npus(8)
    table([(i, i) for i in range(8)])
    monkeypatch.delenv("RANK_SIZE")
    children = start.on_eight("edsr", [])
    assert [ranks(child) for child in children] == [f"10087-{i}-8-{i}" for i in range(8)]
    assert str(children[7].log) == "output/edsr_8p/7/train_7.log"
    assert children[7].command[3:] == ["--chip=npu", "--preset=demo",
                                       "--output_dir=output/edsr_8p"]


def test_devices_and_ranks_are_the_tables(npus, table, variables):
    npus(2)
    table([(0, 0), (1, 3)], [(5, 2), (4, 1)])
    variables(SERVER_INDEX=1)
    children = start.on_eight("edsr", [])
    assert [ranks(child) for child in children] == ["10087-5-4-2", "10087-4-4-1"]
    assert [child.name for child in children] == ["device 5", "device 4"]


def test_with_cm_the_number_is_that_of_the_workers(npus, variables):
    npus(2)
    variables(**CM)
    assert [ranks(child) for child in start.on_eight("edsr", [])] == ["10087-0--", "10087-1--"]


def test_more_processes_than_devices_are_refused(npus, table):
    npus(2)
    table([(i, i) for i in range(8)])
    with pytest.raises(UserError, match="8 processes need as many NPUs, but this machine has 2"):
        start.on_eight("edsr", [])


def test_help_takes_one_process(npus, table):
    npus(2)
    table([(0, 0), (1, 1)])
    for flag in ("-h", "--help", "--print_config"):
        child, = start.on_eight("edsr", [flag])
        assert child.log is None and child.command[-1] == flag


def test_gpus_are_used_by_one_process(tmp_path, variables):
    (tmp_path / "nvidiactl").touch()
    variables(RANK_SIZE=8)
    child, = start.on_eight("edsr", ["--scale=3"])
    assert child.command == ["/main/python", "-m", "models.edsr.train", "--chip=gpu",
                             "--preset=demo", "--scale=3"]
    assert ranks(child) == "10087-0-1-0" and child.log is None
    assert "CUDA_VISIBLE_DEVICES" not in child.environment


@pytest.mark.parametrize("flags", [[], ["--chip=npu"], ["--chip", "gpu"], ["--chip=cpu"]])
def test_without_any_device_eight_are_refused(flags):
    with pytest.raises(UserError, match="no NPU and no GPU here"):
        start.on_eight("edsr", flags)


# ---- test/train_*.sh -----------------------------------------------------------------------------

@pytest.mark.parametrize("kind", ["full", "performance"])
@pytest.mark.parametrize("devices", ["1p", "8p"])
def test_without_data_path_nothing_is_started(kind, devices, capsys):
    with pytest.raises(SystemExit, match="1"):
        start.main([f"/zoo/models/edsr/test/train_{kind}_{devices}.sh", "--batch_size=4"])
    assert capsys.readouterr().out == '[Error] para "data_path" must be config\n'


@pytest.mark.parametrize("word", ["data", "--output_dir=x", "--output_path=", "-b"])
def test_what_is_no_flag_of_the_script(word, capsys):
    with pytest.raises(SystemExit, match="1"):
        start.main(["models/edsr/test/train_full_1p.sh", "--data_path=D", word])
    assert capsys.readouterr().out.startswith("[Error] ")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_names_the_flags_and_the_recipe(flag, capsys):
    assert start.main(["models/srdrm/test/train_full_8p.sh", flag]) == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: bash train_full_8p.sh --data_path=FOLDER")
    assert "the recipe is --preset=paper --batch_size=16 --scale_learning_rate=2" in text


@pytest.fixture
def started(monkeypatch):
    """The processes that a test script would have run, which all end well and write nothing."""
    children = []
    monkeypatch.setattr(start, "supervise", lambda given: children.extend(given) or 0)
    monkeypatch.setattr(modelzoo_run, "report_run", lambda *arguments: None)
    return children


def test_the_flags_become_those_of_the_training(started, variables, capsys):
    variables(ASCEND_DEVICE_ID=3)
    assert start.main(["models/edsr/test/train_full_1p.sh", "--data_path=D", "--train_epochs=7",
                       "--batch_size", "4", "--no_augment"]) == 0
    assert started[0].command[3:] == ["--data_dir=D", "--output_dir=output/edsr_1p_full",
                                      "--preset=modelzoo", "--epochs=7", "--batch_size=4",
                                      "--no_augment"]
    assert str(started[0].log) == "output/edsr_1p_full/3/train_3.log"
    assert "recipe: --preset=modelzoo\na CPU needs months for it" in capsys.readouterr().out


@pytest.mark.parametrize("flags, preset", [
    ([], ["--preset=demo"]), (["--preset=short"], ["--preset=short"]),
    (["--config", "a.yaml"], []), (["-c", "a.yaml"], [])])
def test_a_performance_run_is_short_and_starts_anew(started, flags, preset):
    start.main(["models/edsr/test/train_performance_1p.sh", "--data_path=D", *flags])
    words = started[0].command
    assert [word for word in words if word.startswith("--preset")] == preset
    assert "--resume=no" in words and "--train_steps=300" in words


@pytest.mark.parametrize("name, kind, devices, flags, words", [
    ("srdrm", "full", "8p", ["--batch_size=32"],
     ["--preset=paper", "--batch_size=16", "--scale_learning_rate=2"]),
    ("srdrm", "full", "8p", ["--preset=demo"], []),
    ("srdrm", "full", "1p", [], ["--preset=paper"]),
    ("srgan", "performance", "1p", ["--epochs=1"],
     ["--preset=coco", "--resume=no", "--log_every=10", "--val_images=2", "--stage=gan"]),
    ("edsr", "performance", "8p", ["--config=a.yaml"],
     ["--resume=no", "--log_every=10", "--val_images=2", "--train_steps=300"]),
])
def test_the_recipe_goes_before_the_callers_flags(name, kind, devices, flags, words):
    assert modelzoo_run.recipe_flags(models.model(name), kind, devices, "npu", flags) == words


def test_eight_without_devices_are_refused(started):
    with pytest.raises(UserError, match="no NPU and no GPU here"):
        start.main(["models/edsr/test/train_performance_8p.sh", "--data_path=D"])
    assert not started and not os.listdir()


@pytest.mark.parametrize("chip, told", [("npu", "train_0.log: compiled for the NPU: step"),
                                        ("cpu", "device used: stand-in, not an NPU")])
def test_the_report_names_the_device(tmp_path, capsys, chip, told):
    log = tmp_path / "0" / "train_0.log"
    log.parent.mkdir()
    log.write_text("==== started before ====\nI a.cpp] __inference_step_1 fully compiled on npu\n"
                   "==== started now ====\n"
                   "device: stand-in, precision float32 (as asked for)\n")
    (tmp_path / "summary.json").write_text(json.dumps(
        {"timing": {}, "seconds": 77.4, "images": [{"psnr": 30}, {"psnr": 31}]}))
    (tmp_path / "config.yaml").write_text("batch_size: 4\n")
    (tmp_path / "metrics.jsonl").write_text(json.dumps(
        {"step": 5, "loss": 0.5, "seconds_per_step": 0.25, "images_per_sec": 16.0}) + "\n")
    arguments = ("edsr", "full", chip, tmp_path, [log], 0)
    if chip == "npu":  # the line of an earlier start does not count
        modelzoo_run.report_run(*arguments)
        assert "notice: no line in" in capsys.readouterr().out
        log.write_text(log.read_text() + "I a.cpp] __inference_step_2 fully compiled on npu")
    modelzoo_run.report_run(*arguments)
    text = capsys.readouterr().out
    assert told in text and "Final Train Accuracy : 30.500" in text
    assert "CaseName = edsr_bs4_1p_acc" in (tmp_path / "0" / "edsr_bs4_1p_acc.log").read_text()
