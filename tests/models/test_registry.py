import pytest

import models
from common.cli import UserError
from models import catalogue


def test_available_names_can_be_created():
    assert "edsr" in models.available()


@pytest.mark.parametrize("arguments, options, words", [
    (("edrs", 2), {}, ["'edrs'", "did you mean 'edsr'"]),
    (("edsr", 5), {}, ["no scale 5", "2, 3, 4, 8"]),
    (("edsr", 2), {"num_block": 3}, ["'num_block'", "did you mean 'num_blocks'"]),
])
def test_mistakes_are_named(arguments, options, words):
    with pytest.raises(UserError) as error:
        models.create(*arguments, **options)
    for word in words:
        assert word in str(error.value)


def test_load_refuses_another_scale(tmp_path):
    from common import weights

    path = tmp_path / "x2.h5"
    weights.save(models.create("edsr", 2, num_blocks=1, num_filters=4), path)
    with pytest.raises(UserError, match="edsr x2, not x3"):
        models.load(path, scale=3)


def test_bundled_weights_are_there_or_named_missing():
    assert catalogue.bundled(None, 2) == catalogue.find("edsr-x2")
    with pytest.raises(UserError, match="no weights for edsr x8 come with the zoo .*edsr-x2"):
        catalogue.bundled("edsr", 8)
