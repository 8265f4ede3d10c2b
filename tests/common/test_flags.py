from dataclasses import dataclass
from typing import Optional

import pytest

from common.cli import UserError
from common.flags import OneLineParser, option, parse, to_yaml


@dataclass
class Options:
    """Some of each kind."""

    scale: int = option(2, "times")
    steps: Optional[int] = option(1000, "how long")
    epochs: Optional[int] = option(None, "how long otherwise")
    augment: bool = option(True, "flip")
    rate: float = option(1e-4, "speed")


@dataclass
class Changed(Options):
    """Another default under the same help text."""

    scale: int = option(4)


@pytest.fixture
def presets(tmp_path):
    (tmp_path / "fast.yaml").write_text("rate: 0.1\nscale: 3\n")
    (tmp_path / "long.yaml").write_text("epochs: 7\n")
    return tmp_path


def read(*argv, presets=None, cls=Options):
    return parse(cls, list(argv), "prog", presets, [("steps", "epochs")])


def test_flags_win_over_yaml_over_preset_over_defaults(presets, tmp_path):
    config = tmp_path / "run.yml"
    config.write_text("scale: 4\naugment: false\n")
    options = read("--preset", "fast", "--config", str(config), "--augment", presets=presets)
    assert (options.scale, options.rate, options.augment) == (4, 0.1, True)


def test_yaml_written_is_yaml_read(tmp_path):
    options = Options(scale=3, steps=None, epochs=5, augment=False, rate=3e-5)
    config = tmp_path / "config.yaml"
    config.write_text(to_yaml(options))
    assert read("--config", str(config)) == options


@pytest.mark.parametrize("argv, expected", [
    ([], (1000, None)), (["--epochs", "3"], (None, 3)), (["--steps", "9"], (9, None)),
    (["--preset", "long"], (None, 7)), (["--preset", "long", "--steps", "9"], (9, None)),
])
def test_the_nearer_of_two_exclusive_options_unsets_the_other(presets, argv, expected):
    options = read(*argv, presets=presets)
    assert (options.steps, options.epochs) == expected


def test_a_subclass_keeps_the_help_text(capsys):
    assert read(cls=Changed).scale == 4
    with pytest.raises(SystemExit) as stop:
        read("--help", cls=Changed)
    assert stop.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "times (type: int, default: 4)" in shown
    assert "how long otherwise" in shown and "default: null" not in shown


def test_print_config_can_be_read_back(presets, capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        read("--preset", "fast", "--print_config", presets=presets)
    assert stop.value.code == 0
    config = tmp_path / "printed.yml"
    config.write_text(capsys.readouterr().out)
    assert read("--config", str(config), presets=presets).rate == 0.1


@pytest.mark.parametrize("argv, words", [
    (["--scal", "3"], "--scal.*did you mean --scale"),
    (["--scale", "two"], "--scale.*two"),
    (["--steps", "1", "--epochs", "1"], "exclude each other"),
    (["--preset", "slow"], "unknown preset 'slow'.*choose one of fast, long"),
    (["--config", "no.yaml"], "no.yaml"),
    (["--scale", "1" + "0" * 30], "--scale: a whole number from"),
    (["--rate", "1e400"], "--rate: a finite number"),
    (["--rate", "nan"], "--rate: .*nan"),
])
def test_mistakes_are_one_line_that_names_them(presets, argv, words):
    with pytest.raises(UserError, match=words) as error:
        read(*argv, presets=presets)
    assert "\n" not in str(error.value)


def test_an_unknown_key_in_yaml_is_named(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("num_blok: 3\nscale: 2\n")
    with pytest.raises(UserError, match="num_blok"):
        read("--config", str(config))


def test_home_and_variables_in_values_are_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SR_DATA", "/sets")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "$SR_DATA").mkdir()
    parser = OneLineParser(prog="p")
    parser.add_argument("--data_dir")
    parser.add_argument("--many", nargs="+")
    parser.add_argument("--number", type=int, default=3)
    read = parser.read(["--data_dir=~/photos", "--many", "$SR_DATA/a", "${SR_DATA}b", "$SR_DATA"])
    assert read.data_dir == f"{tmp_path}/photos" and read.number == 3
    assert read.many == ["/sets/a", "/setsb", "$SR_DATA"]  # the last is a folder that exists


def test_a_text_that_cannot_be_a_path_is_named(tmp_path):
    (tmp_path / "c.yaml").write_text('data_dir: "a\\0b"\n')
    parser = OneLineParser(prog="p")
    parser.add_argument("--config", action="config")
    parser.add_argument("--data_dir", type=str)
    with pytest.raises(UserError, match="NUL"):
        parser.read(["--config", str(tmp_path / "c.yaml")])
