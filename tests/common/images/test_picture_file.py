"""Files written in bands of rows: equal to other programs' reading, however they are cut."""

import io
import zlib
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image

from common.images import files as images
from common.images import row_chunks, write_jpeg, write_png, write_tiff
from common.images.kind import ImageKind
from common.images.picture_file import PictureFile

KINDS = [(), (2,), (3,), (4,)]


def picture(*shape, dtype=np.uint8):
    """Waves with some noise, as photographs have."""
    y, x = np.mgrid[:shape[0], :shape[1]]
    waves = 0.5 + 0.4 * np.sin(x / 9 + 1) * np.cos(y / 7)
    waves = waves.reshape(*waves.shape, *[1] * len(shape[2:])) + np.random.RandomState(3).normal(
        0, 0.03, shape)
    return (np.clip(waves, 0, 1) * np.iinfo(dtype).max).astype(dtype)


def write(path, array, heights=(1, 7, 64, 3), pictures=1, kind=None, **options):
    def cut():
        top = 0
        while top < len(array):
            for height in heights:
                yield array[top:top + height]
                top += height

    with PictureFile(path, pictures, **options) as file:
        file.picture(array.shape, array.dtype, (band for band in cut() if len(band)), kind)


@pytest.fixture
def small_chunks(monkeypatch):
    """So that small pictures have many."""
    monkeypatch.setattr(write_png, "_CHUNK", 700)
    monkeypatch.setattr(write_png, "_BLOCK", 300)
    monkeypatch.setattr(write_jpeg, "_CHUNK", 600)
    monkeypatch.setattr(write_tiff, "_STRIP", 700)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", KINDS)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_lossless_files_hold_the_bands(tmp_path, small_chunks, suffix, channels, dtype):
    for size in ((61, 47), (1, 1), (2, 90), (90, 1)):
        array = picture(*size, *channels, dtype=dtype)
        write(tmp_path / f"a{suffix}", array)
        back, _ = images.read_image(tmp_path / f"a{suffix}")
        assert back.dtype == dtype
        np.testing.assert_array_equal(back, array)
        if suffix == ".tif":
            np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), array)


def test_every_row_and_block_of_a_png_is_predicted_as_the_standard_says(small_chunks):
    array = np.random.RandomState(1).randint(0, 256, (40, 23, 3)).astype(np.uint8)
    array[5:9] = array[4]
    array[:, 3:8] = 77
    data, adler, length = write_png._encoded(array[1:], array[:1], 3)
    plain = zlib.decompressobj(-15).decompress(data)
    assert zlib.adler32(plain) == adler and len(plain) == length
    rows = np.frombuffer(plain, np.uint8).reshape(39, 70)
    assert (rows[:, 0] == 4).all()
    previous, flat = array[0].ravel().astype(int), array[1:].reshape(39, -1).astype(int)
    for row, want in zip(rows[:, 1:], flat):
        for i in range(69):
            a, b, c = (want[i - 3], previous[i], previous[i - 3]) if i > 2 else (0, previous[i], 0)
            p = a + b - c
            nearest = min((a, b, c), key=lambda value: abs(p - value))
            assert (row[i] + nearest) % 256 == want[i]
        previous = want


@pytest.mark.parametrize("size", [(64, 48), (61, 47), (9, 300), (8, 5)])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_a_jpeg_in_bands_is_the_jpeg_of_the_whole(tmp_path, small_chunks, size, channels):
    array = picture(*size, *channels)
    kind = ImageKind("JPEG", icc_profile=b"profile" * 20, dpi=(300.0, 300.0))
    write(tmp_path / "a.jpg", array, kind=kind)
    whole = io.BytesIO()
    Image.fromarray(array).save(whole, "JPEG", quality=95, subsampling=0)
    with Image.open(tmp_path / "a.jpg") as image, Image.open(whole) as reference:
        np.testing.assert_array_equal(np.array(image), np.array(reference))
        assert image.info["icc_profile"] == kind.icc_profile and image.info["dpi"] == (300, 300)
    assert (b"\xff\xdd" in (tmp_path / "a.jpg").read_bytes()) == (size[0] > 8)


def test_quality_is_that_of_the_encoder(tmp_path):
    array = picture(64, 64, 3)
    for suffix, name in ((".jpg", "JPEG"), (".webp", "WEBP")):
        write(tmp_path / f"a{suffix}", array, quality=60)
        reference = io.BytesIO()
        options = {"subsampling": 0} if name == "JPEG" else {}
        Image.fromarray(array).save(reference, name, quality=60, **options)
        assert (tmp_path / f"a{suffix}").read_bytes() == reference.getvalue()


def test_flat_pictures_stay_small_and_photographs_too(tmp_path):
    drawing = np.tile(np.arange(8, dtype=np.uint8).repeat(4)[:, None, None] * 30, (20, 300, 3))
    photo = picture(500, 300, 3)
    for array in (drawing, photo):
        write(tmp_path / "a.png", array)
        reference = io.BytesIO()
        Image.fromarray(array).save(reference, "PNG")
        assert (tmp_path / "a.png").stat().st_size < 1.1 * reference.tell()


def test_a_file_of_more_than_4_gb_is_a_big_tiff(tmp_path, monkeypatch, small_chunks):
    monkeypatch.setattr(write_tiff, "_MOST", 100)
    array, kind = picture(61, 47, 3, dtype=np.uint16), ImageKind("TIFF", dpi=(300.0, 300.0))
    with PictureFile(tmp_path / "a.tif", 2) as file:
        file.picture(array.shape, array.dtype, [array], kind)
        file.picture((5, 4), np.uint8, [array[:5, :4, 0].astype(np.uint8)])
    assert (tmp_path / "a.tif").read_bytes()[:3] == b"II+"
    np.testing.assert_array_equal(images.read_image(tmp_path / "a.tif")[0], array)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_bigtiff and [page.shape for page in file.pages] == [(61, 47, 3), (5, 4)]
        np.testing.assert_array_equal(file.pages[1].asarray(), array[:5, :4, 0].astype(np.uint8))


@pytest.mark.parametrize("channels", [(3,), (4,), (), (2,)])
@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_animations(tmp_path, small_chunks, suffix, channels):
    exif = Image.Exif()
    exif[0x0110] = "a camera"
    kind = ImageKind("GIF", icc_profile=b"profile" * 20, exif=exif.tobytes(), plays=3)
    frames = [np.roll(picture(31, 24, *channels), 5 * n, axis=0) for n in range(3)]
    durations = [40, 100, 1000 / 30]
    if channels in ((2,), (4,)):
        frames[1][:9, ..., -1] = 0
    with PictureFile(tmp_path / f"a{suffix}", 3, quality=100) as file:
        for frame, duration in zip(frames, durations):
            file.picture(frame.shape, frame.dtype, [frame[:7], frame[7:]],
                         replace(kind, duration=duration))
    with Image.open(tmp_path / f"a{suffix}") as image:
        assert image.n_frames == 3 and image.info["loop"] == 3
        assert image.info["icc_profile"] == kind.icc_profile
        assert image.getexif()[0x0110] == "a camera"
        for n, frame in enumerate(frames):
            image.seek(n)
            image.load()
            assert image.info["duration"] == pytest.approx(durations[n], abs=0.5)
            wanted = np.array(Image.fromarray(frame).convert("RGBA")).astype(int)
            error = np.abs(np.array(image.convert("RGBA")) - wanted)[wanted[..., 3] > 0]
            assert error.max() == 0 if suffix == ".png" else error.mean() < 4


def test_a_file_that_is_not_finished_leaves_nothing(tmp_path):
    def rows():
        yield np.zeros((40, 50, 3), np.uint8)
        raise RuntimeError("the network failed")

    for suffix in (".png", ".jpg", ".tif", ".webp", ".bmp"):
        with pytest.raises(RuntimeError), PictureFile(tmp_path / f"a{suffix}") as file:
            file.picture((80, 50, 3), np.uint8, rows())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("heights", [[5], [1] * 11, [3, 3, 5], [11], [2, 9], [10, 1]])
def test_chunks_of_rows(heights):
    array, chunks, found, top = np.arange(22).reshape(11, 2), row_chunks.Chunks(4), [], 0
    while top < 11:
        for height in heights:
            found += chunks.feed(array[top:top + height])
            top += height
            if top >= 11:
                break
    found += chunks.rest()
    assert [len(chunk) for chunk in found] == [4, 4, 3]
    np.testing.assert_array_equal(np.concatenate(found), array)
