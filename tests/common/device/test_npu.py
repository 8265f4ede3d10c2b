"""Whether an NPU is here."""

from common.device import npu


def test_a_device_is_seen_by_its_file(tmp_path, monkeypatch):
    monkeypatch.setenv("SR_ZOO_NPU_DEVICES", f"{tmp_path}/none {tmp_path}/davinci[0-9]*")
    assert "no device " in npu.no_device()
    (tmp_path / "davinci_manager").touch()
    assert npu.no_device()
    (tmp_path / "davinci7").touch()
    assert npu.no_device() is None
    monkeypatch.setenv("SR_ZOO_NPU_DEVICES", "")
    assert npu.no_device() == "no device"
