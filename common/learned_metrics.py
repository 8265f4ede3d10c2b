"""LPIPS and NIQE, computed by the PyTorch package pyiqa (the extra `metrics`)."""

import functools
from typing import Callable

import numpy as np

from common.cli import UserError, one_line, require_packages
from common.metrics import check_same_shape, cropped_rgb

# Smallest side in pixels: AlexNet's features vanish below 32, and NIQE needs a 96x96 block.
SMALLEST = {"lpips": 32, "niqe": 96}


@functools.lru_cache(None)
def open_metric(name: str) -> Callable:
    """Build a pyiqa metric on the CPU; pyiqa downloads its weights the first time.

    The CPU because TensorFlow may hold a GPU's memory, and values would differ between chips.

    Args:
        name: a key of `SMALLEST`.

    Returns:
        a function from tensors (1, 3, H, W) in [0, 1] to a tensor of one value.

    Raises:
        UserError: pyiqa is not installed, or its weights are not available.
    """
    require_packages(name, ("pyiqa", "torch"), install="pyiqa")
    try:
        import pyiqa

        return pyiqa.create_metric(name, device="cpu")
    except Exception as error:  # pyiqa's many dependencies raise many types
        raise UserError(f"pyiqa cannot set up {name}: {one_line(error)[:160]}") from error


def lpips(sr: np.ndarray, hr: np.ndarray, crop_border: int = 0) -> float:
    """Learned perceptual distance of AlexNet features (arXiv 1801.03924); lower is better.

    Args:
        sr, hr: two images of the same shape, [H, W] or [H, W, 3] RGB, values in 0..255.
        crop_border: pixels ignored on each side; at least 32x32 must remain.

    Raises:
        ValueError: the shapes differ, or the image is too small.
        UserError: see `open_metric`.
    """
    check_same_shape(np.shape(sr), np.shape(hr))
    return _measure("lpips", [sr, hr], crop_border)


def niqe(image: np.ndarray, crop_border: int = 0) -> float:
    """Naturalness without a reference (Mittal et al., 2013, doi 10.1109/LSP.2012.2227726).

    Lower is better. Measured on luma, as in pyiqa. Arguments and errors as in `lpips`, for one
    image with at least 96x96 pixels inside the border.
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
