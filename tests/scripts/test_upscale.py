"""`scripts.upscale`: kinds of files, names, mistakes, memory."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import models
from common import weights
from common.cli import UserError
from common.images.files import read_image, write_image
from common.nn.keras_compat import set_seed
from scripts.upscale import main


@pytest.fixture(scope="module")
def edsr_x2(tmp_path_factory):
    """Weight file of the demo's EDSR x2 (4 blocks of 32 filters)."""
    path = tmp_path_factory.mktemp("weights") / "demo.h5"
    set_seed(2)
    weights.save(models.create("edsr", 2, num_blocks=4, num_filters=32, res_scale=1), path)
    return path


def noise(*shape, dtype=np.uint8):
    return np.random.RandomState(4).randint(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def test_a_folder_of_all_kinds_with_a_broken_file(call, edsr_x2, tmp_path):
    folder = tmp_path / "in"
    images = {"grey.png": noise(10, 13), "rgb.png": noise(11, 9, 3), "rgba.png": noise(8, 8, 4),
              "la.png": noise(7, 9, 2), "grey16.png": noise(9, 8, dtype=np.uint16),
              "photo.jpg": noise(16, 16, 3), "colour16.png": noise(6, 7, 3, dtype=np.uint16)}
    for name, image in images.items():
        write_image(folder / name, image)
    (folder / "broken.png").write_bytes((folder / "rgb.png").read_bytes()[:100])
    (folder / "notes.txt").write_text("not an image")
    done = call(main, "--weights", edsr_x2, "in", "-o", "out", cwd=tmp_path)
    out, err = done.stdout, done.stderr
    assert done.returncode == 2
    assert err.startswith("error: ") and "broken.png" in err and err.count("\n") == 1
    results = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert results == sorted(f"{Path(name).stem}_x2{Path(name).suffix}" for name in images)
    for name, image in images.items():
        sr, _ = read_image(tmp_path / "out" / f"{Path(name).stem}_x2{Path(name).suffix}")
        assert sr.dtype == image.dtype
        assert sr.shape == (2 * image.shape[0], 2 * image.shape[1], *image.shape[2:])
    assert len(out.splitlines()) == len(images) + 1
    assert out.splitlines()[-1].startswith("7 written, 1 failed, ")
    assert "13x10 -> " in out and "26x20" in out


def test_one_file_keeps_its_profile_and_is_the_networks_result(call, edsr_x2, tmp_path):
    from common.inference.upscaler import Upscaler

    image = noise(60, 70, 3)
    exif = Image.Exif()
    exif[0x010E] = "a description"
    Image.fromarray(image).save(tmp_path / "a.png", icc_profile=b"profile" * 20, exif=exif)
    done = call(main, "--weights", edsr_x2, "--model", "edsr", "--scale", 2, "a.png", "-o",
                "deep/er/b.png", "--tile", 20, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "") and len(done.stdout.splitlines()) == 1
    with Image.open(tmp_path / "deep/er/b.png") as result:
        assert result.info["icc_profile"] == b"profile" * 20
        assert result.getexif()[0x010E] == "a description"
        sr = np.asarray(result)
    expected = Upscaler(models.load(edsr_x2))(image)
    assert np.abs(sr.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("arguments, words", [
    (["--weights", "W", "--scale", "3", "a.png", "-o", "out"], "holds edsr x2, not x3"),
    (["--weights", "W", "--model", "vdsr", "a.png", "-o", "out"], "not vdsr"),
    (["--weights", "a.png", "a.png", "-o", "out"], "a.png is not an HDF5 file"),
    (["--weights", "W", "a.png", "-o", "a.png"], "is an input"),
    (["--weights", "W", "nowhere.png", "-o", "out"], "no such file: nowhere.png"),
    (["--weights", "W", "a.png", "-o", "out", "--tile", "-3"], "0 or more"),
    (["--model", "edsr", "--scale", "8", "a.png", "-o", "out"], "no weights for edsr x8"),
    (["--weights", "W", "a.gif", "a.png", "-o", "out"], r"both become out/a_x2\.png"),
    (["--weights", "W", "a.png", "-o", "b.gif"], r"cannot write b\.gif: use one of"),
    (["--weights", "W", "wide.png", "-o", "b.webp"],
     r"cannot write b\.webp \(16402x2 pixels\): \.webp holds at most 16383 per side; try .* \.png"),
    (["--weights", "W", "wide.png", "tall.jpg", "-o", "out"],
     r"out/tall_x2\.jpg \(2x65502 pixels\): \.jpg holds at most 65500"),
    (["a.png", "-o", "out", "--tiel", "3"], r"did you mean --tile\?")])
def test_mistakes_are_told_and_write_nothing(edsr_x2, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    write_image("a.png", noise(8, 8, 3))
    write_image("wide.png", noise(1, 8201))
    write_image("tall.jpg", noise(32751, 1))
    Image.open("a.png").save("a.gif")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match=words):
        main([str(edsr_x2) if word == "W" else word for word in arguments])
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path: path.read_bytes() for path in written} == before


def test_every_kind_that_can_be_read_is_found_in_a_folder(edsr_x2, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    written = {".jfif": ".jfif", ".JPE": ".JPE", ".gif": ".png", ".avif": ".png", ".jp2": ".png",
               ".ppm": ".png", ".tga": ".png"}
    for suffix in written:
        Image.fromarray(noise(9, 7, 3)).save(tmp_path / "in" / f"{suffix[1:]}{suffix}")
    assert main(["--weights", str(edsr_x2), str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"{old[1:]}_x2{new}" for old, new in written.items()}
    for path in (tmp_path / "out").iterdir():
        with Image.open(path) as image:
            assert image.format == ("PNG" if path.suffix == ".png" else "JPEG")
            assert image.size == (14, 18)


def test_images_above_a_stated_size_are_refused(edsr_x2, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.fromarray(noise(15, 20, 3)).save(tmp_path / "large.png")
    Image.fromarray(noise(5, 5, 3)).save(tmp_path / "small.png")
    command = ["--weights", str(edsr_x2), str(tmp_path / "large.png"), str(tmp_path / "small.png"),
               "-o", str(tmp_path / "out")]
    assert main([*command, "--max_megapixels", "0.0002"]) == 2
    out, err = capsys.readouterr()
    assert err == (f"error: {tmp_path / 'large.png'} has 20x15 pixels, more than 0.0002 million; "
                   "if it is meant, allow more with --max_megapixels\n")
    assert "small.png" in out
    for allowed in ("0", "0.0003", "200"):
        assert main([*command, "--max_megapixels", allowed]) == 0
        assert "20x15 -> " in capsys.readouterr().out and Image.MAX_IMAGE_PIXELS == 100


def test_what_is_left_out_of_a_file_is_told(edsr_x2, tmp_path, capsys):
    frames = [Image.fromarray(noise(9, 7, 3) // (n + 1)) for n in range(3)]
    for name, target in (("anim.gif", "a.jpg"), ("pages.tif", "a.png"), ("two.jpg", "a.tif")):
        options = {"format": "MPO"} if name == "two.jpg" else {}
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
        assert main(["--weights", str(edsr_x2), str(tmp_path / name), "-o",
                     str(tmp_path / target)]) == 0
        several = "pages" if name == "pages.tif" else "frames"
        assert capsys.readouterr().err == (
            f"{tmp_path / name} holds 3 {several}; the first is enlarged\n")


def test_a_result_is_upright_and_keeps_what_the_file_says(edsr_x2, tmp_path):
    from common.inference.upscaler import Upscaler

    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "a maker", 6
    image = noise(6, 10, 3)
    Image.fromarray(image).save(tmp_path / "a.png", exif=exif, dpi=(300, 240))
    expected = Upscaler(models.load(edsr_x2))(np.rot90(image, -1))
    for suffix in (".png", ".bmp", ".tif", ".jpg"):
        assert main(["--weights", str(edsr_x2), str(tmp_path / "a.png"), "-o",
                     str(tmp_path / f"b{suffix}")]) == 0
        with Image.open(tmp_path / f"b{suffix}") as result:
            assert result.size == (12, 20) and result.getexif().get(0x0112, 1) == 1
            assert np.allclose([float(v) for v in result.info["dpi"]], (240, 300), atol=0.5)
            if suffix != ".jpg":
                np.testing.assert_array_equal(np.array(result), expected)
            if suffix != ".bmp":
                assert result.getexif()[0x010F] == "a maker"


@pytest.mark.parametrize("alpha", ["bicubic", "network"])
def test_alpha_is_enlarged_as_asked_for(edsr_x2, tmp_path, alpha):
    from common.inference.upscaler import Upscaler

    image = noise(9, 7, 4)
    Image.fromarray(image).save(tmp_path / "a.png")
    assert main(["--weights", str(edsr_x2), str(tmp_path / "a.png"), "-o", str(tmp_path / "b.png"),
                 "--alpha", alpha]) == 0
    upscale = Upscaler(models.load(edsr_x2))
    expected = (upscale(image[..., 3].copy()) if alpha == "network" else upscale(image)[..., 3])
    np.testing.assert_array_equal(read_image(tmp_path / "b.png")[0][..., 3], expected)


def test_the_sprites_of_the_issue(edsr_x2, shared, tmp_path):
    results = []
    for name in ("sprite_black.png", "sprite_bled.png"):
        assert main(["--weights", str(edsr_x2), str(shared / "cases/images" / name), "-o",
                     str(tmp_path / name)]) == 0
        results.append(read_image(tmp_path / name)[0].astype(int))
    seen = results[0][..., 3] > 0
    assert (results[0][..., 3] == results[1][..., 3]).all() and 0 < seen.mean() < 1
    assert np.abs(results[0] - results[1])[seen].max() <= 2


def test_memory_that_is_exhausted_is_told(edsr_x2, tmp_path, monkeypatch, capsys):
    def read(path):
        raise MemoryError("Unable to allocate 8.00 GiB")

    monkeypatch.setattr("common.inference.enlarge.read_pictures", read)
    Image.fromarray(noise(5, 5)).save(tmp_path / "a.png")
    assert main(["--weights", str(edsr_x2), str(tmp_path / "a.png"), "-o", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.endswith("a.png: out of memory: Unable to allocate 8.00 GiB\n")


def test_a_mistake_is_one_line_and_status_2(run, edsr_x2, tmp_path):
    write_image(tmp_path / "a.png", noise(8, 8, 3))
    done = run("-m", "scripts.upscale", "--weights", edsr_x2, "a.png", "-o", "a.png", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: a.png is an input; name another place with -o\n"


# A process counts the memory of the one that started it until it has loaded its own program, and
# pytest's is large by now: a small process in between starts the one that is measured.
MEASURED = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print("KiB", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs ru_maxrss in KiB")
def test_a_large_photograph_stays_within_memory(run, tmp_path):
    # One block in place of the demo's four: no more are held in memory at a time.
    weights.save(models.create("edsr", 2, num_blocks=1, num_filters=32), tmp_path / "edsr.h5")
    y, x, c = np.mgrid[0:1000, 0:1500, 0:3]
    write_image(tmp_path / "large.jpg", np.uint8(127 + 100 * np.sin(x / 40 + c) * np.cos(y / 60)))
    result = run("-c", MEASURED, sys.executable, "-m", "scripts.upscale", "--weights", "edsr.h5",
                 "--chip", "cpu", "large.jpg", "-o", "sr.jpg", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    # Measured: 1.4 GB, and 3 GB without tiles.
    assert 1e8 / 1024 < int(result.stdout.split("KiB")[-1]) < 2.1e9 / 1024
    with Image.open(tmp_path / "sr.jpg") as result:
        assert result.size == (3000, 2000)


@pytest.fixture
def upscaler(edsr_x2):
    from common.inference.upscaler import Upscaler

    return Upscaler(models.load(edsr_x2))


@pytest.mark.parametrize("name, result, alpha", [
    ("a.png", "a_x2.png", True), ("a.webp", "a_x2.webp", False), ("a.gif", "a_x2.png", True),
    ("a.png", "a_x2.tif", True)])
def test_every_frame_is_enlarged_and_shown_as_long(edsr_x2, upscaler, tmp_path, name, result,
                                                   alpha, capsys):
    frames = [Image.fromarray(noise(9, 7, 3) // (n + 1)) for n in range(3)]
    if name == "a.webp":  # which halves the resolution of colours
        frames = [frame.convert("L").convert("RGB") for frame in frames]
    if alpha:
        frames[1].putalpha(Image.fromarray(np.uint8(noise(9, 7) > 90) * 255))
        frames[0], frames[2] = frames[0].convert("RGBA"), frames[2].convert("RGBA")
    options = {"lossless": True} if name == "a.webp" else {"disposal": 2}
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:],
                   duration=[40, 100, 70], loop=3, **options)
    with Image.open(tmp_path / name) as file:
        plays, shown = file.info["loop"] + (name == "a.gif"), []
        for n in range(3):
            file.seek(n)
            shown.append(np.array(file.convert("RGBA" if alpha else "RGB")))
    assert main(["--weights", str(edsr_x2), str(tmp_path / name), "-o", str(tmp_path / "out"),
                 "--format", result[-3:] if result[-4] == "." else "webp", "--quality", "100"]) == 0
    assert capsys.readouterr().err == ""
    with Image.open(tmp_path / "out" / result) as file:
        assert file.n_frames == 3
        for n, frame in enumerate(shown):
            file.seek(n)
            file.load()
            if not result.endswith(".tif"):
                assert file.info["duration"] == [40, 100, 70][n] and file.info["loop"] == plays
            expected = upscaler(frame).astype(int)
            error = np.abs(np.array(file.convert("RGBA" if alpha else "RGB")) - expected)
            assert error.max() == 0 if not result.endswith("webp") else error.mean() < 8


def test_every_page_is_enlarged_as_it_is(edsr_x2, upscaler, tmp_path):
    pages = [noise(9, 7, 3), noise(5, 12), noise(6, 6, 3, dtype=np.uint16)]
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in pages:
            file.write(page, photometric="rgb" if page.ndim == 3 else "minisblack")
    assert main(["--weights", str(edsr_x2), str(tmp_path / "a.tif"), "-o", str(tmp_path)]) == 0
    with tifffile.TiffFile(tmp_path / "a_x2.tif") as file:
        assert len(file.pages) == 3
        for found, page in zip(file.pages, pages):
            np.testing.assert_array_equal(found.asarray(), upscaler(page))


def test_a_damaged_page_leaves_no_file(edsr_x2, tmp_path, capsys):
    frames = [Image.fromarray(noise(90, 70, 3) // (n + 1)) for n in range(3)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        at = file.pages[2].tags["StripByteCounts"].valueoffset
    data[at:at + 4] = bytes([9, 0, 0, 0])
    (tmp_path / "a.tif").write_bytes(data)
    assert main(["--weights", str(edsr_x2), str(tmp_path / "a.tif"), "-o",
                 str(tmp_path / "out")]) == 2
    assert "a.tif as an image: data are missing" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_sub_folders_are_mirrored(edsr_x2, tmp_path, capsys):
    names = ["a.png", "one/a.png", "one/two/b.jpg", ".hidden/c.png", "one/.d.png"]
    for name in names:
        write_image(tmp_path / "in" / name, noise(6, 5, 3))
    out = tmp_path / "in" / "out"
    for _ in range(2):  # its own results are no inputs the second time
        assert main(["--weights", str(edsr_x2), str(tmp_path / "in"), "-o", str(out),
                     "--recursive", "--suffix", "_big", "--format", "png"]) == 0
        assert sorted(str(path.relative_to(out)) for path in out.rglob("*.*")) == [
            "a_big.png", "one/a_big.png", "one/two/b_big.png"]


@pytest.mark.parametrize("outscale", ["3.3", "1.5", "0.4", "2"])
def test_outscale_resizes_the_networks_result(edsr_x2, upscaler, tmp_path, outscale):
    from common import bicubic

    image = noise(21, 13, 4)
    write_image(tmp_path / "a.png", image)
    assert main(["--weights", str(edsr_x2), str(tmp_path / "a.png"), "-o", str(tmp_path),
                 "--outscale", outscale]) == 0
    size = [round(float(outscale) * side) for side in (21, 13)]
    np.testing.assert_array_equal(read_image(tmp_path / f"a_x{outscale}.png")[0],
                                  bicubic.resize(upscaler(image), size))


def test_existing_results_are_skipped_or_replaced(edsr_x2, tmp_path, capsys):
    for name in "abc":
        write_image(tmp_path / f"{name}.png", noise(6, 5, 3))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a_x2.png").write_bytes(b"mine")
    command = ["--weights", str(edsr_x2), str(tmp_path), "-o", str(tmp_path / "out")]
    assert main([*command, "--skip_existing"]) == 0
    assert (tmp_path / "out" / "a_x2.png").read_bytes() == b"mine"
    assert capsys.readouterr().out.splitlines()[-1].startswith("2 written, 1 existed already, ")
    assert main([*command, "--skip_existing"]) == 0
    assert capsys.readouterr().out.startswith("0 written, 3 existed already, ")
    assert main([*command, "--overwrite"]) == 0
    assert read_image(tmp_path / "out" / "a_x2.png")[0].shape == (12, 10, 3)


@pytest.mark.parametrize("arguments, words", [
    (["--quality", "0"], "quality"), (["--outscale", "-1"], "outscale"),
    (["--format", "gif"], "format"), (["--skip_existing", "--overwrite"], "not allowed with")])
def test_options_of_files_that_cannot_be(edsr_x2, tmp_path, arguments, words):
    write_image(tmp_path / "a.png", noise(6, 5, 3))
    with pytest.raises(UserError, match=words):
        main(["--weights", str(edsr_x2), str(tmp_path / "a.png"), "-o", str(tmp_path / "b.png"),
              *arguments])
    assert not (tmp_path / "b.png").exists()


def stream(data=b""):
    """Standard input or output with bytes beneath."""
    return io.TextIOWrapper(io.BytesIO(data))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_standard_input_and_output(edsr_x2, upscaler, tmp_path, monkeypatch, capsys, suffix):
    write_image(tmp_path / f"a{suffix}", noise(6, 5, 3))
    monkeypatch.setattr(sys, "stdin", stream((tmp_path / f"a{suffix}").read_bytes()))
    monkeypatch.setattr(sys, "stdout", stream())
    assert main(["--weights", str(edsr_x2), "-", "-o", "-"]) == 0
    assert "5x6 -> " in capsys.readouterr().err
    (tmp_path / "piped").write_bytes(sys.stdout.buffer.getvalue())
    main(["--weights", str(edsr_x2), str(tmp_path / f"a{suffix}"), "-o",
          str(tmp_path / f"b{suffix}")])
    assert (tmp_path / "piped").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_standard_input_that_is_no_image(edsr_x2, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", stream(b"nothing"))
    monkeypatch.setattr(sys, "stdout", stream())
    assert main(["--weights", str(edsr_x2), "-", "-o", "-", "--format", "jpg"]) == 2
    assert sys.stdout.buffer.getvalue() == b""
    assert "not an image, or damaged" in capsys.readouterr().err
