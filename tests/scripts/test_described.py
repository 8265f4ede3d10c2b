"""docs/commands.md: each command of the published descriptions, as it is printed there.

What a thin file would start as a process runs in this one.
"""

import importlib
import os
import pickle
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml
from PIL import Image
from skimage import data

import modelarts_entry
import models
from common.bicubic import downscale
from models.command import read_options
from scripts import described, start

from .conftest import ROOT, Checkout

pytestmark = [pytest.mark.stack("main"), pytest.mark.usefixtures("no_curves")]
STUBS = sorted(path for path in (ROOT / "models").rglob("*.py")
               if "docs/commands.md" in path.read_text().split("\n")[0])
TINY = ["--train_steps=2", "--val_every=2", "--batch_size=2", "--patch_size=16", "--val_images=1"]
SMALL_BSRN = ["--num_features=8", "--num_states=8", "--num_recursions=2", "--warmup_steps=0"]
SMALL_EDSR = ["--num_blocks=1", "--num_filters=8"]
YAML = "--config-file configs/esrgan_psnr_x4_div2k.yaml"
TESTED = []


def row(*commands):
    """Mark a test with the first cells of the rows of the table that it is for."""
    TESTED.extend(commands)
    return lambda test: test


def rows():
    """The first cells of the rows of docs/commands.md."""
    table = re.findall(r"^\| `(.*?)` \|", (ROOT / "docs" / "commands.md").read_text(), re.MULTILINE)
    assert table
    return table


@pytest.fixture(scope="module")
def printed(call):
    """Run a file of the models' folders: `printed("bsrn/test_bsrn.py", *flags, cwd=folder)`."""
    def run_here(children):
        (child,) = children
        assert child.command[:2] == [sys.executable, "-m"]
        return importlib.import_module(child.command[2]).main(child.command[3:])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(start, "run", run_here)
        patch.setattr(start, "zoo_python", lambda stack: sys.executable)
        patch.setenv("SR_ZOO_NPU_DEVICES", "")
        patch.setenv("SR_ZOO_NVIDIA_TRACES", "")
        yield lambda file, *flags, cwd: call(start.main, ROOT / "models" / file, *flags, cwd=cwd)


@pytest.fixture
def trained(monkeypatch):
    """The flags of the trainings that a program would start, none of which is."""
    started = []
    monkeypatch.setattr(described, "training_command", lambda recipe, flags: started.append(
        (recipe.name, *flags)))
    return started


def save(picture, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(picture)).save(str(path))


def one_line(result):
    assert result.returncode == 2, result.stdout + result.stderr
    assert len(result.stderr.splitlines()) == 1 and result.stderr.startswith("error: ")
    return result.stderr


# ---- the thin files ------------------------------------------------------------------------------

@pytest.mark.parametrize("files", [
    STUBS, sorted((ROOT / "models").glob("*/scripts/*t*e*.sh")) + [
        ROOT / "models" / "bsrn" / "scripts" / "run_gpu.sh"]], ids=["python", "bash"])
def test_the_files_are_copies_of_one(files):
    assert len(files) >= 5 and len({path.read_bytes() for path in files}) == 1


@pytest.mark.process
@pytest.mark.parametrize("file", STUBS, ids=lambda path: path.stem)
def test_a_program_in_python_is_handed_on_with_its_flags(file, tmp_path):
    copy = tmp_path / "a zoo" / file.relative_to(ROOT)
    copy.parent.mkdir(parents=True)
    shutil.copy(str(file), str(copy))
    shell = tmp_path / "a zoo" / "scripts" / "start.sh"
    shell.parent.mkdir()
    shell.write_text('printf "%s\\n" "$PYTHON" "$@"\nexit 5\n')
    command = [sys.executable, "-S", copy.name, "--key=a b", "*"]
    if file.stem == "launch":
        command[2:3] = ["-m", "paddle.distributed.launch"]
    cwd = copy.parents[2] if file.stem == "launch" else copy.parent
    result = subprocess.run(command, cwd=str(cwd), capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (5, "")
    assert result.stdout.splitlines() == [sys.executable, str(copy), "--key=a b", "*"]


@pytest.fixture
def bare(tmp_path):
    """A checkout, run by a Python that has no packages."""
    copy = Checkout(tmp_path / "a zoo", ("common", "models/__init__.py", "models/srgan",
                                         "scripts/start.py", "scripts/start.sh"))

    def run_without(*words):
        return subprocess.run([sys.executable, "-S", *words], cwd=str(copy.root / "models/srgan"),
                              env=copy.environment(), capture_output=True, text=True)
    return copy.root, run_without


@pytest.mark.process
def test_a_python_without_the_packages_finds_the_environment(bare):
    root, run_without = bare
    error = one_line(run_without("./train.py"))
    assert "lacks cv2, " in error and f"bash {root}/scripts/setup.sh" in error

    for folder in (".venv-ascend", ".venv"):
        python = root / folder / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/bash\nprintf "%s\\n" {folder} "$@"\n')
        python.chmod(0o755)
        (root / folder / ".sr-zoo").touch()
        result = run_without("./train.py", "--input_dir=a b")
        assert result.stdout.splitlines() == [folder, "./train.py", "--input_dir=a b"]


# ---- BSRN ----------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def bsrn(printed, tiny, tmp_path_factory):
    """The folder of BSRN's programs with a finished run, beside it the description's `temp`."""
    folder = tmp_path_factory.mktemp("bsrn") / "tf-bsrn-sr"
    folder.mkdir()
    hr = data.coffee()[100:148, 100:164]
    save(hr, folder.parent / "temp/dataset/BSD100/SR/a.png")
    save(downscale(hr, 2), folder.parent / "temp/dataset/BSD100/LR/x2/a.png")
    done = printed("bsrn/scripts/run_gpu.sh", "--scale=2", f"--data_dir={tiny}", *TINY, *SMALL_BSRN,
                   cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "output.txt").write_text(done.stdout)
    return folder


@row("nohup bash scripts/run_gpu.sh > output.txt 2>&1 &")
def test_run_gpu_trains_on_the_gpu_or_the_cpu(bsrn):
    text = (bsrn / "output.txt").read_text()
    assert text.startswith("no GPU here: this runs on the CPU\n")
    assert "step 2, scale x2, loss " in text
    assert "Final PSNR: x2 " in text and (bsrn / "output/bsrn_x2/bsrn_x2.h5").is_file()


def test_run_gpu_asks_for_the_gpu_that_is_there(monkeypatch, tmp_path):
    monkeypatch.setattr(start, "zoo_python", lambda stack: stack)
    monkeypatch.setattr(start, "gpu_driver", lambda: True)
    (child,) = start.on_gpu("bsrn", [])
    assert child.command == ["main", "-m", "models.bsrn.train", "--preset=demo", "--chip=gpu"]
    assert start.on_gpu("bsrn", ["--chip=cpu"])[0].command[-1] == "--chip=cpu"


@row("bash scripts/validate.sh", "validate_gpu.sh", "python validate_bsrn.py")
@pytest.mark.parametrize("file", ["scripts/validate.sh", "scripts/validate_gpu.sh",
                                  "validate_bsrn.py"])
def test_validation_measures_the_run_that_is_there(bsrn, printed, file):
    shutil.rmtree(bsrn / "result-pictures", ignore_errors=True)
    done = printed(f"bsrn/{file}", cwd=bsrn)
    assert done.returncode == 0, done.stderr
    assert "weights: output/bsrn_x2/bsrn_x2.h5\n" in done.stdout
    assert re.search(r"^bsd100 +bsrn +x2 +y +2 +1 +\d+\.\d\d +0\.\d+$", done.stdout, re.MULTILINE)
    with Image.open(str(bsrn / "result-pictures/ensemble/a_x2.png")) as picture:
        assert picture.size == (64, 48)


@row("bash scripts/test.sh", "python test_bsrn.py")
@pytest.mark.parametrize("file", ["scripts/test.sh", "test_bsrn.py"])
def test_images_are_enlarged_with_the_run_that_is_there(bsrn, printed, file):
    shutil.rmtree(bsrn / "result-pictures", ignore_errors=True)
    done = printed(f"bsrn/{file}", "--scale", "2", "../temp/dataset/BSD100/SR", cwd=bsrn)
    assert done.returncode == 0, done.stderr
    (path,) = (bsrn / "result-pictures/ensemble").iterdir()
    with Image.open(str(path)) as picture:
        assert path.name == "a_x2.png" and picture.size == (128, 96)


@pytest.mark.parametrize("flags", [[], ["--scale", "2", "3"], ["--self_ensemble"],
                                   ["--data_dir=D"]])
def test_a_test_without_images_is_a_validation(monkeypatch, flags):
    calls = []
    monkeypatch.setattr(described, "validate", lambda model, flags: calls.append(flags))
    described.test(models.model("bsrn"), flags)
    assert calls == [flags]


def test_without_a_run_and_data_the_demo_is_used(bsrn, printed, trained, tmp_path, monkeypatch):
    def train(recipe, flags):
        trained.append((recipe.name, *flags))
        shutil.copytree(str(bsrn / "output"), "output")

    calls = []
    monkeypatch.setattr(described, "training_command", train)
    monkeypatch.setattr(described.evaluate, "main", calls.append)
    done = printed("bsrn/scripts/validate.sh", "--chip", "cpu", cwd=tmp_path)
    assert done.returncode == 0 and "its demo is trained first" in done.stdout
    assert trained == [("bsrn", "--preset=demo", "--chip", "cpu")]
    assert calls == [["--model=bsrn", "--save_images=result-pictures/ensemble",
                      "--weights=output/bsrn_x2/bsrn_x2.h5", "--dataset=demo", "--chip", "cpu"]]
    (tmp_path / "dataset" / "BSD100").mkdir(parents=True)
    printed("bsrn/scripts/validate.sh", "--weights=W", cwd=tmp_path)
    printed("bsrn/scripts/validate.sh", "--weights=W", "--data_dir=D", cwd=tmp_path)
    printed("bsrn/scripts/validate.sh", "--help", cwd=tmp_path)
    assert len(trained) == 1
    assert [call[2:] for call in calls[1:]] == [
        ["--dataset=bsd100", "--data_dir=dataset", "--weights=W"],
        ["--dataset=bsd100", "--weights=W", "--data_dir=D"], ["--help"]]


@row("scripts/run_npu.sh")
def test_run_npu_needs_an_npu(printed, tmp_path, monkeypatch):
    monkeypatch.setattr(start, "load_cann", lambda: None)
    monkeypatch.setattr(start, "find_python", lambda stack: "")
    error = one_line(printed("bsrn/scripts/run_npu.sh", cwd=tmp_path))
    assert error.startswith("error: no NPU here")


@row("python train.py")
def test_train_has_the_papers_recipe_and_the_demos_photographs():
    recipe = models.model("bsrn").recipe
    options = read_options(recipe, [], "train.py")
    assert options.train_steps == 1_000_000 and options.scale == (2, 3, 4)
    assert (options.dataset, options.data_dir) == ("auto", None)


@row("--scale 2,3,4")
def test_several_scales_are_joined_by_commas(call, tiny, tmp_path):
    for words in (["--scale", "2,3,4"], ["--scale=2,3,4"], ["--scale", "[2,3,4]"]):
        assert read_options(models.model("bsrn").recipe, words, "train").scale == (2, 3, 4)
    for words in (["--scale", "2,3"], ["--scale=2,3"], ["--scale", "2", "3"]):
        done = call("scripts.evaluate", "--model=bicubic", *words, f"--data_dir={tiny}",
                    cwd=tmp_path)
        assert re.findall(r"bicubic +x(\d)", done.stdout) == ["2", "3"]
    error = one_line(call("models.edsr.train", "--scale=2,3,4", cwd=tmp_path))
    assert "--scale" in error and "'2,3,4'" in error


# ---- ModelArts -----------------------------------------------------------------------------------

@row("boot_modelarts.py", "modelarts_entry_acc.py", "modelarts_entry_perf.py")
@pytest.mark.parametrize("file, model, mode, recipe", [
    ("bsrn/boot_modelarts.py", "bsrn", "train", []),
    ("srgan/modelarts_entry_acc.py", "srgan", "train", ["--preset=coco", "--dataset=auto"]),
    ("srgan/modelarts_entry_perf.py", "srgan", "perf", ["--preset=coco", "--dataset=auto"])])
def test_boot_files_train_on_the_jobs_data_or_the_demo(printed, tmp_path, monkeypatch, file, model,
                                                       mode, recipe):
    calls = []
    monkeypatch.setattr(modelarts_entry, "main", calls.append)
    printed(file, "--data_url=D", "--train_url=T", cwd=tmp_path)
    done = printed(file, cwd=tmp_path)
    assert "this is the demo" in done.stdout
    named = ["--model", model, "--mode", mode]
    assert calls == [[*named, *recipe, "--data_url=D", "--train_url=T"],
                     [*named, "--preset=demo", "--dataset=demo",
                      f"--train_url=output/{model}_modelarts"]]


# ---- SRGAN ---------------------------------------------------------------------------------------

@row("python3.7 ./train.py --input_dir=${data_path} ... --model_save_dir='./model/'")
def test_srgans_command_is_its_preset():
    """tests/models/srgan/test_srgan_modelzoo.py trains with it."""
    recipe = models.model("srgan").recipe
    flags = recipe.translate(shlex.split(
        "--input_dir=D --output_dir=O --batch_size=16 --epochs=500 --number_of_images=8000 "
        "--train_test_ratio=0.8 --model_save_dir='./model/'"))
    options = read_options(recipe, flags, "train.py")
    assert (options.variant, options.dataset, options.data_dir) == ("keras", "coco", "D")
    assert (options.epochs, options.stage, options.model_save_dir) == (500, "gan", "./model/")


@row("train_full_1p.sh", "train_performance_1p.sh")
@pytest.mark.parametrize("kind, steps", [("full", None), ("performance", "--train_steps=300")])
def test_modelzoos_scripts_train_or_ask_for_the_data(call, monkeypatch, tmp_path, kind, steps):
    monkeypatch.setenv("SR_ZOO_NPU_DEVICES", "")
    monkeypatch.setenv("SR_ZOO_NVIDIA_TRACES", "")
    monkeypatch.setattr(start, "find_python", lambda stack: "")
    monkeypatch.setattr(start, "zoo_python", lambda stack: stack)
    started = []
    monkeypatch.setattr(start, "supervise", lambda children: started.extend(children) or 5)
    script = ROOT / "models" / "srgan" / "test" / f"train_{kind}_1p.sh"
    asked = call(start.main, script, cwd=tmp_path)
    assert (asked.returncode, asked.stdout) == (1, '[Error] para "data_path" must be config\n')
    assert call(start.main, script, "--data_path=D", cwd=tmp_path).returncode == 5
    (child,) = started
    assert {"models.srgan.train", "--data_dir=D"} <= set(child.command)
    assert ("--preset=coco" if kind == "full" else "--preset=demo") in child.command
    assert steps is None or steps in child.command


@row("python trains.py")
def test_trains_trains_on_bsds500_and_then_shows_the_results(printed, tmp_path):
    for i, split in enumerate(("train", "test", "train")):
        save(data.astronaut()[:300, :300], tmp_path / f"data/BSDS500/images/{split}/{i}.png")
    flags = ["--num_blocks=1", "--num_filters=4", *TINY, "--perceptual_weight=0"]
    first, again = (printed("srgan/trains.py", *flags, cwd=tmp_path) for _ in range(2))
    assert first.returncode == again.returncode == 0, first.stderr + again.stderr
    assert "(bsds500_256), steps 1 to 2" in first.stdout
    assert "output/srgan_x4 holds a finished run of 2 steps" in again.stdout
    assert (tmp_path / "output" / "srgan_x4" / "srgan_x4.h5").is_file()
    assert "VGG19" in one_line(printed("srgan/trains.py", "--output_dir=new", cwd=tmp_path))


def test_trains_takes_other_data_or_the_demo(printed, trained, tmp_path):
    for flags in ([], ["--data_dir=D"], ["--preset=paper", "--data_dir=D"], ["--help"]):
        assert printed("srgan/trains.py", *flags, cwd=tmp_path).returncode == 0
    assert trained == [("srgan", "--preset=demo"), ("srgan", "--preset=bsd500", "--data_dir=D"),
                       ("srgan", "--preset=paper", "--data_dir=D"), ("srgan", "--help")]


# ---- EDSR ----------------------------------------------------------------------------------------

@row("bash run_1p.sh", "--data_dir=edsr/cache/DIV2K", "--eval_dir")
def test_edsr_trains_on_div2k_and_measures_its_checkpoints(printed, tmp_path):
    for i, split in enumerate(("train", "train", "valid")):
        save(data.coffee()[100:180, 100 + i:180 + i],
             tmp_path / f"edsr/cache/DIV2K/DIV2K_{split}_HR/{i + 1:04}.png")
    where = "--data_dir=edsr/cache/DIV2K"
    done = printed("edsr/scripts/run_1p.sh", where, *TINY, *SMALL_EDSR, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "(div2k), steps 1 to 2" in done.stdout
    assert re.search(r"^Epoch nr: \[2/2\] - Loss: [\d.]+ - val PSNR: ", done.stdout, re.MULTILINE)
    assert done.stdout.endswith("\nTraining finished.\n")

    tested = printed("edsr/scripts/test.sh", "--eval_dir", "output/edsr_x2", where, cwd=tmp_path)
    assert tested.returncode == 0, tested.stderr
    names = re.findall(r"^(\S+) +auto +edsr +", tested.stdout, re.MULTILINE)
    assert {"edsr_x2.h5", "edsr_x2_last.h5", "checkpoints/step-2"} <= set(names)
    error = one_line(printed("edsr/scripts/run_1p.sh", "--eval_dir=F", cwd=tmp_path))
    assert "bash models/edsr/scripts/test.sh --eval_dir F" in error


# ---- PaddleGAN -----------------------------------------------------------------------------------

PADDLE = ROOT / "models" / "esrgan" / "PaddleGAN"


@pytest.fixture(scope="module")
def paddlegan(printed, tmp_path_factory):
    """A copy of PaddleGAN's folder with small data and two steps of training."""
    folder = tmp_path_factory.mktemp("esrgan") / "PaddleGAN"
    shutil.copytree(str(PADDLE), str(folder))
    for i, split in enumerate(("train", "train", "test")):
        hr = data.coffee()[100:240, 100 + i:240 + i]
        save(hr, folder / f"data/animeSR/{split}/{i}.png")
        save(downscale(hr, 4), folder / f"data/animeSR/{split}_X4/{i}.png")
    config = folder / "configs" / "esrgan_psnr_x4_div2k.yaml"
    values = yaml.safe_load(config.read_text())
    assert values["total_iters"] == 50000 and values["dataset"]["train"]["batch_size"] == 16
    values["total_iters"], values["dataset"]["train"]["batch_size"] = 2, 2
    values["lr_scheduler"].update(periods=[2], restart_weights=[1])
    values["model"]["generator"].update(nf=8, nb=1)
    config.write_text(yaml.safe_dump(values))
    done = printed("esrgan/PaddleGAN/tools/main.py", *YAML.split(), cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


@row(f"python -u tools/main.py {YAML}", f"python -u tools/main.py {YAML} --resume "
     "your_checkpoint_path")
def test_paddlegan_trains_and_resumes(paddlegan, printed):
    folder, text = paddlegan
    assert "2 training and 1 validation images (paired), steps 1 to 2" in text
    more = printed("esrgan/PaddleGAN/tools/main.py", *YAML.split(), "--resume", "output_dir",
                   "-o", "output_dir=more", "total_iters=3", "lr_scheduler.periods=[3]", cwd=folder)
    assert more.returncode == 0, more.stderr
    assert "steps 3 to 3" in more.stdout


@row("python tools/main.py " + YAML + " --evaluate-only --load "
     "/home/aistudio/pretrained_model/esrgan_iter_50000_weight.pdparams", "tools/eval.py")
def test_paddlegan_evaluates_its_weights(paddlegan, printed):
    folder, _ = paddlegan
    weights = folder / "esrgan_iter_50000_weight.pdparams"
    weights.write_bytes(pickle.dumps(paddle_state(8, 32), protocol=2))
    tables = []
    for file, flags in (("main", ["--evaluate-only"]), ("eval", [])):
        done = printed(f"esrgan/PaddleGAN/tools/{file}.py", *YAML.split(), *flags, "--load",
                       weights, cwd=folder)
        assert done.returncode == 0, done.stderr
        tables.append(re.findall(r"^2 +.*dB$", done.stdout, re.MULTILINE))
    assert len(tables[0]) == 1 and tables[0] == tables[1]


def paddle_state(filters, growth):
    """Random weights of RRDBNet with one block, as PaddleGAN names and orders them."""
    rng = np.random.default_rng(0)
    shapes = {"conv_first": (filters, 3), "trunk_conv": (filters, filters),
              "upconv1": (filters, filters), "upconv2": (filters, filters),
              "HRconv": (filters, filters), "conv_last": (3, filters),
              **{f"RRDB_trunk.0.RDB{i}.conv{j}": (filters if j == 5 else growth,
                                                  filters + (j - 1) * growth)
                 for i in (1, 2, 3) for j in (1, 2, 3, 4, 5)}}
    state = {}
    for name, shape in shapes.items():
        state[f"{name}.weight"] = rng.normal(0, 0.02, (*shape, 3, 3)).astype("float32")
        state[f"{name}.bias"] = np.zeros(shape[0], "float32")
    return {"generator": state}


@row(f"python -m paddle.distributed.launch tools/main.py {YAML}")
def test_paddles_launcher_starts_one_training_for_all_gpus(printed, trained):
    done = printed("esrgan/PaddleGAN/paddle/distributed/launch.py", "--gpus", "0,1",
                   "tools/main.py", *YAML.split(), cwd=PADDLE)
    assert done.returncode == 0 and trained == [("esrgan", *YAML.split())]
    launcher = "esrgan/PaddleGAN/paddle/distributed/launch.py"
    assert "needs a program" in one_line(printed(launcher, cwd=PADDLE))


@row("visualdl --logdir output_dir/CycleGANModel-2022-11-29-09-21/")
def test_a_run_of_paddlegan_logs_for_tensorboard(paddlegan):
    assert list((paddlegan[0] / "output_dir" / "logs").rglob("events.*"))


@row("python tools/export_model.py -c configs/picodet/application/pedestrian_detection/"
     "picodet_s_320_lcnet_pedestrian.yml -o weights=...")
def test_detectors_are_not_exported(printed):
    error = one_line(printed("esrgan/PaddleGAN/tools/export_model.py", "-c", "configs/picodet.yml",
                             cwd=PADDLE))
    assert "python -m scripts.export" in error


def test_other_files_are_refused(call, tmp_path):
    for words in ([], ["--help"], [ROOT / "models" / "bsrn" / "network.py"]):
        assert "docs/commands.md" in one_line(call("scripts.described", *words, cwd=tmp_path))


# ---- the table -----------------------------------------------------------------------------------

def test_every_row_of_the_table_has_a_test():
    assert sorted(rows()) == sorted(TESTED)


def test_the_folders_and_files_of_the_table_are_there():
    text = (ROOT / "docs" / "commands.md").read_text()
    assert all((ROOT / folder).is_dir() for folder in re.findall(r"`cd (\S+)`", text))
    assert os.access(str(ROOT / "models" / "edsr" / "scripts" / "test.sh"), os.X_OK)
