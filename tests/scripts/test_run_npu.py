"""run_npu.sh and run_8p.sh: environment, checks, processes. A stand-in replaces the training."""

import json
import signal
import time
from pathlib import Path

import pytest

NPU = "models/edsr/scripts/run_npu.sh"
EIGHT = "models/edsr/scripts/run_8p.sh"
CM = {"CM_CHIEF_IP": "10.0.0.1", "CM_CHIEF_PORT": "6000", "CM_CHIEF_DEVICE": "0",
      "CM_WORKER_IP": "10.0.0.2", "CM_WORKER_SIZE": "2"}

# Each training says what it was given; that of device $FAILS fails, those named in $STAYS go on
# until they are told to end, which that of device $DEAF does not hear.
RECORDER = r"""
case " $* " in
  *" -c "*) exec "$REAL" "$@" ;;
  *" --print_config "*) [ -z "${WRONG:-}" ] || { echo "error: unknown option" >&2; exit 2; }
    echo "output_dir: ${YAML_OUTPUT:-null}"; exit ;;
esac
echo "args: $*"
for name in JOB_ID ASCEND_DEVICE_ID RANK_SIZE RANK_ID RANK_TABLE_FILE CM_WORKER_SIZE \
  TF_CPP_MIN_LOG_LEVEL CANN PLUGIN; do
  [ -z "${!name+set}" ] || echo "$name=${!name}"
done
case " ${FAILS:-} " in *" $ASCEND_DEVICE_ID "*)
  for other in ${STAYS:-}; do # not before these hear signals
    for ((i = 0; i < 300; i++)); do [ ! -e "ready-$other" ] || break; sleep 0.1; done
  done
  echo "error: device lost" >&2; exit 9 ;;
esac
case " ${STAYS:-} " in *" $ASCEND_DEVICE_ID "*)
  trap 'echo ended; exit 143' TERM
  [ "${DEAF:-}" != "$ASCEND_DEVICE_ID" ] || trap '' TERM
  echo waiting
  : >"ready-$ASCEND_DEVICE_ID"
  for ((i = 0; i < 600; i++)); do sleep 0.1; done ;;
esac
"""


@pytest.fixture(autouse=True)
def stand_in(checkout):
    checkout.python(RECORDER)


def table(folder, *servers):
    """The path of a rank table; a server is a list of (device, rank)."""
    path = folder / "table.json"
    path.write_text(json.dumps({"status": "completed", "version": "1.0", "server_list": [
        {"server_id": f"node_{i}", "device": [
            {"device_id": str(device), "device_ip": f"10.0.{i}.{device}", "rank_id": str(rank)}
            for device, rank in cards_here]} for i, cards_here in enumerate(servers)]}))
    return str(path)


def fields(text):
    """What a training said: the variables as a dict."""
    return dict(line.split("=", 1) for line in text.splitlines()
                if "=" in line and not line.startswith("args"))


def one_line(result):
    assert (result.returncode, result.stdout) == (2, ""), result.stderr
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("error: ")
    return result.stderr


# ---- one device ----------------------------------------------------------------------------------

def test_bare_it_trains_the_demo_on_device_0(checkout, tmp_path, npu):
    result = checkout.run(NPU, tmp_path, TF_CPP_MIN_LOG_LEVEL="3", **npu(1))
    assert result.returncode == 0, result.stderr
    assert "args: -m models.edsr.train --chip=npu --preset=demo\n" in result.stdout
    assert fields(result.stdout) == {
        "JOB_ID": "10087", "ASCEND_DEVICE_ID": "0", "RANK_SIZE": "1", "RANK_ID": "0",
        "TF_CPP_MIN_LOG_LEVEL": "0"}
    assert checkout.asked() == ["--stack ascend --python"]


def test_flags_status_and_environment_of_the_caller(checkout, tmp_path, npu):
    result = checkout.run(NPU, tmp_path, "--config", "a b.yaml", "--precision_mode=x", FAILS="3",
                          JOB_ID="7", ASCEND_DEVICE_ID="3", **npu(1))
    assert result.returncode == 9
    assert ("args: -m models.edsr.train --chip=npu --config a b.yaml --precision_mode=x\n"
            in result.stdout)
    assert fields(result.stdout)["JOB_ID"] == "7"


def test_without_a_device_it_says_so(checkout, tmp_path):
    assert "no NPU here" in one_line(checkout.run(NPU, tmp_path))
    assert checkout.asked() == ["--stack ascend --find"]  # nothing is installed for it


def test_the_adapter_alone_is_enough_to_try(checkout, tmp_path):
    (tmp_path / "npu_device").mkdir()
    (tmp_path / "npu_device" / "__init__.py").touch()
    result = checkout.run(NPU, tmp_path, PYTHONPATH=str(tmp_path))
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("place", ["ASCEND_TOOLKIT_HOME", "ASCEND_HOME_PATH", "HOME"])
def test_cann_is_loaded_wherever_it_lies(checkout, tmp_path, npu, place):
    if place == "HOME" and Path("/usr/local/Ascend").exists():
        pytest.skip("this machine has a CANN of its own")
    base = tmp_path / "home" / "Ascend"
    for folder, line in (("ascend-toolkit", "export CANN=loaded$NEVER_SET"),
                         ("tfplugin", 'export PLUGIN="after $CANN"')):
        (base / folder).mkdir(parents=True)
        (base / folder / "set_env.sh").write_text(f"false\n{line}\n")
    value = {"ASCEND_TOOLKIT_HOME": base / "ascend-toolkit" / "latest",
             "ASCEND_HOME_PATH": base / "ascend-toolkit", "HOME": tmp_path / "home"}[place]
    result = checkout.run(NPU, tmp_path, **{**npu(1), place: str(value)})
    said = fields(result.stdout)
    assert (said["CANN"], said["PLUGIN"]) == ("loaded", "after loaded"), result.stderr


# ---- how processes find each other ---------------------------------------------------------------

@pytest.mark.parametrize("script", [NPU, EIGHT])
def test_what_is_wrong_is_said_in_one_line(checkout, tmp_path, npu, script):
    result = checkout.run(script, tmp_path, RANK_SIZE="4", **CM, **npu(2))
    assert "RANK_SIZE is 4, but CM_WORKER_SIZE is 2" in one_line(result)


# ---- several devices -----------------------------------------------------------------------------

@pytest.fixture
def two(tmp_path, npu):
    """The environment of two NPUs with a rank table."""
    return {"RANK_SIZE": "2", "RANK_TABLE_FILE": table(tmp_path, [(0, 0), (1, 1)]), **npu(2)}


def log_of(folder, device):
    return (folder / str(device) / f"train_{device}.log").read_text()


def test_one_process_for_each_device(checkout, tmp_path, two):
    result = checkout.run(EIGHT, tmp_path, "--output_dir=my output", YAML_OUTPUT="my output", **two)
    assert result.returncode == 0, result.stderr
    for device in range(2):
        text = log_of(tmp_path / "my output", device)
        assert "args: -m models.edsr.train --chip=npu --preset=demo --output_dir=my output" in text
        said = fields(text)
        assert said["ASCEND_DEVICE_ID"] == said["RANK_ID"] == str(device)
        assert said["RANK_SIZE"] == "2" and said["TF_CPP_MIN_LOG_LEVEL"] == "0"


def test_a_table_with_another_number_is_one_line_before_any_process(checkout, tmp_path, two):
    result = checkout.run(EIGHT, tmp_path, **{**two, "RANK_SIZE": "8"})
    assert "lists 2 devices and RANK_SIZE is 8" in one_line(result)
    assert not (tmp_path / "output").exists()


def test_a_second_start_adds_to_the_logs(checkout, tmp_path, two):
    for mark in ("first", "second"):
        assert checkout.run(EIGHT, tmp_path, f"--mark={mark}", **two).returncode == 0
    text = log_of(tmp_path / "output" / "edsr_8p", 1)
    assert text.index("--mark=first") < text.rindex("==== started ") < text.index("--mark=second")


def test_when_one_fails_the_others_are_ended_and_its_status_returned(checkout, tmp_path, two):
    began = time.monotonic()
    result = checkout.run(EIGHT, tmp_path, FAILS="1", STAYS="0", **two)
    assert result.returncode == 9 and time.monotonic() - began < 20
    assert "error: device lost" in result.stderr  # the last lines of its log
    assert "device 1 ended with status 9" in result.stderr
    assert log_of(tmp_path / "output" / "edsr_8p", 0).endswith("waiting\nended\n")


def test_one_that_does_not_end_is_killed(checkout, tmp_path, two):
    began = time.monotonic()
    result = checkout.run(EIGHT, tmp_path, FAILS="1", STAYS="0", DEAF="0", SR_ZOO_GRACE="1", **two)
    assert result.returncode == 9 and time.monotonic() - began < 20
    assert "still running after 1 s, so killed: device 0" in result.stderr


def test_sigterm_is_passed_on_and_waited_for(checkout, tmp_path, two):
    process = checkout.start(EIGHT, tmp_path, STAYS="0 1", **two)
    logs = [tmp_path / "output" / "edsr_8p" / str(i) / f"train_{i}.log" for i in range(2)]
    for _ in range(200):
        if all(log.is_file() and "waiting" in log.read_text() for log in logs):
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 143
    assert all(log.read_text().endswith("ended\n") for log in logs)


def test_a_mistake_in_the_flags_is_one_line_before_any_process(checkout, tmp_path, two):
    assert "unknown option" in one_line(checkout.run(EIGHT, tmp_path, WRONG="1", **two))
    assert not (tmp_path / "output").exists()
