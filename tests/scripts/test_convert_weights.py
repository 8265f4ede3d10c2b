"""The command `scripts.convert_weights`; what is converted is in tests/models."""

import numpy as np
import pytest
from scipy.io import savemat

from common.cli import UserError
from common.weights import read_metadata
from common.weights.kinds import KINDS
from models.convert import convert, converters
from scripts.convert_weights import main


@pytest.fixture
def vdsr(tmp_path):
    """A MATLAB file of a VDSR of three layers."""
    shapes = [(3, 3, 1, 5), (3, 3, 5, 5), (3, 3, 5, 1)]
    weight, bias = np.empty((1, 3), object), np.empty((1, 3), object)
    for i, shape in enumerate(shapes):
        weight[0, i], bias[0, i] = np.full(shape, 0.01), np.zeros((shape[3], 1))
    savemat(str(tmp_path / "vdsr"), {"model": {"weight": weight, "bias": bias}}, appendmat=False)
    return tmp_path / "vdsr"


def test_the_command(vdsr, tmp_path, call):
    done = call(main, "--model", "vdsr", "--scale", 2, 3, 4, vdsr, "out.h5", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "out.h5: vdsr x234, num_layers 3, num_filters 5, 326 parameters\n"
    assert read_metadata(tmp_path / "out.h5")["scale"] == [2, 3, 4]


@pytest.mark.parametrize("scales, held", [((), [2, 3, 4]), (("--scale", "3", "2"), [2, 3]),
                                          (("--scale", "4,2"), [2, 4]), (("--scale", "3"), 3)])
def test_scales_may_stand_before_the_files(vdsr, tmp_path, scales, held):
    main(["--model", "vdsr", *scales, str(vdsr), str(tmp_path / "out.h5")])
    assert read_metadata(tmp_path / "out.h5")["scale"] == held


@pytest.mark.parametrize("arguments, message", [
    (("--model", "edsr", "vdsr"), "vdsr is a MATLAB 5 file; edsr is converted from a PyTorch file"),
    (("--model", "vdsr", "absent"), "no such file: absent"),
    (("--model", "vdsr", "--res_scale", "1", "vdsr"), "vdsr has no option 'res_scale'"),
    (("--model", "vdsr", "--scale", "5", "vdsr"), "vdsr holds vdsr x234, not x5; correct --scale"),
    (("--model", "vdsr", "--scale", "two", "vdsr"), "--scale must be numbers"),
])
def test_mistakes_are_told(vdsr, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        main([*arguments, "out.h5"])
    assert not (tmp_path / "out.h5").exists()


def test_help_names_every_source(tmp_path, call):
    done = call(main, "--help", cwd=tmp_path)
    text = " ".join(done.stdout.split())
    for part in ("VDSR_Official.mat", "BasicSR", "TensorFlow checkpoint", "--res_scale",
                 "PaddleGAN", "Keras-SRGAN"):
        assert part in text


def test_a_converter_says_what_it_expects():
    assert set(converters()) == {"bsrn", "edsr", "esrgan", "srcnn", "srdrm", "srgan", "vdsr"}
    for module in converters().values():
        assert module.EXPECTS and set(module.EXPECTS) <= set(KINDS)


def test_targets_that_cannot_be_are_refused(vdsr, tmp_path):
    with pytest.raises(UserError, match="out.keras: the suffix must be .h5"):
        convert("vdsr", vdsr, tmp_path / "out.keras")
    same = vdsr.rename(tmp_path / "same.h5")
    with pytest.raises(UserError, match="is the source"):
        convert("vdsr", same, same)
    with pytest.raises(UserError, match="unknown model 'vdsrr'"):
        convert("vdsrr", same, tmp_path / "out.h5")
