"""`scripts.evaluate` against published numbers and known results."""

import json

import numpy as np
import pytest
from PIL import Image

import models
from common import bicubic, weights
from common.cli import UserError
from common.data.pairs import Pair
from common.metrics import psnr, to_channel
from common.nn.keras_compat import set_seed
from scripts.evaluate import evaluate, main


@pytest.fixture(scope="module")
def edsr_x2(tmp_path_factory):
    """Weight file of a small EDSR x2."""
    path = tmp_path_factory.mktemp("weights") / "small.h5"
    set_seed(2)
    weights.save(models.create("edsr", 2, num_blocks=1, num_filters=8, res_scale=1), path)
    return path


@pytest.fixture
def photos(tmp_path):
    """A folder with a colour image of 41x52 and a grey one of 30x31 pixels."""
    folder = tmp_path / "photos"
    folder.mkdir()
    y, x, c = np.mgrid[0:41, 0:52, 0:3]
    colour = np.uint8(127 + 100 * np.sin(x / 4 + c) * np.cos(y / 6))
    Image.fromarray(colour).save(folder / "colour.png")
    Image.fromarray(colour[:30, :31, 0]).save(folder / "grey.png")
    return folder


@pytest.fixture
def command(call):
    """`command(folder, *arguments)`: status, stdout and stderr of the command in that folder."""
    def evaluated(folder, *arguments):
        done = call(main, *arguments, cwd=folder)
        return done.returncode, done.stdout, done.stderr
    return evaluated


@pytest.fixture
def refused(command):
    """Run a command that must end with one line and status 2; gives that line."""
    def line(folder, *arguments):
        status, out, err = command(folder, *arguments)
        assert (status, out) == (2, "") and err.startswith("error: ") and err.count("\n") == 1
        return err
    return line


@pytest.mark.parametrize("scale, expected_psnr, expected_ssim", [
    (2, 33.66, 0.9299), (3, 30.39, 0.8682), (4, 28.42, 0.8104)])
def test_bicubic_has_the_published_numbers(command, shared, tmp_path, scale, expected_psnr,
                                           expected_ssim):
    status, out, err = command(
        tmp_path, "--model", "bicubic", "--scale", scale, "--dataset", "folder", "--data_dir",
        shared / "data/Set5/HR", "--channel", "y", "--json", "sub/out.json", "--markdown", "out.md")
    assert (status, err) == (0, "")
    (result,) = json.loads((tmp_path / "sub/out.json").read_text())["results"]
    assert result["psnr"] == pytest.approx(expected_psnr, abs=0.02)
    assert result["ssim"] == pytest.approx(expected_ssim, abs=0.001)
    for key, value in {"dataset": "folder", "model": "bicubic", "scale": scale, "channel": "y",
                       "crop_border": scale, "images": 5}.items():
        assert result[key] == value
    assert len(result["per_image"]) == 5
    assert np.mean([image["psnr"] for image in result["per_image"]]) == pytest.approx(
        result["psnr"])
    shown = [f"{result['psnr']:.2f}", f"{result['ssim']:.4f}"]
    assert out.splitlines()[-1].split() == ["folder", "bicubic", f"x{scale}", "y", str(scale), "5",
                                            *shown]
    markdown = (tmp_path / "out.md").read_text().splitlines()
    assert len(markdown) == 3 and markdown[2].strip("| ").split(" | ")[-2:] == shown


def test_lr_files_give_the_same_as_lr_made_here(command, shared, tmp_path):
    """The LR files of Set5 are MATLAB's."""
    for name, source in (("HR", "HR"), ("LR", "LR_bicubic/X2")):
        (tmp_path / name).symlink_to(shared / "data/Set5" / source)
    results = []
    for dataset, folder in (("folder", tmp_path / "HR"), ("paired", tmp_path)):
        status, _, err = command(tmp_path, "--model", "bicubic", "--scale", 2, "--dataset", dataset,
                                 "--data_dir", folder, "--json", "out.json")
        assert (status, err) == (0, "")
        results.append(json.loads((tmp_path / "out.json").read_text())["results"][0])
    assert results[0]["psnr"] == pytest.approx(results[1]["psnr"], abs=1e-9)


def test_network_on_colour_and_grey(command, edsr_x2, photos, tmp_path):
    status, out, err = command(
        tmp_path, "--weights", edsr_x2, "--data_dir", photos, "--save_images", "sr", "--json",
        "out.json", "--per_image", "--metrics", "psnr")
    assert (status, err) == (0, "")
    (result,) = json.loads((tmp_path / "out.json").read_text())["results"]
    assert result["model"] == "edsr" and result["scale"] == 2 and "ssim" not in result
    # cropped to a multiple of the scale; grey compared by its grey value
    colour = np.asarray(Image.open(tmp_path / "sr/colour_x2.png"))
    grey = np.asarray(Image.open(tmp_path / "sr/grey_x2.png"))
    assert colour.shape == (40, 52, 3) and grey.shape == (30, 30)
    hr = [np.asarray(Image.open(photos / name)) for name in ("colour.png", "grey.png")]
    values = []
    for sr, reference in ((colour, hr[0][:40]), (grey, hr[1][:, :30])):
        sr, reference = to_channel(sr, "y")[2:-2, 2:-2], to_channel(reference, "y")[2:-2, 2:-2]
        values.append(10 * np.log10(255**2 / np.mean((sr - reference) ** 2)))
    assert [image["psnr"] for image in result["per_image"]] == pytest.approx(values, abs=1e-6)
    assert [line.split() for line in out.splitlines()[1:3]] == [
        ["colour", f"{values[0]:.2f}"], ["grey", f"{values[1]:.2f}"]]


def test_identical_images_are_infinite_and_null_in_json(command, tmp_path):
    Image.new("RGB", (24, 24), (9, 80, 200)).save(tmp_path / "flat.png")
    status, out, _ = command(tmp_path, "--model", "bicubic", "--scale", 2, "--data_dir", ".",
                             "--json", "out.json")
    assert status == 0 and "inf" in out
    (result,) = json.loads((tmp_path / "out.json").read_text(),
                           parse_constant=pytest.fail)["results"]
    assert result["psnr"] is None and result["ssim"] == pytest.approx(1)


def test_channels_and_border_reach_the_metric(photos):
    pair = [Pair("colour", photos / "colour.png")]
    hr = np.asarray(Image.open(pair[0].hr))[:39, :51]
    sr = bicubic.upscale(bicubic.downscale(hr, 3), 3)
    for channel in ("y", "rgb", "gray"):
        for border in (0, 5):
            (result,) = evaluate(lambda lr: bicubic.upscale(lr, 3), pair, 3, channel, border)
            assert result["psnr"] == pytest.approx(psnr(sr, hr, border, channel), abs=1e-9)


def test_mistakes_are_one_line(refused, edsr_x2, photos, tmp_path):
    line = refused(tmp_path, "--weights", edsr_x2, "--scale", 3, "--data_dir", photos)
    assert "holds edsr x2, not x3" in line
    for arguments, words in [
            (["--weights", "any.h5", "--model", "bicubic", "--scale", "2"],
             "--weights needs a network"),
            (["--model", "bicubi", "--scale", "2"], r"\(did you mean 'bicubic'\?\)"),
            (["--crop_bordr", "2"], r"did you mean --crop_border\?"),
            (["--data_dir", str(photos)], "--model"),
            (["--model", "edsr", "--data_dir", str(photos)], "needs --scale"),
            (["--model", "bicubic", "--data_dir", str(photos)], "needs --scale")]:
        with pytest.raises(UserError, match=words):
            main(arguments)


def test_mistakes_in_images_are_one_line_and_leave_no_result(refused, photos, tmp_path):
    bicubic_x2 = ["--model", "bicubic", "--scale", 2, "--json", "out.json", "--data_dir"]
    assert "nowhere" in refused(tmp_path, *bicubic_x2, tmp_path / "nowhere")
    line = refused(tmp_path, *bicubic_x2, photos, "--crop_border", 12)
    assert "grey.png" in line and "11x11" in line
    line = refused(tmp_path, *bicubic_x2, photos, "--save_images", photos)
    assert "choose another" in line
    (photos / "torn.png").write_bytes((photos / "colour.png").read_bytes()[:200])
    assert "torn.png" in refused(tmp_path, *bicubic_x2, photos)
    assert not (tmp_path / "out.json").exists()
