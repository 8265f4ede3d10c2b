"""The examples in docstrings run as they are written, beside the weights of a tiny network."""

import doctest

import pytest

import models
from common import weights
from common.inference.upscaler import Upscaler
from common.metrics import psnr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with `edsr_x2.h5`, which examples load."""
    path = tmp_path_factory.mktemp("examples")
    weights.save(models.create("edsr", scale=2, num_blocks=1, num_filters=4), path / "edsr_x2.h5")
    return path


@pytest.mark.parametrize("documented", [models.create, models.load, Upscaler, weights.save, psnr],
                         ids=lambda each: f"{each.__module__}.{each.__name__}")
def test_an_example_runs(documented, folder, monkeypatch):
    monkeypatch.chdir(folder)
    [example] = doctest.DocTestFinder(recurse=False).find(documented, globs={})
    assert example.examples
    told = []
    result = doctest.DocTestRunner().run(example, out=told.append)
    assert result.failed == 0, "".join(told)
