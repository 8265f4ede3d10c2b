from common.device.machine import gpu_driver, npu_count, npu_paths


def test_devices_are_seen_by_the_files_of_their_drivers(tmp_path, monkeypatch):
    monkeypatch.setenv("SR_ZOO_NPU_DEVICES", f"{tmp_path}/davinci[0-9]* {tmp_path}/other")
    monkeypatch.setenv("SR_ZOO_NVIDIA_TRACES", f"{tmp_path}/none {tmp_path}/nvidiactl")
    assert npu_count() == 0 and not gpu_driver()
    for name in ("davinci0", "davinci7", "davinci_manager", "nvidiactl"):
        (tmp_path / name).touch()
    assert npu_count() == 2 and gpu_driver()


def test_where_they_are_looked_for(monkeypatch):
    monkeypatch.delenv("SR_ZOO_NPU_DEVICES", raising=False)
    assert npu_paths() == "/dev/davinci[0-9]*"
    monkeypatch.setenv("SR_ZOO_NPU_DEVICES", "")
    monkeypatch.setenv("SR_ZOO_NVIDIA_TRACES", "")
    assert npu_count() == 0 and not gpu_driver()
