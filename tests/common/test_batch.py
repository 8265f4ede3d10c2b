from pathlib import Path

import numpy as np
import pytest

from common.batch import convert_each, find_sources, plan
from common.cli import UserError
from common.images.files import write_image


def test_names_of_results():
    a, b = Path("in/a.png"), Path("in/b.jpg")
    assert plan([a], ["in/a.png"], "result.webp", 3) == [(a, Path("result.webp"))]
    assert plan([a], ["in/a.png"], "out", 3) == [(a, Path("out/a_x3.png"))]
    assert plan([a, b], ["in/a.png", "in/b.jpg"], "out", 4) == [
        (a, Path("out/a_x4.png")), (b, Path("out/b_x4.jpg"))]
    assert plan([b], ["in/b.jpg"], "out", 4, ".png") == [(b, Path("out/b_x4.png"))]
    with pytest.raises(UserError, match=r"cannot write out\.jpg: the suffix must be \.png"):
        plan([b], ["in/b.jpg"], "out.jpg", 4, ".png")


@pytest.mark.parametrize("inputs, output, words", [
    (["a/1.png", "b/1.png"], "out", "would both become"),
    (["a/1.png", "b/2.png"], "out.png", "several results to one file"),
    (["a/1.png"], "a/1.png", "is an input"),
    (["a/1.png"], "a/../a/1.png", "is an input"),
    (["a/1.png", "a/1_x2.png"], "a", "is an input")])
def test_names_that_cannot_be(inputs, output, words):
    with pytest.raises(UserError, match=words):
        plan([Path(name) for name in inputs], inputs, output, 2)


def test_a_folder_is_not_its_own_output(tmp_path):
    write_image(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(UserError, match="is an input"):
        plan([tmp_path / "a.png"], [str(tmp_path)], str(tmp_path), 2)


def test_each_file_comes_once_and_one_must_exist(tmp_path):
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name, np.zeros((4, 4), np.uint8))
    a, b, missing = (tmp_path / name for name in ("a.png", "b.png", "c.png"))
    assert find_sources([b, tmp_path, missing]) == [a, b, missing]
    with pytest.raises(UserError, match="no such file: .*c.png"):
        find_sources([missing])


def test_one_bad_image_does_not_stop_the_others(capsys):
    def convert(source, target):
        if source == "bad":
            raise UserError("bad is\nno image")
        if source == "large":
            raise MemoryError("no room")
        return (2, 3), (4, 6)

    assert convert_each([("good", "1"), ("bad", "2"), ("large", "3"), ("fine", "4")], convert) == 2
    out, err = capsys.readouterr()
    assert [line[:-7] for line in out.splitlines()] == [
        "good 3x2 -> 1 6x4", "fine 3x2 -> 4 6x4", "2 written, 2 failed"]
    assert err == "error: bad is no image\nerror: large: out of memory: no room\n"
    assert convert_each([("good", "1")], convert) == 0
