"""`scripts.evaluate` over several sets, scales and weights, and `--recursions`."""

import json
import os

import numpy as np
import pytest
from PIL import Image

import models
from common import bicubic, weights
from common.cli import UserError
from common.nn.keras_compat import set_seed, tf
from common.training.checkpoints import Checkpoints
from common.training.ema import Ema
from models.weight_folders import find_weights
from scripts import upscale
from scripts.evaluate import main

SMALL = {"num_blocks": 1, "num_filters": 8, "res_scale": 1}


def edsr(seed, scale=2):
    set_seed(seed)
    return models.create("edsr", scale, **SMALL)


def bsrn(scale):
    set_seed(4)
    model = models.create("bsrn", scale, num_features=8, num_states=8, num_recursions=4,
                          output_every=2)
    for variable in model.trainable_variables:  # fresh, its recursions hardly differ
        variable.assign(variable + 0.02 * tf.random.stateless_normal(variable.shape, (1, 2)))
    return model


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Folder with a set5 of two images in HR and LR folders and a set14 of one without LR."""
    folder = tmp_path_factory.mktemp("root")
    y, x, c = np.mgrid[0:48, 0:60, 0:3]
    for i, path in enumerate(["Set5/HR/a.png", "Set5/HR/b.png", "Set14/c.png"]):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        image = np.uint8(127 + 100 * np.sin(x / (3 + i) + c) * np.cos(y / 5))
        Image.fromarray(image).save(folder / path)
        for scale in (2, 3):
            lr = folder / "Set5/LR_bicubic" / f"X{scale}" / f"{'ab'[i % 2]}x{scale}.png"
            if i < 2:
                lr.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(bicubic.downscale(image, scale)).save(lr)
    return folder


def results(folder, *arguments):
    """(rows of the JSON file, lines of the Markdown file) of a run in this process."""
    main([*map(str, arguments), "--json", str(folder / "o.json"),
          "--markdown", str(folder / "o.md")])
    return (json.loads((folder / "o.json").read_text())["results"],
            (folder / "o.md").read_text().splitlines())


def test_sets_and_scales_in_one_table(call, root, tmp_path):
    done = call(main, "--model", "bicubic", "--dataset", "set5", "set14", "--data_dir", root,
                "--scale", 2, 3, "--per_image", "--save_images", "sr", "--json", "o.json",
                "--markdown", "o.md", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads((tmp_path / "o.json").read_text())["results"]
    told = [(row["dataset"], row["scale"], row["crop_border"], row["images"]) for row in rows]
    assert told == [("set5", 2, 2, 2), ("set5", 3, 3, 2), ("set14", 2, 2, 1), ("set14", 3, 3, 1)]
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["dataset", "scale", "image", "PSNR", "SSIM"]
    each = [(row, image) for row in rows for image in row["per_image"]]
    assert lines[1:7] == [[row["dataset"], f"x{row['scale']}", image["name"],
                           f"{image['psnr']:.2f}", f"{image['ssim']:.4f}"] for row, image in each]
    assert lines[8][:3] == ["dataset", "model", "scale"] and len(lines) == 13
    table = (tmp_path / "o.md").read_text().splitlines()
    assert len(table) == 6
    for row, line, cells in zip(rows, lines[9:], table[2:]):
        shown = [row["dataset"], "bicubic", f"x{row['scale']}", "y", str(row["scale"]),
                 str(row["images"]), f"{row['psnr']:.2f}", f"{row['ssim']:.4f}"]
        assert line == shown and cells.strip("| ").split(" | ") == shown
        for image in row["per_image"]:
            path = tmp_path / "sr" / row["dataset"] / f"x{row['scale']}"
            with Image.open(path / f"{image['name']}_x{row['scale']}.png") as picture:
                assert picture.size == (60, 48)


def test_sets_of_one_root_agree_with_each_alone(root, tmp_path):
    together, _ = results(tmp_path, "--model", "bicubic", "--scale", 3, 3, "--dataset", "set5",
                          "set14", "set5", "--data_dir", root, "--save_images", tmp_path / "sr")
    assert [row["dataset"] for row in together] == ["set5", "set14"]
    assert (tmp_path / "sr/set14/c_x3.png").is_file()
    for row, folder in zip(together, ("Set5", "Set14")):
        (alone,), _ = results(tmp_path, "--model", "bicubic", "--scale", 3, "--data_dir",
                              root / folder)
        assert alone["psnr"] == row["psnr"] and alone["dataset"] == "auto"
    with pytest.raises(UserError, match="no set14 in .*Set5, which by its name is .* of set5"):
        main(["--model", "bicubic", "--scale", "2", "--dataset", "set5", "set14", "--data_dir",
              str(root / "Set5")])


def test_a_folder_of_weights_and_checkpoints(root, tmp_path, capsys):
    """Each row equals the score of the weights it names."""
    run = tmp_path / "run"
    expected = {}
    for step, model in ((2, edsr(1)), (10, edsr(2))):
        # At step 10 the weights that are measured are the average of those that learn.
        tracked = {"model": model} if step == 2 else {
            "model": edsr(3), **Ema(edsr(3), model, 0.9).tracked}
        Checkpoints(run / "checkpoints", tracked, keep=5).save(step)
        weights.save(model, tmp_path / "one.h5")
        (row,), _ = results(tmp_path, "--weights", tmp_path / "one.h5", "--data_dir",
                            root / "Set14")
        expected[f"checkpoints/step-{step}"] = row["psnr"]
    weights.save(edsr(3, scale=3), run / "edsr_x3.h5")
    weights.save(model, run / "edsr_x2_last.h5")
    expected["edsr_x2_last.h5"] = row["psnr"]
    capsys.readouterr()
    rows, table = results(tmp_path, "--weights", run, "--scale", 2, "--data_dir", root / "Set14",
                          "--save_images", tmp_path / "sr")
    assert {row["weights"]: row["psnr"] for row in rows} == pytest.approx(expected, abs=1e-6)
    assert len(set(expected.values())) == 2
    names = ["checkpoints/step-2", "checkpoints/step-10", "edsr_x2_last.h5"]
    assert [row["weights"] for row in rows] == names
    assert table[0].startswith("| weights | dataset |")
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == names
    assert (tmp_path / "sr/checkpoints/step-10/c_x2.png").is_file()
    rows, _ = results(tmp_path, "--weights", run / "checkpoints", "--data_dir", root / "Set14")
    assert [row["weights"] for row in rows] == ["step-2", "step-10"]


def test_what_in_a_folder_cannot_be_measured(call, root, tmp_path):
    folder = tmp_path / "mixed"
    weights.save(edsr(1), folder / "a.h5")
    (folder / "text.h5").write_text("no weights")
    (folder / "step-3.index").write_bytes(b"no checkpoint")
    done = call(main, "--data_dir", root / "Set14", "--weights", folder, cwd=tmp_path)
    assert done.returncode == 2 and len(done.stdout.splitlines()) == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 2 and all(line.startswith("error: ") for line in lines)
    assert "step-3 is damaged" in lines[0] and "text.h5 is not an HDF5" in lines[1]
    os.unlink(folder / "a.h5")
    os.unlink(folder / "text.h5")
    with pytest.raises(UserError, match="no usable weights in .*mixed"):
        main(["--weights", str(folder)])
    os.unlink(folder / "step-3.index")
    with pytest.raises(UserError, match="no .h5 weights and no checkpoints"):
        find_weights(folder)


def test_all_scales_of_a_joint_file_and_fewer_recursions(root, tmp_path):
    path = tmp_path / "bsrn_x23.h5"
    weights.save(bsrn((2, 3)), path)
    command = ["--weights", path, "--dataset", "set5", "--data_dir", root]
    rows, _ = results(tmp_path, *command)
    assert [(row["model"], row["scale"], row["recursions"]) for row in rows] == [
        ("bsrn", 2, None), ("bsrn", 3, None)]
    (one,), _ = results(tmp_path, *command, "--scale", 3)
    assert one["psnr"] == pytest.approx(rows[1]["psnr"], abs=1e-9)
    fewer, table = results(tmp_path, *command, "--recursions", 2)
    assert [row["recursions"] for row in fewer] == [2, 2] and "bsrn recursions 2" in table[2]
    for before, after in zip(rows, fewer):
        assert before["psnr"] != pytest.approx(after["psnr"], abs=1e-4)
    # two recursions with an output after every second: the answer is the first output
    full = models.load(path, scale=2)
    ensemble = full.get_layer("ensemble_x2")
    inputs = ensemble.input if isinstance(ensemble.input, list) else [ensemble.input]
    first = type(full)(full.input, inputs[0])
    (image,) = fewer[0]["per_image"][:1]
    lr = np.asarray(Image.open(root / "Set5/LR_bicubic/X2/ax2.png"))
    hr = np.asarray(Image.open(root / "Set5/HR/a.png"))
    sr = np.uint8(np.rint(np.clip(np.asarray(first(lr[None].astype(np.float32)))[0], 0, 255)))
    from common.metrics import psnr
    assert image["psnr"] == pytest.approx(psnr(sr, hr, 2, "y"), abs=1e-2)
    for number, words in ((3, "2 to 4, a multiple of 2"), (6, "trained with 4"), (0, "2 to 4")):
        with pytest.raises(UserError, match=f"--recursions {number}.*{words}"):
            results(tmp_path, *command, "--recursions", number)
    weights.save(edsr(1), tmp_path / "edsr.h5")
    with pytest.raises(UserError, match="--recursions is for recursive networks.*not for edsr"):
        results(tmp_path, "--weights", tmp_path / "edsr.h5", "--data_dir", root / "Set14",
                "--recursions", 2)
    with pytest.raises(UserError, match="--recursions needs a network"):
        main(["--model", "bicubic", "--scale", "2", "--recursions", "2"])


def test_upscale_has_recursions_too(call, tmp_path):
    weights.save(bsrn(2), tmp_path / "bsrn.h5")
    lr = np.uint8(np.random.RandomState(1).randint(0, 256, (12, 15, 3)))
    Image.fromarray(lr).save(tmp_path / "a.png")
    done = call(upscale.main, "a.png", "-o", "b.png", "--weights", "bsrn.h5", "--recursions", 2,
                cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    model = models.load(tmp_path / "bsrn.h5", num_recursions=2)
    expected = np.clip(np.asarray(model(lr[None].astype(np.float32)))[0], 0, 255)
    sr = np.asarray(Image.open(tmp_path / "b.png")).astype(float)
    assert np.abs(sr - expected).max() <= 0.51
