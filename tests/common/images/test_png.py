"""PNG: transparent colours of every depth, EXIF after the pixels, and headers that lie."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from common.cli import UserError
from common.images import files as images


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width, height, depth, colour_type, rows, before=(), after=(), header_size=None):
    """The bytes of a PNG file, without filters; `rows` are bytes."""
    size = header_size or (width, height)
    head = struct.pack(">IIBBBBB", *size, depth, colour_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in (
        (b"IHDR", head), *before, (b"IDAT", pixels), *after, (b"IEND", b"")))


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_transparent_grey_level(tmp_path, depth):
    levels = np.arange(16).reshape(2, 8) % 2 ** min(depth, 4)
    key = int(levels[0, 1])
    if depth == 16:
        rows = [row.astype(">u2").tobytes() for row in levels]
    else:
        bits = levels[..., None] >> np.arange(depth - 1, -1, -1) & 1
        rows = [row.tobytes() for row in np.packbits(bits.reshape(2, -1).astype(np.uint8), axis=1)]
    (tmp_path / "a.png").write_bytes(png(8, 2, depth, 0, rows,
                                         [(b"tRNS", struct.pack(">H", key))]))
    array, _ = images.read_image(tmp_path / "a.png")
    most = 65535 if depth == 16 else 255
    assert array.dtype == (np.uint16 if depth == 16 else np.uint8) and array.shape == (2, 8, 2)
    np.testing.assert_array_equal(array[..., 0], levels * (most // (2 ** depth - 1)))
    np.testing.assert_array_equal(array[..., 1], np.where(levels == key, 0, most))


@pytest.mark.parametrize("depth", [8, 16])
def test_a_transparent_colour(tmp_path, depth):
    dtype = np.uint8 if depth == 8 else np.uint16
    colours = np.array([[[5, 6, 7], [5, 6, 8]], [[5, 6, 7], [200, 6, 7]]], dtype)
    rows = [row.astype(">u2" if depth == 16 else dtype).tobytes() for row in colours]
    (tmp_path / "a.png").write_bytes(png(2, 2, depth, 2, rows,
                                         [(b"tRNS", struct.pack(">3H", 5, 6, 7))]))
    array, _ = images.read_image(tmp_path / "a.png")
    assert array.dtype == dtype
    np.testing.assert_array_equal(array[..., :3], colours)
    np.testing.assert_array_equal(array[..., 3], [[0, np.iinfo(dtype).max]] + [
        [0, np.iinfo(dtype).max]])


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("depth", [8, 16])
def test_orientation_wherever_the_file_says_it(tmp_path, place, depth):
    dtype = np.uint8 if depth == 8 else np.uint16
    stored = np.random.RandomState(1).randint(0, 256, (5, 3, 3)).astype(dtype)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a maker"
    rows = [row.astype(">u2" if depth == 16 else dtype).tobytes() for row in stored]
    (tmp_path / "a.png").write_bytes(png(
        3, 5, depth, 2, rows, **{place: [(b"eXIf", exif.tobytes()[6:])]}))
    array, kind = images.read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(array, np.rot90(stored, -1))
    assert images.read_size(tmp_path / "a.png") == (3, 5)
    assert images.read_rgb(tmp_path / "a.png").shape == (3, 5, 3)
    images.write_image(tmp_path / "b.png", array, kind)
    back, kind = images.read_image(tmp_path / "b.png")
    np.testing.assert_array_equal(back, array)
    said = Image.Exif()
    said.load(kind.exif)
    assert said[0x010F] == "a maker" and said[0x0112] == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_resolution_survives(tmp_path, dtype):
    kind = images.ImageKind("PNG", dpi=(300.0, 72.0))
    images.write_image(tmp_path / "a.png", np.zeros((4, 5, 3), dtype), kind)
    assert np.allclose(images.read_image(tmp_path / "a.png")[1].dpi, (300, 72), atol=0.02)
    images.write_image(tmp_path / "b.png", np.zeros((4, 5, 3), dtype))
    assert images.read_image(tmp_path / "b.png")[1].dpi is None


def test_a_header_cannot_promise_more_than_the_file_holds(tmp_path, shared):
    small = [bytes(6)] * 2
    for size in ((200_000, 200_000), (5000, 5000), (1, 2 ** 31 - 1)):
        junk = [(b"tEXt", b"a\0" + bytes(3_000_000))]  # only image data count
        (tmp_path / "lie.png").write_bytes(png(2, 2, 8, 2, small, junk, header_size=size))
        for reader in (images.read_size, images.read_image, images.read_rgb):
            with pytest.raises(UserError, match=rf"lie\.png promises {size[0]}x{size[1]} pixels"):
                reader(tmp_path / "lie.png")
    claim = struct.pack(">I", 2 ** 31 - 1) + b"IDAT"
    (tmp_path / "lie.png").write_bytes(
        png(2, 2, 8, 2, small, header_size=(90_000, 90_000))[:33] + claim)
    with pytest.raises(UserError, match=r"lie\.png promises"):
        images.read_size(tmp_path / "lie.png")
    with pytest.raises(UserError, match=r"lie\.png promises 200000x200000"):
        images.read_rgb(shared / "cases/hostile/lie.png")
    Image.new("RGBA", (3000, 4000)).save(tmp_path / "flat.png", optimize=True)
    assert images.read_size(tmp_path / "flat.png") == (4000, 3000)  # honest, and as small as it can


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_image_data_with_a_wrong_checksum_are_refused(tmp_path, dtype):
    images.write_image(tmp_path / "a.png", np.arange(60).reshape(4, 5, 3).astype(dtype))
    data = (tmp_path / "a.png").read_bytes()
    place = data.index(b"IDAT") + 4
    length = int.from_bytes(data[place - 8:place - 4], "big")
    for changed in range(place, place + length + 4):
        damaged = bytearray(data)
        damaged[changed] ^= 4
        (tmp_path / "a.png").write_bytes(damaged)
        with pytest.raises(UserError, match=r"a\.png as an image: a checksum is wrong"):
            images.read_image(tmp_path / "a.png")


def test_16_bit_colour_is_read_past_damaged_lengths(tmp_path):
    """OpenCV would make room for a chunk of 2 GB."""
    array = np.arange(60, dtype=np.uint16).reshape(4, 5, 3) * 999
    images.write_image(tmp_path / "a.png", array)
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[:-12] + b"\x7f\xff\xff\xffIEND\xae\x42\x60\x82")
    np.testing.assert_array_equal(images.read_image(tmp_path / "a.png")[0], array)


@pytest.mark.parametrize("header", [b"", b"\0\0\0\5\0\0\0\5\x08", struct.pack(
    ">IIBBBBB", 5, 5, 8, 7, 0, 0, 0)])
def test_damaged_headers_are_named(tmp_path, header):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header))
    for reader in (images.read_size, images.read_image):
        with pytest.raises(UserError, match=r"a\.png"):
            reader(tmp_path / "a.png")
