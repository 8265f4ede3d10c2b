"""`scripts.degrade`: the files it writes, their names, and mistakes."""

import numpy as np
import pytest
from PIL import Image

from common.data.degradation import degrade
from common.images.files import read_rgb, write_image
from scripts.degrade import main


@pytest.fixture
def photos(tmp_path, photo):
    """A folder with a photograph, a grey one with alpha, a tiny one and a broken one."""
    folder = tmp_path / "in"
    write_image(folder / "cat.jpg", photo(61, 83))
    write_image(folder / "grey.png", photo(40, 48)[..., :2])
    write_image(folder / "tiny.png", photo(2, 9))
    (folder / "broken.png").write_bytes(b"no image")
    return folder


def test_a_folder_with_bad_images(call, photos, tmp_path):
    done = call(main, "in", "-o", "out", "--scale", 3, "--seed", 7, cwd=tmp_path)
    assert done.returncode == 2
    errors = done.stderr.splitlines()
    assert len(errors) == 2 and "broken.png" in errors[0]
    assert errors[1] == "error: the image in/tiny.png is too small for x3"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cat_x3.png",
                                                                        "grey_x3.png"]
    assert "in/cat.jpg 83x61 -> out/cat_x3.png 27x20, " in done.stdout
    for name, suffix in (("cat", ".jpg"), ("grey", ".png")):
        made = np.array(Image.open(tmp_path / "out" / f"{name}_x3.png"))
        expected = degrade(read_rgb(photos / f"{name}{suffix}"), 3, 7, name)
        assert np.array_equal(made, expected)


def test_the_result_depends_on_seed_and_name_alone(call, photos, tmp_path):
    (photos / "broken.png").unlink()
    (photos / "tiny.png").unlink()
    assert call(main, "in", "-o", "all", "--scale", 2, cwd=tmp_path).returncode == 0
    assert call(main, "in/grey.png", "-o", "deep/one.png", "--scale", 2, "--seed", 0,
                cwd=tmp_path).returncode == 0
    first = (tmp_path / "all" / "grey_x2.png").read_bytes()
    assert (tmp_path / "deep" / "one.png").read_bytes() == first
    assert call(main, "in", "-o", "other", "--scale", 2, "--seed", 1, cwd=tmp_path).returncode == 0
    assert (tmp_path / "other" / "grey_x2.png").read_bytes() != first


def test_the_other_stack_writes_the_same_pixels(run, call, photos, tmp_path, other_python):
    call(main, "in", "-o", "ours", "--scale", 2, cwd=tmp_path)
    done = run("-m", "scripts.degrade", "in", "-o", "theirs", "--scale", 2, cwd=tmp_path,
               python=other_python)
    assert done.returncode == 2 and "broken.png" in done.stderr
    for name in ("cat_x2.png", "grey_x2.png"):
        assert np.array_equal(*(read_rgb(tmp_path / folder / name) for folder in ("ours",
                                                                                "theirs")))


@pytest.mark.parametrize("arguments, words", [
    (["in/cat.jpg", "-o", "out.jpg"], "cannot write out.jpg: the suffix must be .png"),
    (["nowhere.png", "-o", "out"], "no such file: nowhere.png"),
    (["in", "-o", "in"], "in is an input; name another place with -o"),
    (["in/cat.jpg", "-o", "out", "--scale", "0"], "--scale"),
    (["in/cat.jpg", "-o", "out", "--sed", "1"], "did you mean --seed?")])
def test_mistakes_are_one_line_and_write_nothing(call, photos, tmp_path, arguments, words):
    before = sorted(tmp_path.rglob("*"))
    done = call(main, *arguments, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and words in done.stderr
    assert done.stderr.count("\n") == 1 and sorted(tmp_path.rglob("*")) == before
