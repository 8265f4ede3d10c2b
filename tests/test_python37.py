"""The zoo on Python 3.7, the oldest that TensorFlow 2.6.5 runs on: all in one process."""

from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).replace(".__init__", "")
    for folder in ("common", "models", "scripts") for path in (ROOT / folder).rglob("*.py")
    if (path.parent / "__init__.py").exists() and path.name != "__main__.py")
CODE = """
import importlib, sys

assert sys.version_info[:2] == (3, 7), sys.version
for name in sys.argv[1].split():
    importlib.import_module(name)

from common.cli import UserError
from models.command import read_options
import models
from models.edsr import train
from scripts import upscale
from scripts.npu_check.command import main as npu_check

assert not train.main(
    "--preset=demo --train_steps=1 --val_every=1 --batch_size=2 --patch_size=16 --num_blocks=1 "
    "--num_filters=8 --val_images=1 --data_dir=photos --output_dir=run".split())
assert not upscale.main("photos -o larger --weights run/edsr_x2.h5".split())
assert not npu_check("--model edsr".split())
assert read_options(models.model("bsrn").recipe, ["--scale", "2,3"], "train").scale == (2, 3)
esrgan = models.model("esrgan").recipe
options = read_options(esrgan, esrgan.translate(["--config-file", sys.argv[2]]), "train")
assert (options.periods, options.batch_size) == ((12500,) * 4, 16), options
for flag in ("--loss=l3", "--halve_at=3", "--bach_size=3"):
    try:
        read_options(models.model("edsr").recipe, [flag], "train")
    except UserError as error:
        print(error)
"""


@pytest.mark.stack("main")
def test_the_zoo_runs_on_python_37(run, python37, tmp_path, photo):
    (tmp_path / "photos").mkdir()
    for i in range(2):
        Image.fromarray(photo(60 + i, 64)).save(str(tmp_path / "photos" / f"{i}.png"))
    config = ROOT / "models/esrgan/PaddleGAN/configs/esrgan_psnr_x4_div2k.yaml"
    done = run("-c", CODE, " ".join(MODULES), config, cwd=tmp_path, python=python37)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-3:] == [
        "--loss: Expected a value out of 'l1', 'mse', 'charbonnier'. Got value: l3",
        "--halve_at: Expected a list as [1,2]. Got value: 3",
        "unknown option --bach_size (did you mean --batch_size?); --help lists all"]
    assert "edsr x2 train: nothing found" in done.stdout
    for i in range(2):
        with Image.open(str(tmp_path / "larger" / f"{i}_x2.png")) as picture:
            assert picture.size == (128, 2 * (60 + i))
