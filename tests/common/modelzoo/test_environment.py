import pytest

from common.modelzoo import environment


@pytest.fixture
def setup(tmp_path, monkeypatch):
    """`setup(text)` puts a script in the place of setup.sh."""
    def write(text):
        (tmp_path / "setup.sh").write_text(text)
        monkeypatch.setattr(environment, "SETUP", ("bash", str(tmp_path / "setup.sh"), "--stack"))
    return write


@pytest.mark.process
def test_the_python_is_what_setup_prints(setup, monkeypatch):
    monkeypatch.setenv("PYTHON", "/mine")
    setup('echo "$* $PYTHON"')
    assert environment.zoo_python("main") == "--stack main --python /mine"
    assert environment.zoo_python("ascend", "/base") == "--stack ascend --python /base"
    assert environment.find_python("ascend") == "--stack ascend --find /mine"


@pytest.mark.process
def test_where_setup_fails_it_has_said_why(setup, capfd):
    setup('echo "error: no Python" >&2; exit 2')
    assert environment.find_python("main") == "" and capfd.readouterr().err == ""
    with pytest.raises(SystemExit) as end:
        environment.zoo_python("main")
    assert end.value.code == 2 and capfd.readouterr().err == "error: no Python\n"


def test_what_the_caller_has_set_stays(monkeypatch):
    monkeypatch.setenv("RANK_SIZE", "8")
    monkeypatch.setenv("RANK_ID", "")
    monkeypatch.delenv("JOB_ID", raising=False)
    given = environment.with_defaults(environment.ONE_DEVICE)
    assert (given["RANK_SIZE"], given["RANK_ID"], given["JOB_ID"]) == ("8", "0", "10087")


def test_the_root_is_the_zoos():
    assert (environment.ROOT / "modelarts_entry.py").is_file()
    assert environment.SETUP[1] == str(environment.ROOT / "scripts" / "setup.sh")
