"""The scripts in the models' folders that ModelZoo's users know, and what stands behind them."""

import importlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from PIL import Image
from skimage import data

import models
from models.srgan import train as srgan_train
from scripts import modelzoo_run

from .conftest import ROOT, STARTS, Checkout

MODELS = sorted(path.parent.name for path in ROOT.glob("models/*/network.py"))
KINDS = ["train_full_1p.sh", "train_full_8p.sh", "train_performance_1p.sh",
         "train_performance_8p.sh"]
FOLDERS = ("common", "models", "scripts")
# What the adapter logs of a training function (npu_device.cpp).
ADAPTER = "I npu_device.cpp:412] __inference_distributed_step_345 fully compiled on npu"


def finals(text):
    """The final lines as a dict."""
    return dict(re.findall(r"^(Final .*|E2E .*) : (\S+)$", text, re.MULTILINE))


def case_log(folder):
    """The `<CaseName>.log` beside the training's log, as a dict, and its losses."""
    path, = set(folder.glob("*p_*.log")) - set(folder.glob("train_*.log"))
    values = dict(line.split(" = ", 1) for line in path.read_text().splitlines())
    assert path.name == f"{values['CaseName']}.log"
    losses = (folder / f"train_{values['CaseName']}_loss.txt").read_text().split()
    return values, [float(loss) for loss in losses]


# ---- the thin scripts ----------------------------------------------------------------------------

STUBS = ["scripts/run_1p.sh", "scripts/run_8p.sh", "scripts/run_npu.sh",
         *(f"test/{name}" for name in KINDS)]


@pytest.mark.parametrize("name", STUBS)
def test_a_script_is_the_same_file_for_every_model(name):
    paths = [ROOT / "models" / model / name for model in MODELS]
    assert len({path.read_bytes() for path in paths}) == 1
    assert all(os.access(str(path), os.X_OK) for path in paths)


@pytest.mark.stack("main")
@pytest.mark.process
@pytest.mark.parametrize("name", STUBS)
def test_a_script_hands_its_path_and_its_flags_to_the_shared_one(name, tmp_path):
    folder = tmp_path / "a zoo" / "models" / "edsr"
    shutil.copytree(str(ROOT / "models" / "edsr"), str(folder),
                    ignore=shutil.ignore_patterns("*.h5", "__pycache__"))
    (tmp_path / "a zoo" / "scripts").mkdir()
    (tmp_path / "a zoo" / "scripts" / "start.sh").write_text(
        'script="$1"; shift; printf "%s\\n" "$(realpath "$script")" "$@"\nexit 5\n')
    for cwd, script in ((tmp_path, folder / name), (folder, name), (folder.parent, f"edsr/{name}")):
        result = subprocess.run(["bash", str(script), "--key=a b", "*"], cwd=str(cwd), text=True,
                                capture_output=True)
        assert (result.returncode, result.stderr) == (5, "")
        assert result.stdout.splitlines() == [str(folder / name), "--key=a b", "*"]


@pytest.mark.parametrize("name", MODELS)
def test_eight_devices_have_equal_shares_of_the_batch(name, capsys):
    model = models.model(name)
    train = importlib.import_module(f"{model.package}.train")
    with pytest.raises(SystemExit) as end:
        train.main([f"--preset={model.preset}", *model.eight, "--print_config"])
    options = yaml.safe_load(capsys.readouterr().out)
    assert not end.value.code and options["batch_size"] % 8 == 0
    assert options["scale_learning_rate"] == (2 if name == "srdrm" else 0)


@pytest.mark.parametrize("model", MODELS)
def test_each_model_says_how_far_it_is(model):
    lines = (ROOT / "models" / model / "modelzoo_level.txt").read_text().splitlines()
    values = dict(line.split(":") for line in lines)
    assert list(values) == ["FuncStatus", "PrecisionStatus", "PerfStatus", "GPUStatus",
                            "NPUMigrationStatus", "AutoTune"]
    assert set(values.values()) <= {"OK", "POK", "NOK", "PERFECT"}


# ---- trainings on the CPU ------------------------------------------------------------------------

@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """A copy of the zoo that runs with the Python of the tests."""
    copy = Checkout(tmp_path_factory.mktemp("zoo") / "a check out", FOLDERS)
    copy.python('exec "$REAL" "$@"\n')
    return copy


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of three photographs."""
    folder = tmp_path_factory.mktemp("photos") / "my photos"
    folder.mkdir()
    for i, picture in enumerate((data.astronaut(), data.chelsea(), data.coffee())):
        Image.fromarray(picture[100:200, 100:220]).save(str(folder / f"{i}.png"))
    return folder


TINY = ("--train_steps=21", "--batch_size", "2", "--num_blocks=1", "--num_filters=8",
        "--patch_size=16")


def check_report(run, model, printed):
    """The final lines, the case's log and its losses are what the run itself has written."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    summary = json.loads((run / "summary.json").read_text())
    assert rows[-1]["step"] == summary["steps"] == 21
    speed = [row for row in rows if "seconds_per_step" in row][-1]
    losses = [row["loss"] for row in rows if "loss" in row]
    psnr = sum(row["psnr"] for row in summary["images"]) / len(summary["images"])

    last = finals(printed)
    assert list(last) == ["Final Performance images/sec", "Final Performance sec/step",
                          "E2E Training Duration sec", "Final Train Accuracy"]
    fps, seconds = (float(last[f"Final Performance {unit}"]) for unit in ("images/sec", "sec/step"))
    assert fps == pytest.approx(speed["images_per_sec"], rel=1e-5)
    assert seconds == pytest.approx(speed["seconds_per_step"], rel=1e-5)
    assert fps * seconds == pytest.approx(2, rel=1e-4)  # the batch
    assert float(last["Final Train Accuracy"]) == pytest.approx(psnr, abs=6e-4)
    assert -1 <= int(last["E2E Training Duration sec"]) - summary["seconds"] < 60

    values, written = case_log(run / "0")
    assert values == {
        "Network": model, "RankSize": "1", "BatchSize": "2", "DeviceType": platform.machine(),
        "CaseName": f"{model}_bs2_1p_perf", "ActualFPS": last["Final Performance images/sec"],
        "TrainingTime": last["Final Performance sec/step"],
        "TrainAccuracy": last["Final Train Accuracy"], "ActualLoss": format(losses[-1], ".6g"),
        "E2ETrainingTime": last["E2E Training Duration sec"],
    }
    assert written == pytest.approx(losses, rel=1e-5) and len(written) == 3


def test_a_performance_run_ends_with_what_it_measured(zoo, photos, tmp_path):
    result = zoo.run("models/edsr/test/train_performance_1p.sh", tmp_path, f"--data_path={photos}",
                     "--output_path=my output", *TINY)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "no NPU and no GPU is used: this runs on the CPU\n" in result.stdout
    assert "\nrecipe: --preset=demo\n" in result.stdout
    assert "\ndevice used: CPU" in result.stdout
    run = tmp_path / "my output"
    check_report(run, "edsr", result.stdout)
    assert "device: CPU" in (run / "0" / "train_0.log").read_text()


def test_the_report_of_a_gan(call, photos, tmp_path, capsys):
    began, run = time.time(), tmp_path / "run"
    done = call(srgan_train.main, "--preset=demo", "--stage=gan", f"--data_dir={photos}",
                "--output_dir=run", "--perceptual_weight=0", "--log_every=10", "--val_images=2",
                *TINY, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    log = run / "0" / "train_0.log"
    log.parent.mkdir()
    log.write_text(done.stdout)
    modelzoo_run.report_run("srgan", "performance", "cpu", run, [log], began)
    printed = capsys.readouterr().out
    assert "device used: CPU" in printed
    check_report(run, "srgan", printed)


def test_the_trainings_error_and_status_come_through(zoo, photos, tmp_path):
    result = zoo.run("models/edsr/test/train_performance_1p.sh", tmp_path, "--bach_size=2",
                     f"--data_path={photos}", ASCEND_DEVICE_ID="3")
    log = tmp_path / "output" / "edsr_1p_performance" / "3" / "train_3.log"
    assert result.returncode == 2
    assert "did you mean --batch_size" in result.stderr and "status 2" in result.stderr
    assert "did you mean --batch_size" in log.read_text()
    assert "Final" not in result.stdout


# ---- what the shared script does with its flags, and on an NPU -----------------------------------

# In place of a training: writes what one writes, and says what $SAYS holds for its device.
TRAINING = r"""
case "$*" in
  "-c "*) exec "$REAL" "$@" ;;
  *" --print_config"*) echo "output_dir: my output"; exit ;;
esac
echo "args: $*"
echo "device: stand-in, precision float32 (as asked for)"
said="SAYS_$ASCEND_DEVICE_ID"
echo "${!said:-}"
if [ -n "${STAYS:-}" ]; then
  trap 'echo ended; exit 143' TERM
  for ((i = 0; i < 600; i++)); do sleep 0.1; done
fi
[ "${RANK_ID:-0}" = 0 ] || exit 0
cd "my output"
case "$*" in *--resume=no*) rm -f summary.json ;; esac
[ ! -e summary.json ] || exit 0
echo '{"timing": {}, "seconds": 77.4, "images": [{"psnr": 30}, {"psnr": 31}]}' >summary.json
echo "batch_size: 4" >config.yaml
echo '{"step": 5, "loss": 0.5, "seconds_per_step": 0.25, "images_per_sec": 16.0}' >metrics.jsonl
"""


@pytest.fixture
def fake(tmp_path):
    """A checkout whose training only says that it was started."""
    copy = Checkout(tmp_path / "fake zoo", STARTS)
    copy.python(TRAINING)
    return copy


def start(fake, tmp_path, name, *flags, **env):
    return fake.run(f"models/edsr/test/{name}", tmp_path, "--data_path=D",
                    "--output_path=my output", *flags, **env)


def trained_with(tmp_path, device=0):
    log = (tmp_path / "my output" / str(device) / f"train_{device}.log").read_text()
    return re.findall("^args: (.*)$", log, re.MULTILINE)[-1].split()


def test_a_finished_run_is_reported_as_what_it_is(fake, tmp_path):
    start(fake, tmp_path, "train_full_1p.sh")
    os.utime(str(tmp_path / "my output" / "summary.json"), (1, 1))
    result = start(fake, tmp_path, "train_full_1p.sh")
    assert result.returncode == 0 and "nothing was trained" in result.stdout
    assert finals(result.stdout)["E2E Training Duration sec"] == "77"


def test_a_finished_run_of_an_npu_compiles_nothing(fake, tmp_path, npu):
    assert start(fake, tmp_path, "train_full_1p.sh", SAYS_0=ADAPTER, **npu(1)).returncode == 0
    os.utime(str(tmp_path / "my output" / "summary.json"), (1, 1))
    result = start(fake, tmp_path, "train_full_1p.sh", **npu(1))
    assert result.returncode == 0, result.stderr
    assert "nothing was trained" in result.stdout and "device used" not in result.stdout
    assert finals(result.stdout)["E2E Training Duration sec"] == "77"
    log = (tmp_path / "my output" / "0" / "train_0.log").read_text()
    assert ADAPTER in log and log.count("==== started ") == 2  # the first start's is kept


def test_on_an_npu_the_log_must_show_that_it_was_used(fake, tmp_path, npu):
    result = start(fake, tmp_path, "train_performance_1p.sh", SAYS_0=ADAPTER, **npu(1))
    assert result.returncode == 0, result.stderr
    assert "compiled for the NPU: distributed_step" in result.stdout
    assert finals(result.stdout)["Final Train Accuracy"] == "30.500"
    words = trained_with(tmp_path)
    assert "--chip=npu" in words and "--preset=modelzoo" in words
    assert fake.asked()[0] == "--stack ascend --python"

    # The line of an earlier start does not count, and its absence is a notice.
    log = tmp_path / "my output" / "0" / "train_0.log"
    assert log.read_text().count("==== started ") == 1
    assert start(fake, tmp_path, "train_full_1p.sh", SAYS_0=ADAPTER, **npu(1)).returncode == 0
    (tmp_path / "my output" / "summary.json").unlink()
    result = start(fake, tmp_path, "train_full_1p.sh", **npu(1))
    assert log.read_text().count("==== started ") == 3 and ADAPTER in log.read_text()
    assert result.returncode == 0, result.stderr
    assert "notice: no line in" in result.stdout
    assert finals(result.stdout)["Final Train Accuracy"] == "30.500"


def test_another_chip_may_be_asked_for_on_a_machine_with_an_npu(fake, tmp_path, npu):
    result = start(fake, tmp_path, "train_performance_1p.sh", "--chip=cpu", **npu(1))
    assert result.returncode == 0, result.stderr
    assert "device used: stand-in, not an NPU" in result.stdout


def test_every_device_of_several_is_reported(fake, tmp_path, npu):
    (tmp_path / "table.json").write_text(json.dumps({"server_list": [{"device": [
        {"device_id": str(4 + i), "rank_id": str(i)} for i in range(2)]}]}))
    env = {"RANK_SIZE": "2", "RANK_TABLE_FILE": str(tmp_path / "table.json"), **npu(2)}
    result = start(fake, tmp_path, "train_full_8p.sh", SAYS_4=ADAPTER, SAYS_5=ADAPTER, **env)
    assert result.returncode == 0, result.stderr
    values = case_log(tmp_path / "my output" / "4")[0]
    assert (values["RankSize"], values["CaseName"]) == ("2", "edsr_bs4_2p_acc")
    assert not (tmp_path / "my output" / "0").exists()

    result = start(fake, tmp_path, "train_performance_8p.sh", SAYS_4=ADAPTER, **env)
    assert result.returncode == 0, result.stderr
    assert "4/train_4.log: compiled for the NPU: " in result.stdout
    assert re.search(r"notice: no line in .*5/train_5.log says", result.stdout)
    log = (tmp_path / "my output" / "5" / "train_5.log").read_text()
    assert log.count("==== started ") == 1  # a performance run starts anew


def test_sigterm_reaches_the_training(fake, tmp_path):
    process = fake.start("models/edsr/test/train_performance_1p.sh", tmp_path, "--data_path=D",
                         "--output_path=my output", STAYS="1")
    log = Path(tmp_path / "my output" / "0" / "train_0.log")
    for _ in range(200):
        if log.is_file() and "device:" in log.read_text():
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 143 and log.read_text().endswith("ended\n")
