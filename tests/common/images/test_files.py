import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image, ImageCms, ImageOps

from common.cli import UserError
from common.images import files as images
from common.images import opening
from common.images.exif import orientation, without_orientation

PHOTOS = Path(skimage.__file__).parent / "data"


@pytest.fixture(scope="module")
def photo():
    """A real photograph, 90x120 uint8 RGB."""
    return np.array(Image.open(PHOTOS / "astronaut.png").convert("RGB"))[20:110, 150:270]


def as_16_bits(image):
    """The photograph with random low bytes: every one of the 16 bits matters."""
    low = np.random.default_rng(3).integers(0, 256, image.shape)
    return image.astype(np.uint16) * 256 + low.astype(np.uint16)


def with_alpha(image):
    ramp = np.arange(image.shape[0] * image.shape[1]).reshape(image.shape[:2])
    return np.dstack([image, (ramp * 6 // (1 if image.itemsize > 1 else 256)).astype(image.dtype)])


def variants(photo):
    grey = photo[..., 1].copy()
    for base in (photo, as_16_bits(photo)):
        for name, array in (("rgb", base), ("rgba", with_alpha(base)), ("grey", base[..., 1])):
            yield f"{name}{base.itemsize * 8}", np.ascontiguousarray(array)
    yield "la8", with_alpha(grey)
    yield "la16", with_alpha(as_16_bits(grey))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF"])
def test_lossless_round_trip_of_every_kind(tmp_path, photo, suffix):
    for name, array in variants(photo):
        path = tmp_path / (name + suffix)
        images.write_image(path, array)
        back, kind = images.read_image(path)
        assert back.dtype == array.dtype, name
        np.testing.assert_array_equal(back, array, err_msg=name)
        assert kind.format == {".png": "PNG"}.get(suffix, "TIFF")
        assert images.read_size(path) == (90, 120)


def test_16_bit_files_agree_with_other_readers(tmp_path, photo):
    cv2 = pytest.importorskip("cv2")
    tifffile = pytest.importorskip("tifffile")
    deep = as_16_bits(photo)
    images.write_image(tmp_path / "a.png", deep)
    read = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read[..., ::-1], deep)
    images.write_image(tmp_path / "a.tif", deep)
    np.testing.assert_array_equal(tifffile.imread(str(tmp_path / "a.tif")), deep)
    assert cv2.imwrite(str(tmp_path / "b.png"), np.ascontiguousarray(deep[..., ::-1]))
    np.testing.assert_array_equal(images.read_image(tmp_path / "b.png")[0], deep)


def test_read_rgb_makes_8_bit_colour_of_everything(tmp_path, photo):
    for name, array in variants(photo):
        images.write_image(tmp_path / (name + ".png"), array)
        rgb = images.read_rgb(tmp_path / (name + ".png"))
        assert rgb.dtype == np.uint8 and rgb.shape == (90, 120, 3) and rgb.flags.c_contiguous
        colour = array if name.startswith("rgb") else \
            np.repeat(array.reshape(90, 120, -1)[..., :1], 3, axis=-1)
        colour = colour[..., :3] / (257.0 if array.dtype == np.uint16 else 1.0)
        assert np.abs(rgb - colour).max() <= 0.5, name


def test_palette_cmyk_and_transparency_are_expanded(tmp_path, photo):
    image = Image.fromarray(photo)
    palette = image.quantize(40)
    palette.save(tmp_path / "p.png")
    expected = np.array(palette.convert("RGB"))
    np.testing.assert_array_equal(images.read_image(tmp_path / "p.png")[0], expected)
    palette.save(tmp_path / "t.png", transparency=0)
    back = images.read_image(tmp_path / "t.png")[0]
    np.testing.assert_array_equal(back[..., :3], expected)
    np.testing.assert_array_equal(back[..., 3] == 0, np.array(palette) == 0)
    np.testing.assert_array_equal(images.read_rgb(tmp_path / "t.png"), expected)
    image.convert("1").save(tmp_path / "one.png")
    assert set(np.unique(images.read_image(tmp_path / "one.png")[0])) == {0, 255}
    image.convert("CMYK").save(tmp_path / "c.jpg", quality=100, icc_profile=b"a CMYK profile")
    back, kind = images.read_image(tmp_path / "c.jpg")
    assert np.abs(back.astype(int) - photo).mean() < 3
    assert kind.icc_profile is None


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp", ".bmp"])
def test_formats_that_hold_less(tmp_path, photo, suffix):
    for name, array in variants(photo):
        path = tmp_path / (name + suffix)
        images.write_image(path, array)
        stored = images.read_image(path)[0]
        assert stored.dtype == np.uint8
        has_alpha = "a" in name
        assert (stored.shape[-1] == 4) == (has_alpha and suffix == ".webp"), name
        images.write_image(tmp_path / "truth.png", array)
        error = np.abs(images.read_rgb(path).astype(int) - images.read_rgb(tmp_path / "truth.png"))
        if has_alpha:  # WebP does not keep the colour of what cannot be seen
            error = error[array[..., -1] > np.iinfo(array.dtype).max // 2]
        assert error.mean() <= (0 if suffix == ".bmp" else 4), name


def test_jpeg_is_of_quality_95_without_subsampling(tmp_path, photo):
    images.write_image(tmp_path / "a.jpg", photo)
    reference = io.BytesIO()
    Image.fromarray(photo).save(reference, "JPEG", quality=95, subsampling=0)
    assert (tmp_path / "a.jpg").read_bytes() == reference.getvalue()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", "16.png", "16.tif"])
def test_profile_and_exif_go_into_the_result(tmp_path, photo, suffix):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0110] = "a camera"
    exif[0x0112] = 6
    Image.fromarray(photo).save(tmp_path / "in.jpg", icc_profile=profile, exif=exif)
    _, kind = images.read_image(tmp_path / "in.jpg")
    assert kind.format == "JPEG" and kind.icc_profile == profile
    assert images.read_image(tmp_path / "in.jpg")[0].shape == (120, 90, 3)  # turned
    out = tmp_path / ("out" + suffix)
    images.write_image(out, as_16_bits(photo) if "16" in suffix else photo, kind)
    with Image.open(out) as image:
        assert image.info["icc_profile"] == profile
        assert image.getexif()[0x0110] == "a camera" and image.getexif().get(0x0112, 1) == 1
    assert images.read_image(out)[1].icc_profile == profile


def test_list_images(tmp_path, photo):
    for name in ("b.PNG", "a.png", ".hidden.png", "._a.png"):
        Image.fromarray(photo).save(tmp_path / name, format="PNG")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in images.list_images(tmp_path)] == ["a.png", "b.PNG"]
    with pytest.raises(UserError, match="no such folder.*nowhere"):
        images.list_images(tmp_path / "nowhere")
    with pytest.raises(UserError, match="a.png is a file"):
        images.list_images(tmp_path / "a.png")
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    with pytest.raises(UserError, match="no images .* in .*empty.*inner"):
        images.list_images(tmp_path / "empty")


def truncated(tmp_path, name, array):
    path = tmp_path / name
    images.write_image(path, array)
    data = path.read_bytes()
    path.write_bytes(data[:len(data) * 2 // 3])
    return path


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("name", ["cut.png", "cut.jpg", "cut.webp", "cut.bmp", "cut.tif"])
def test_damaged_files_are_named(tmp_path, photo, name):
    for array in (photo, as_16_bits(photo)):
        path = truncated(tmp_path, name, array)
        with pytest.raises(UserError, match=name):
            images.read_rgb(path)
        with pytest.raises(UserError, match=name):
            images.read_image(path)


def test_files_that_are_no_images_are_named(tmp_path, photo):
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.jpg").write_bytes(b"")
    for reader in (images.read_rgb, images.read_image, images.read_size):
        for name in ("text.png", "empty.jpg"):
            with pytest.raises(UserError, match=f"cannot read .*{name} as an image"):
                reader(tmp_path / name)
        with pytest.raises(UserError, match="no such file: .*gone.png"):
            reader(tmp_path / "gone.png")
        with pytest.raises(UserError, match="is a folder"):
            reader(tmp_path)
    wrong = truncated(tmp_path, "crc.png", photo)
    body = b"IHDR" + struct.pack(">IIBBBBB", 120, 90, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body) ^ 1)
    wrong.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + wrong.read_bytes()[33:])
    with pytest.raises(UserError, match="crc.png"):
        images.read_rgb(wrong)
    Image.fromarray(photo[..., 0].astype(np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(UserError, match="float.tif holds float32"):
        images.read_rgb(tmp_path / "float.tif")


def test_a_failed_write_leaves_the_old_file(tmp_path, photo):
    path = tmp_path / "wide.webp"
    images.write_image(path, photo)
    before = path.read_bytes()
    with pytest.raises(UserError, match="wide.webp .20000x2 pixels."):
        images.write_image(path, np.zeros((2, 20000, 3), np.uint8))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["wide.webp"]
    with pytest.raises(UserError, match="a.gif: use one of the suffixes"):
        images.write_image(tmp_path / "a.gif", photo)
    with pytest.raises(ValueError, match="float64"):
        images.write_image(tmp_path / "a.png", photo / 255.0)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif"])
def test_every_orientation_is_turned_as_pillow_turns_it(tmp_path, photo, suffix):
    for turned in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = turned
        path = tmp_path / f"a{turned}{suffix}"
        options = {"lossless": True} if suffix == ".webp" else {}
        Image.fromarray(photo).save(path, exif=exif, **options)
        with Image.open(path) as image:
            shown = np.array(ImageOps.exif_transpose(image))
        array, kind = images.read_image(path)
        np.testing.assert_array_equal(array, shown, err_msg=f"{turned}")
        np.testing.assert_array_equal(images.read_rgb(path), shown)
        assert images.read_size(path) == shown.shape[:2] == (
            (90, 120) if turned < 5 else (120, 90))
        assert orientation(kind.exif) == 1


@pytest.mark.parametrize("data", [
    b"", b"Exif\0\0", b"II*\0", b"XX*\0\x08\0\0\0", b"II*\0\xff\xff\xff\x7f",
    b"II*\0\x08\0\0\0\xff\xff\x12\x01\x03\0\x01\0\0\0",
    b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x01\0\0\0\x06\0\0\0\0\0\0\0",
    b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0\0\0\0\0\0\0"])
def test_damaged_exif_says_upright(data):
    assert orientation(data) == 1 and without_orientation(data) == data


def test_only_the_orientation_is_changed_in_exif():
    for order in "<>":
        exif = Image.Exif()
        exif.endian = order
        exif[0x010F], exif[0x0112], exif[0x9286] = "a maker", 8, b"a comment"
        data = exif.tobytes()
        changed = without_orientation(data)
        assert orientation(data) == 8 and orientation(changed) == 1
        assert sum(a != b for a, b in zip(data, changed)) == 1 and len(data) == len(changed)


def test_cmyk_goes_through_its_profile(tmp_path, shared):
    path = shared / "cases/images/cmyk_icc.jpg"
    array, kind = images.read_image(path)
    with Image.open(path) as image:
        profile = image.info["icc_profile"]
        truth = np.array(ImageCms.profileToProfile(image, io.BytesIO(profile),
                                                   ImageCms.createProfile("sRGB"),
                                                   outputMode="RGB"))
        naive = np.array(image.convert("RGB"), int)
    np.testing.assert_array_equal(array, truth)
    np.testing.assert_array_equal(images.read_rgb(path), truth)
    assert np.abs(array - naive).mean() > 10 and kind.icc_profile != profile
    images.write_image(tmp_path / "a.jpg", array, kind)  # with a profile that describes it
    with Image.open(tmp_path / "a.jpg") as image:
        source = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        shown = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"))
        assert np.abs(np.array(shown) - truth.astype(int)).mean() < 3
    assert images.read_image(path)[1].icc_profile == kind.icc_profile  # without the time of day


def test_a_profile_of_other_colours_is_not_passed_on(tmp_path, photo):
    of = {space: b"x" * 16 + space + b"x" * 200 for space in (b"CMYK", b"RGB ", b"GRAY")}
    for array, kept in ((photo, (b"RGB ",)), (photo[..., 0], (b"RGB ", b"GRAY"))):
        for space, profile in of.items():
            Image.fromarray(array).save(tmp_path / "a.png", icc_profile=profile)
            kind = images.read_image(tmp_path / "a.png")[1]
            assert kind.icc_profile == (profile if space in kept else None), space


def test_what_is_left_out_is_said_once_in_training(tmp_path, photo, caplog):
    frames = [Image.fromarray(photo // (n + 1)) for n in range(3)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    for _ in range(2):
        np.testing.assert_array_equal(images.read_rgb(tmp_path / "a.png"), photo)
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'a.png'} holds 3 frames; the first is used"]


def test_resolution_that_a_file_does_not_say_is_not_invented(tmp_path, photo):
    Image.fromarray(photo).save(tmp_path / "a.jpg")
    exif = Image.Exif()
    exif[0x0110] = "a camera"
    Image.fromarray(photo).save(tmp_path / "b.jpg", exif=exif)
    Image.fromarray(photo).save(tmp_path / "c.jpg", dpi=(300, 150))
    assert [images.read_image(tmp_path / f"{name}.jpg")[1].dpi for name in "abc"] == [
        None, None, (300, 150)]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_a_size_above_the_limit_is_refused(tmp_path, photo, suffix):
    path = tmp_path / f"a{suffix}"
    images.write_image(path, photo)
    for reader in (images.read_size, images.read_image, images.read_rgb):
        with images.at_most(0.0107), pytest.raises(UserError, match=(
                rf"a{suffix} has 120x90 pixels, more than 0.0107 million; .* --max_megapixels")):
            reader(path)
        for allowed in (0.0108, 0):
            with images.at_most(0.01), images.at_most(allowed):
                reader(path)
        reader(path)


def test_the_limit_holds_where_pillow_has_another(tmp_path, photo, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.fromarray(photo).save(tmp_path / "a.png")
    with ThreadPoolExecutor(8) as pool:
        for array in pool.map(images.read_rgb, [tmp_path / "a.png"] * 40):
            np.testing.assert_array_equal(array, photo)
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize("suffix, place, layout, size", [
    (".jpg", b"\xff\xc0", ">5xHH", (5000, 5000)), (".gif", b"GIF8", "<6xHH", (14000, 14000)),
    (".bmp", b"BM", "<18xii", (14000, 14000)), (".tga", b"", "<12xHH", (14000, 14000)),
    (".webp", b"\x9d\x01\x2a", "<3xHH", (14000, 14000)),
    (".jp2", b"ihdr", ">4xII", (14000, 14000))])
def test_a_header_that_promises_a_lot_in_few_bytes(tmp_path, suffix, place, layout, size):
    path = tmp_path / f"lie{suffix}"
    Image.new("RGB", (20, 20), (9, 99, 200)).save(path)
    data = bytearray(path.read_bytes())
    offset = data.index(place) + struct.calcsize(layout.split("x")[0] + "x")
    struct.pack_into(layout[0] + layout[-2:], data, offset, *size)
    if suffix == ".jp2":  # in the codestream too
        for at in (6, 22):
            struct.pack_into(">II", data, data.index(b"\xff\x51") + at, *size)
    path.write_bytes(data)
    for reader in (images.read_size, images.read_image):
        with pytest.raises(UserError, match=rf"lie{suffix} promises {size[0]}x{size[1]} pixels in "
                                            rf"{len(data)} bytes; .* --max_megapixels 0"):
            reader(path)


def test_pixels_in_bands_are_all_pixels(photo, monkeypatch):
    for mode in ("RGB", "L", "LA", "I;16"):
        image = Image.fromarray(photo).convert("L" if mode == "I;16" else mode)
        if mode == "I;16":
            image = Image.fromarray(np.array(image, np.uint16) * 250)
        whole = np.array(image)
        with monkeypatch.context() as patch:
            patch.setattr(opening, "_BAND", 500)
            np.testing.assert_array_equal(opening.pixels(image), whole)


def test_depth_that_is_lost_is_told(tmp_path, photo):
    deep = as_16_bits(photo[:20, :30])
    for head in (b"P6 30 20 65535\n", b"P6\n# 12\n30 20\n# of 10\n65535\n"):
        (tmp_path / "a.ppm").write_bytes(head + deep.astype(">u2").tobytes())
        array, kind = images.read_image(tmp_path / "a.ppm")
        assert np.abs(array * 257.0 - deep).max() <= 257
        assert kind.notes == ("its 16 bits per channel are read as 8",)
    Image.fromarray(photo).save(tmp_path / "b.ppm")
    Image.fromarray(deep[..., 0]).save(tmp_path / "c.jp2")
    for name in ("b.ppm", "c.jp2"):
        assert images.read_image(tmp_path / name)[1].notes == ()
    np.testing.assert_array_equal(images.read_image(tmp_path / "c.jp2")[0], deep[..., 0])
    Image.fromarray(photo).save(tmp_path / "d.jp2")
    data = bytearray((tmp_path / "d.jp2").read_bytes())
    start = data.index(b"\xff\x4f\xff\x51") + 42
    assert data[start] == 7 and data[start + 3] == 7 and data[start + 6] == 7
    data[start] = data[start + 3] = data[start + 6] = 11
    (tmp_path / "d.jp2").write_bytes(data)
    assert images.read_image(tmp_path / "d.jp2")[1].notes == (
        "its 12 bits per channel are read as 8",)
