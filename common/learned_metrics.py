"""LPIPS and NIQE, by the package pyiqa (the extra `metrics`) on PyTorch."""

import functools
import importlib.util

import numpy as np

from common.cli import UserError, one_line
from common.metrics import cropped_rgb

# The smallest side: AlexNet has no feature left below, and NIQE no block of 96x96 pixels.
SMALLEST = {"lpips": 32, "niqe": 96}


@functools.cache
def open_metric(name):
    """Build a metric of pyiqa, which fetches its weights the first time, on the CPU.

    TensorFlow may hold the memory of a GPU, and the values would differ between chips.

    Args:
        name: a key of `SMALLEST`.

    Returns:
        a function of tensors (1, 3, H, W) in [0, 1] to a tensor of one value.

    Raises:
        UserError: pyiqa is not installed, or its weights cannot be had.
    """
    lacking = [package for package in ("pyiqa", "torch")
               if importlib.util.find_spec(package) is None]
    if lacking:
        raise UserError(f"{name} needs {' and '.join(lacking)}: pip install pyiqa")
    try:
        import pyiqa

        return pyiqa.create_metric(name, device="cpu")
    except Exception as error:  # of many packages, and of many kinds
        raise UserError(f"pyiqa cannot set {name} up: {one_line(error)[:160]}") from error


def lpips(sr, hr, crop_border=0):
    """Learned perceptual distance in AlexNet's features (arXiv 1801.03924), the lower the better.

    Args:
        sr, hr: two images of one shape, [H, W] or [H, W, 3] RGB, values in 0..255.
        crop_border: pixels left out on each side; 32x32 must be left.

    Returns:
        a float.

    Raises:
        ValueError: images that do not fit.
        UserError: see `open_metric`.
    """
    if np.shape(sr) != np.shape(hr):
        raise ValueError(f"images of different shapes: {np.shape(sr)} and {np.shape(hr)}")
    return _measure("lpips", [sr, hr], crop_border)


def niqe(image, crop_border=0):
    """Naturalness without a reference (Mittal et al., 2013, doi 10.1109/LSP.2012.2227726).

    The lower the better; on the luma, as pyiqa has it. Args, returns and errors as `lpips`, for
    one image of at least 96x96 pixels inside the border.
    """
    return _measure("niqe", [image], crop_border)


def _measure(name, images, crop_border):
    tensors = [_tensor(cropped_rgb(image, crop_border, SMALLEST[name])) for image in images]
    metric = open_metric(name)
    try:
        return float(metric(*tensors).item())
    except Exception as error:
        raise ValueError(f"pyiqa's {name} failed: {one_line(error)[:160]}") from error


def _tensor(image):
    import torch

    planes = np.float32(np.clip(image / 255, 0, 1).transpose(2, 0, 1)[np.newaxis])
    return torch.from_numpy(np.ascontiguousarray(planes))
