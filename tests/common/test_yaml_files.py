"""YAML that a stranger wrote: one line says why it is not read, in little time and memory."""

import time

import pytest

from common.cli import UserError
from common.yaml_files import read_yaml

BOMB = "a0: &a0 [1, 1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))


@pytest.mark.parametrize("content, said", [
    (BOMB.encode(), "its aliases make more than 100,000 values"),
    (b"a: &a [*a]", "its aliases make more than 100,000 values"),
    (b"a: " + b"[" * 5000, "is not YAML: maximum recursion depth"),
    (b"a: \xff", "is not YAML: 'utf-8' codec"), (b"a: 1" + b"0" * 200_000, "has 200,004 bytes"),
    (b"? [1]\n: 2", "is not YAML: .* unhashable key"), (b"a: 2020-13-01", "is not YAML: month"),
])
def test_what_is_not_read_is_named_at_once(content, said, tmp_path):
    (tmp_path / "a.yaml").write_bytes(content)
    begin = time.monotonic()
    with pytest.raises(UserError, match=said):
        read_yaml(tmp_path / "a.yaml")
    assert time.monotonic() - begin < 5


def test_aliases_that_stay_small_are_read(tmp_path):
    (tmp_path / "a.yaml").write_text("a: &a {b: 1}\nc:\n  <<: *a\n  d: *a\n")
    assert read_yaml(tmp_path / "a.yaml") == {"a": {"b": 1}, "c": {"b": 1, "d": {"b": 1}}}
