import os

from common.data.contents import sampled_hash, set_hash


def test_a_changed_byte_is_seen_whatever_the_times_say(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(bytes(range(256)) * 16)
    before, stat = sampled_hash(path), path.stat()
    data = bytearray(path.read_bytes())
    data[2000] ^= 1
    path.write_bytes(data)
    os.utime(str(path), ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert sampled_hash(path) != before
    data[2000] ^= 1
    path.write_bytes(data)
    assert sampled_hash(path) == before


def test_of_a_large_file_blocks_are_read_from_start_to_end(tmp_path):
    path = tmp_path / "large"
    path.write_bytes(bytes(100_000))
    before = sampled_hash(path, 1600)
    seen = set()
    for place in (0, 99, 99_999, 99_900, 5000):
        data = bytearray(100_000)
        data[place] = 1
        path.write_bytes(data)
        seen.add((place, sampled_hash(path, 1600) != before))
    assert seen == {(0, True), (99, True), (99_999, True), (99_900, True), (5000, False)}
    path.write_bytes(bytes(100_001))
    assert sampled_hash(path, 1600) != before


def test_a_set_is_known_in_another_place(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for i in range(3):
            (tmp_path / folder / f"{i}.png").write_bytes(bytes([i]) * 1000)
    a, b = (sorted((tmp_path / folder).iterdir()) for folder in ("a", "b"))
    assert set_hash(a) == set_hash(b) != set_hash(a[::-1])
