"""TIFF: every kind of pixels is read as the standard says, or refused by name.

The files are written byte by byte, so that the tests owe nothing to a library that reads them; what
they show is known beforehand.
"""

import io
import re
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from common.cli import UserError
from common.images import files as images
from common.images import tiff as module

TYPES = {1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 7: "s", 16: "Q"}
# Tags that are not 16-bit numbers.
KINDS = {270: 2, 271: 2, 272: 2, 273: 4, 279: 4, 282: 5, 283: 5, 324: 4, 325: 4, 347: 7, 529: 5,
         532: 5, 34675: 7, 34665: 4, 33432: 2}


def tiff(tags, strips, order="<", big=False, more=b"", next_page=0):
    """The bytes of a TIFF file with one page.

    Args:
        tags: {code: number, numbers or bytes}; the offsets and byte counts are filled in.
        strips: list of bytes, strips or (if there is a tag 322) tiles.
        order: "<" or ">".
        big: BigTIFF.
        more: bytes at the end.
        next_page: offset of a next page.
    """
    where, length = (324, 325) if 322 in tags else (273, 279)
    word, number = ("Q", "HHQ") if big else ("I", "HHI")
    size = struct.calcsize(order + word)
    body, offsets = b"", []
    start = 16 if big else 8
    for strip in strips:
        offsets.append(start + len(body))
        body += strip + b"\0" * (len(strip) % 2)
    tags = {**tags, where: offsets, length: [len(strip) for strip in strips]}
    directory = start + len(body)
    outside = directory + (8 if big else 2) + len(tags) * (20 if big else 12) + size
    entries, extra = b"", b""
    for code, value in sorted(tags.items()):
        kind = KINDS.get(code, 3)
        if isinstance(value, bytes):
            data, count = value, len(value)
        else:
            values = [int(v) for v in np.ravel(value)]
            letters = TYPES[kind]
            data = struct.pack(order + letters * (len(values) // len(letters)), *values)
            count = len(values) // len(letters)
        entries += struct.pack(order + number, code, kind, count)
        if len(data) <= size:
            entries += data.ljust(size, b"\0")
        else:
            entries += struct.pack(order + word, outside + len(extra))
            extra += data + b"\0" * (len(data) % 2)
    mark = {"<": b"II", ">": b"MM"}[order]
    head = (mark + struct.pack(order + "HHHQ", 43, 8, 0, directory) if big
            else mark + struct.pack(order + "HI", 42, directory))
    count = struct.pack(order + ("Q" if big else "H"), len(tags))
    return (head + body + count + entries + struct.pack(order + word, next_page) + extra + more)


def page(array, photometric, order="<", **more):
    """Tags of an uncompressed page in one strip, and the strip, for an array [H, W] or [H, W, C].

    `more` holds further tags, as t284=2.
    """
    array = np.asarray(array)
    array = array.reshape(*array.shape[:2], -1)
    height, width, samples = array.shape
    tags = {256: width, 257: height, 258: [8 * array.itemsize] * samples, 259: 1,
            262: photometric, 277: samples, 278: height, **numbered(more)}
    return tags, [array.astype(array.dtype.newbyteorder(order)).tobytes()]


def numbered(more):
    """{284: 2} from {"t284": 2}."""
    return {int(name[1:]): value for name, value in more.items()}


def packed(array, bits):
    """Rows of samples [H, N] packed most significant bit first."""
    array = np.asarray(array, np.int64)
    places = array[..., None] >> np.arange(bits - 1, -1, -1) & 1
    return np.packbits(places.reshape(len(array), -1).astype(np.uint8), axis=1).tobytes()


H, W = 13, 18


def noise(*shape, most=255, dtype=np.uint8):
    return np.random.RandomState(7).randint(0, most + 1, shape).astype(dtype)


RGB, RGB16 = noise(H, W, 3), noise(H, W, 3, most=65535, dtype=np.uint16)
GREY, GREY16 = RGB[..., 0].copy(), RGB16[..., 0].copy()


@pytest.fixture
def read(tmp_path):
    """Write the bytes of a file and read it."""
    def read(tags, strips, **more):
        (tmp_path / "a.tif").write_bytes(tiff(tags, strips, **more))
        array, kind = images.read_image(tmp_path / "a.tif")
        assert images.read_size(tmp_path / "a.tif") == array.shape[:2]
        return array, kind
    return read


def same(found, expected):
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


# ---- arrangements -------------------------------------------------------------------------------

@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("big", [False, True])
def test_grey_and_rgb_of_8_and_16_bits(read, order, big):
    for array, photometric in ((GREY, 1), (GREY16, 1), (RGB, 2), (RGB16, 2)):
        tags, strips = page(array, photometric, order)
        found, kind = read(tags, strips, order=order, big=big)
        same(found, array)
        assert (kind.format, kind.pictures, kind.notes) == ("TIFF", 1, ())


def test_white_is_zero(read):
    for array in (GREY, GREY16):
        same(read(*page(array, 0))[0], np.iinfo(array.dtype).max - array)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 7, 9, 10, 12, 14, 15])
@pytest.mark.parametrize("photometric", [0, 1, 2])
def test_samples_of_other_depths_take_the_full_range(read, bits, photometric):
    channels = 3 if photometric == 2 else 1
    levels = noise(H, W * channels, most=2 ** bits - 1, dtype=np.uint16)
    tags = {256: W, 257: H, 258: [bits] * channels, 259: 1, 262: photometric, 277: channels, 278: H}
    wanted = np.float64(levels).reshape(H, W, channels) / (2 ** bits - 1)
    found, _ = read(tags, [packed(levels, bits)])
    assert found.dtype == (np.uint8 if bits <= 8 else np.uint16)
    most = np.iinfo(found.dtype).max
    wanted = (1 - wanted if photometric == 0 else wanted) * most
    assert np.abs(found.reshape(H, W, channels) - wanted).max() <= 0.5


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("array", [RGB, RGB16], ids=["8", "16"])
@pytest.mark.parametrize("rows", [1, 4, H])
def test_planes_in_strips(read, array, rows, order):
    tags, _ = page(array, 2, order, t284=2, t278=rows)
    stored = np.moveaxis(array, -1, 0).astype(array.dtype.newbyteorder(order))
    strips = [plane[top:top + rows].tobytes() for plane in stored for top in range(0, H, rows)]
    same(read(tags, strips, order=order)[0], array)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("array, photometric", [(RGB16, 2), (RGB, 2), (GREY16, 0)])
def test_tiles(read, array, photometric, planar):
    tags, _ = page(array, photometric, t284=1 + planar, t322=16, t323=16)
    del tags[278]
    whole = np.full((16, 32, tags[277]), 77, array.dtype)
    whole[:H, :W] = array.reshape(H, W, -1)
    planes = np.split(whole, tags[277], axis=-1) if planar else [whole]
    tiles = [plane[:, left:left + 16].tobytes() for plane in planes for left in (0, 16)]
    same(read(tags, tiles)[0], array if photometric else 65535 - array)


@pytest.mark.parametrize("together", [1, 300, 2 ** 26])
@pytest.mark.parametrize("code", [1, 5, 8])
def test_strips_decoded_in_groups(read, monkeypatch, code, together):
    monkeypatch.setattr(module, "_TOGETHER", together)
    for rows in (1, 3, 5):
        tags, _ = page(RGB16, 2, t259=code, t278=rows)
        strips = [compressed(code, np.ascontiguousarray(RGB16[top:top + rows]).tobytes(), W * 6)
                  for top in range(0, H, rows)]
        same(read(tags, strips)[0], RGB16)


def test_a_strip_of_more_pixels_than_pillow_allows(read, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    tags, _ = page(RGB16, 2, t259=5)
    same(read(tags, [compressed(5, RGB16.tobytes(), W * 6)])[0], RGB16)
    assert Image.MAX_IMAGE_PIXELS == 20


def differences(array):
    result = array.copy()
    result[:, 1:] -= array[:, :-1]
    return result


def compressed(code, data, row_bytes):
    """Bytes compressed as TIFF says, by Pillow or zlib; without compression where unknown."""
    if code in (8, 32946):
        return zlib.compress(data)
    if code == 1:
        return data
    name = {5: "tiff_lzw", 32773: "packbits", 34925: "lzma"}[code]
    file = io.BytesIO()
    plane = np.frombuffer(data, np.uint8).reshape(-1, row_bytes)
    Image.fromarray(plane).save(file, "TIFF", compression=name, tiffinfo={278: len(plane)})
    with tifffile.TiffFile(io.BytesIO(file.getvalue())) as written:
        (offset,), (count,) = written.pages[0].dataoffsets, written.pages[0].databytecounts
    return file.getvalue()[offset:offset + count]


@pytest.mark.parametrize("code", [1, 5, 8, 32946, 32773, 34925])
@pytest.mark.parametrize("predictor", [1, 2])
@pytest.mark.parametrize("planar", [1, 2])
def test_compressions_and_predictors(read, code, predictor, planar):
    for array in (RGB, RGB16):
        stored = differences(array) if predictor == 2 else array
        planes = np.moveaxis(stored, -1, 0)[..., None] if planar == 2 else [stored]
        tags, _ = page(array, 2, t284=planar, t259=code, t317=predictor)
        row_bytes = W * array.itemsize * (1 if planar == 2 else 3)
        strips = [compressed(code, np.ascontiguousarray(plane).tobytes(), row_bytes)
                  for plane in planes]
        same(read(tags, strips)[0], array)


def test_reversed_bits(read):
    def turned(data):
        return np.packbits(np.unpackbits(np.frombuffer(data, np.uint8)).reshape(-1, 8)[:, ::-1]
                           ).tobytes()

    tags, strips = page(RGB16, 2, t266=2)
    same(read(tags, [turned(strips[0])])[0], RGB16)
    levels = noise(H, W, most=1)
    tags = {256: W, 257: H, 258: 1, 259: 1, 262: 1, 266: 2, 277: 1, 278: H}
    same(read(tags, [turned(packed(levels, 1))])[0], levels * np.uint8(255))
    tags[259] = 8
    same(read(tags, [turned(zlib.compress(packed(levels, 1)))])[0], levels * np.uint8(255))


@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("name, code", [("group3", 3), ("group4", 4), ("tiff_ccitt", 2)])
def test_fax(read, tmp_path, name, code, photometric):
    ink = noise(H, 8 * W, most=1)
    ink[2:9] = 0
    Image.fromarray(np.uint8(255 * (1 - ink))).convert("1").save(
        tmp_path / "b.tif", compression=name, tiffinfo={262: photometric})
    same(images.read_image(tmp_path / "b.tif")[0], np.uint8(255 * (1 - ink)))


def test_jpeg_is_what_its_decoder_gives(read):
    x, y = np.meshgrid(np.arange(32), np.arange(24))
    picture = np.uint8(np.dstack([x * 7, y * 9, 200 - x * 3]))
    for channels, photometric in ((3, 6), (1, 1)):
        source = Image.fromarray(picture if channels == 3 else picture[..., 0])
        file = io.BytesIO()
        source.save(file, "JPEG", quality=90)
        tags = {256: 32, 257: 24, 258: [8] * channels, 259: 7, 262: photometric, 277: channels,
                278: 24, **({530: [2, 2]} if channels == 3 else {})}
        found, _ = read(tags, [file.getvalue()])
        truth = np.array(Image.open(file), int)
        assert np.abs(found - truth).max() <= 2


# ---- colours ------------------------------------------------------------------------------------

@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palettes(read, bits):
    palette = noise(2 ** bits, 3)
    indices = noise(H, W, most=2 ** bits - 1)
    tags = {256: W, 257: H, 258: bits, 259: 1, 262: 3, 277: 1, 278: H}
    for factor in (256, 257, 1):  # the last as some programs write
        tags[320] = palette.T.astype(int) * factor
        same(read(tags, [packed(indices, bits)])[0], palette[indices])


@pytest.mark.parametrize("array", [RGB, RGB16, GREY, GREY16], ids=["rgb8", "rgb16", "l8", "l16"])
@pytest.mark.parametrize("planar", [1, 2])
def test_extra_channels(read, array, planar):
    most = np.iinfo(array.dtype).max
    alpha = noise(H, W, most=most, dtype=array.dtype)
    alpha[0], alpha[1] = 0, most
    both = np.dstack([array, alpha])
    photometric = 2 if array.ndim == 3 else 1

    def stored(pixels, extra):
        tags, strips = page(pixels, photometric, t284=planar, **({"t338": extra} if extra else {}))
        if planar == 2:
            strips = [np.ascontiguousarray(plane).tobytes() for plane in np.moveaxis(pixels, -1, 0)]
        return read(tags, strips)

    same(stored(both, [2])[0], both)
    found, kind = stored(both, [0])
    same(found, array)
    assert kind.notes == ("1 extra channel of unspecified meaning is left out",)
    product = np.dstack([np.rint(array.reshape(H, W, -1) * (alpha / most)[..., None]), alpha])
    found, _ = stored(product.astype(array.dtype), [1])
    same(found[..., -1], alpha)
    error = np.abs(found[..., :-1].astype(float) - array.reshape(H, W, -1))
    assert (error <= 0.5 * most / np.maximum(alpha, 1)[..., None] + 0.51)[alpha > 0].all()
    if array.ndim == 3:
        found, kind = stored(np.dstack([array, array[..., 0], alpha]), [0, 2])
        same(found, both)
        assert kind.notes == ("1 extra channel of unspecified meaning is left out",)
        same(stored(both, None)[0], both)  # as all readers take it


def ink(cyan, magenta, yellow, black):
    return np.uint8([[[cyan, magenta, yellow, black]] * 2])


@pytest.mark.parametrize("deep", [False, True])
def test_cmyk_without_a_profile(read, deep):
    for levels, rgb in (((0, 0, 0, 0), (255, 255, 255)), ((255, 0, 0, 0), (0, 255, 255)),
                        ((0, 0, 0, 255), (0, 0, 0)), ((0, 255, 0, 0), (255, 0, 255)),
                        ((0, 0, 0, 55), (200, 200, 200))):
        pixels = ink(*levels).astype(np.uint16) * 257 if deep else ink(*levels)
        found, kind = read(*page(pixels, 5))
        assert found[0, 0].tolist() == list(rgb) and found.dtype == np.uint8
        assert kind.icc_profile is None
        assert kind.notes == (("colours of 16 bits are converted to RGB with 8 bits",) if deep
                              else ())


@pytest.fixture
def cmyk_profile(shared):
    with Image.open(shared / "cases/images/cmyk_icc.jpg") as image:
        return image.info["icc_profile"]


@pytest.mark.parametrize("planar", [1, 2])
def test_cmyk_through_its_profile(read, cmyk_profile, planar):
    profile, pixels = cmyk_profile, noise(H, W, 4)
    tags, strips = page(pixels, 5, t34675=profile, t284=planar)
    if planar == 2:
        strips = [np.ascontiguousarray(plane).tobytes() for plane in np.moveaxis(pixels, -1, 0)]
    found, kind = read(tags, strips)
    inks = Image.frombytes("CMYK", (W, H), pixels.tobytes())
    truth = ImageCms.profileToProfile(inks, io.BytesIO(profile), ImageCms.createProfile("sRGB"),
                                      outputMode="RGB")
    same(found, np.array(truth))
    assert np.abs(found - np.array(inks.convert("RGB"), int)).mean() > 5
    assert ImageCms.getProfileName(ImageCms.ImageCmsProfile(io.BytesIO(kind.icc_profile))).strip() \
        == "sRGB built-in"
    alpha = noise(H, W)
    tags, strips = page(np.dstack([pixels, alpha]), 5, t34675=profile, t338=[2])
    same(read(tags, strips)[0], np.dstack([found, alpha]))


def lab_of(rgb):
    """L, a, b under D50 of an sRGB colour, by the formulas of the standards."""
    levels = np.array(rgb) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    xyz = np.array([[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169],
                    [0.0139322, 0.0971045, 0.7141733]]) @ linear / [0.96422, 1, 0.82521]
    x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("photometric", [8, 9])
@pytest.mark.parametrize("deep", [False, True])
def test_lab(read, photometric, deep):
    for rgb in ((255, 255, 255), (0, 0, 0), (128, 128, 128), (200, 100, 50), (60, 120, 200),
                (90, 160, 70), (230, 210, 90)):
        lightness, a, b = lab_of(rgb)
        if deep and photometric == 8:
            stored = [lightness * 655.35, a * 256, b * 256]
        elif deep:
            stored = [lightness * 652.80, (a + 128) * 256, (b + 128) * 256]
        else:
            stored = [lightness * 2.55, *(v + 128 * (photometric == 9) for v in (a, b))]
        pixels = np.int64(np.rint(stored)).astype(np.uint16 if deep else np.uint8)
        found, kind = read(*page(np.tile(pixels, (1, 2, 1)), photometric))
        assert np.abs(found[0, 0] - np.array(rgb, int)).max() <= 3, (rgb, found[0, 0])
        assert kind.icc_profile[16:20] == b"RGB "


def test_lab_with_a_profile(read):
    pixels = np.dstack([noise(H, W), noise(H, W, 2, most=60) - np.uint8(30)])
    plain, kind = read(*page(pixels, 8))
    lab, srgb = (ImageCms.ImageCmsProfile(ImageCms.createProfile(space)).tobytes()
                 for space in ("LAB", "sRGB"))
    for profile, notes in ((lab, 0), (srgb, 1), (b"nonsense" * 20, 1)):
        found, kind = read(*page(pixels, 8, t34675=profile))
        assert np.abs(found.astype(int) - plain).max() <= 1
        assert kind.icc_profile[16:20] == b"RGB " and len(kind.notes) == notes


def test_a_profile_that_cannot_be_used_is_told(read):
    found, kind = read(*page(ink(0, 0, 0, 55), 5, t34675=b"nonsense" * 20))
    assert found[0, 0].tolist() == [200, 200, 200] and kind.icc_profile is None
    assert kind.notes == ("its colour profile cannot be used; the colours are converted without "
                          "it",)


@pytest.mark.parametrize("across, down", [(1, 1), (2, 1), (1, 2), (2, 2), (4, 2), (4, 4)])
@pytest.mark.parametrize("code", [1, 8])
def test_ycbcr_in_every_subsampling(read, across, down, code):
    luma, chroma = noise(H, W), noise(-(-H // down), -(-W // across), 2)
    padded = np.pad(luma, ((0, -H % down), (0, -W % across)), "edge")
    units = padded.reshape(-(-H // down), down, -(-W // across), across).swapaxes(1, 2)
    data = np.concatenate([units.reshape(*units.shape[:2], -1), chroma], axis=-1).tobytes()
    tags = {256: W, 257: H, 258: [8] * 3, 259: code, 262: 6, 277: 3, 278: H, 530: [across, down]}
    found, _ = read(tags, [zlib.compress(data) if code == 8 else data])
    cb, cr = (chroma.astype(float) - 128)[np.arange(H) // down][:, np.arange(W) // across].T
    y, cb, cr = luma.astype(float), cb.T, cr.T
    wanted = [y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb]
    assert np.abs(found - np.clip(np.dstack(wanted), 0, 255)).max() <= 0.51


def test_ycbcr_of_studio_range_and_other_coefficients(read):
    levels = np.uint8([[[16, 128, 128], [235, 128, 128], [126, 128, 128]]])
    tags, strips = page(levels, 6, t530=[1, 1],
                        t532=[16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1],
                        t529=[2125, 10000, 7154, 10000, 721, 10000])
    assert read(tags, strips)[0][0, :, 0].tolist() == [0, 255, 128]


# ---- orientation, pages, resolution, EXIF -------------------------------------------------------

def test_orientations_show_one_picture(read):
    turned = {1: RGB16, 2: RGB16[:, ::-1], 3: RGB16[::-1, ::-1], 4: RGB16[::-1],
              5: RGB16.swapaxes(0, 1), 6: np.rot90(RGB16), 7: np.rot90(RGB16, 2).swapaxes(0, 1),
              8: np.rot90(RGB16, -1), 77: RGB16}
    for orientation, stored in turned.items():
        found, kind = read(*page(stored, 2, t274=orientation, t282=[300, 1], t283=[150, 1],
                                 t296=2))
        same(found, RGB16)
        assert kind.dpi == ((150, 300) if 5 <= orientation <= 8 else (300, 150))
        assert kind.exif is None


def test_pages_that_are_left_out_are_told(tmp_path, caplog):
    with tifffile.TiffWriter(tmp_path / "p.tif") as file:
        for _ in range(3):
            file.write(RGB, photometric="rgb", metadata=None)
    array, kind = images.read_image(tmp_path / "p.tif")
    same(array, RGB)
    assert kind.losses("p.tif", "enlarged") == ["p.tif holds 3 pages; the first is enlarged"]
    for _ in range(2):
        images.read_rgb(tmp_path / "p.tif")
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'p.tif'} holds 3 pages; the first is used"]


@pytest.mark.parametrize("array", [RGB, RGB16, GREY, np.dstack([GREY16, GREY16])])
def test_exif_profile_and_resolution_survive(tmp_path, array):
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "a maker", 6
    exif[0x8769] = {0x829A: 0.5, 0x9003: "2026:11:25 12:00:00"}
    exif[0x8825] = {1: "N", 2: (52.0, 31.0, 12.0)}
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    kind = images.ImageKind("TIFF", profile, exif.tobytes(), (300.0, 240.0))
    for round_trip in ("a", "b"):  # written, then read and written again
        path = tmp_path / f"{round_trip}.tif"
        images.write_image(path, array, kind)
        back, kind = images.read_image(path)
        same(back, array)
        assert kind.icc_profile == profile and kind.dpi == (300, 240)
        said = Image.Exif()
        said.load(kind.exif)
        assert said[0x010F] == "a maker" and 0x0112 not in said
        assert said.get_ifd(0x8769)[0x9003] == "2026:11:25 12:00:00"
        assert float(said.get_ifd(0x8769)[0x829A]) == 0.5
        assert [float(part) for part in said.get_ifd(0x8825)[2]] == [52, 31, 12]
    with tifffile.TiffFile(path) as file:
        np.testing.assert_array_equal(file.asarray(), array)
        assert file.pages[0].tags["ExifTag"].value["DateTimeOriginal"] == "2026:11:25 12:00:00"
    for suffix in (".png", ".jpg", ".webp"):  # what a TIFF says, in another format
        images.write_image(tmp_path / f"c{suffix}", array, kind)
        said = Image.Exif()
        said.load(images.read_image(tmp_path / f"c{suffix}")[1].exif)
        assert said[0x010F] == "a maker"
        assert said.get_ifd(0x8769)[0x9003] == "2026:11:25 12:00:00"


def test_a_result_is_written_whatever_its_exif_is(tmp_path):
    exif = Image.Exif()
    exif[0x010F], exif[0x8769] = "a maker", {0x829A: 0.5, 0x9003: "2026:11:25 12:00:00"}
    data = exif.tobytes()
    for place in range(6, len(data)):
        for value in (0, 255, data[place] ^ 7):
            damaged = data[:place] + bytes([value]) + data[place + 1:]
            images.write_image(tmp_path / "a.tif", RGB, images.ImageKind("TIFF", exif=damaged))
            same(images.read_image(tmp_path / "a.tif")[0], RGB)


def test_notes_of_scientific_programs_do_not_go_into_the_result(tmp_path):
    tifffile.imwrite(tmp_path / "s.tif", RGB16, photometric="rgb")
    assert b'"shape"' in (tmp_path / "s.tif").read_bytes()
    assert b'"shape"' not in (images.read_image(tmp_path / "s.tif")[1].exif or b"")


# ---- refusals -----------------------------------------------------------------------------------

def of_kind(code, bits, channels=1, photometric=1):
    pixels = np.zeros((H, W, channels * bits // 8), np.uint8)
    tags = {256: W, 257: H, 258: [bits] * channels, 259: 1, 262: photometric, 277: channels,
            278: H, 339: [code] * channels}
    return tags, [pixels.tobytes()]


REFUSED = {
    "float32 values": of_kind(3, 32), "float16 values": of_kind(3, 16),
    "float64 values": of_kind(3, 64, 3, 2), "int16 values": of_kind(2, 16),
    "int8 values": of_kind(2, 8), "uint32 values": of_kind(1, 32),
    "uint64 values": of_kind(1, 64), "complex float64 values": of_kind(6, 64),
    "complex int32 values": of_kind(5, 32),
    "a transparency mask": page(GREY, 4), "ITU Lab colours": page(RGB, 10),
    "LogLuv colours": page(RGB16, 32845, t259=34676), "LogL luminance": page(GREY16, 32844),
    "a colour filter array": page(GREY, 32803), "linear raw pixels": page(RGB16, 34892),
    "photometric interpretation 12345": page(GREY, 12345),
    "5 channels, of which 4 are of unspecified meaning": page(noise(H, W, 5), 1, t338=[0] * 4),
    "3 channels of CMYK colours": page(RGB, 5),
    "channels of CMYK": page(noise(H, W, 4), 5, t332=2),
    "WhiteIsZero colours multiplied by alpha": page(noise(H, W, 2), 0, t338=[1]),
    "inks of an unusual range": page(noise(H, W, 4), 5, t336=[16, 235]),
    "channels of different types": page(RGB, 2, t258=[5, 6, 5]),
    "compressed by old-style JPEG": page(RGB, 6, t259=6),
    "compressed by JPEG 2000": page(RGB, 2, t259=34712),
    "compressed by LERC": page(GREY, 1, t259=34887),
    "predictor 3": page(GREY, 1, t317=3),
    "YCbCr colours of 16 bits": page(RGB16, 6, t530=[1, 1]),
    "YCbCr colours in an unusual subsampling": page(RGB, 6, t530=[3, 1]),
    "Lab colours of 4 bits": page(RGB, 8, t258=[4] * 3),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_read_is_refused_by_name(tmp_path, what):
    (tmp_path / "a.tif").write_bytes(tiff(*REFUSED[what]))
    for reader in (images.read_image, images.read_rgb, images.read_size):
        with pytest.raises(UserError) as error:
            reader(tmp_path / "a.tif")
        assert re.search(rf"a\.tif holds .*{re.escape(what)}", str(error.value))
        assert "\n" not in str(error.value)


DAMAGED = {
    "no photometric": lambda tags, strips: (tags.pop(262), strips)[1],
    "a strip too few": lambda tags, strips: tags.update({278: 4}) or strips,
    "data cut short": lambda tags, strips: [strips[0][:-5]],
    "no width": lambda tags, strips: (tags.pop(256), strips)[1],
    "no rows": lambda tags, strips: tags.update({257: 0}) or strips,
    "huge": lambda tags, strips: tags.update({256: 6000, 257: 6000}) or strips,
    "bad stream": lambda tags, strips: tags.update({259: 8}) or strips,
    "bad LZW": lambda tags, strips: tags.update({259: 5}) or [b"\xff" * 40],
    "changed bit": lambda tags, strips: tags.update({259: 8}) or [
        zlib.compress(strips[0], 0)[:30] + b"\x55" + zlib.compress(strips[0], 0)[31:]],
}


@pytest.mark.parametrize("how", DAMAGED)
def test_damaged_files_are_named(tmp_path, how):
    tags, strips = page(RGB, 2)
    (tmp_path / "a.tif").write_bytes(tiff(tags, DAMAGED[how](tags, strips)))
    with pytest.raises(UserError, match=r"cannot read .*a\.tif as an image: ") as error:
        images.read_image(tmp_path / "a.tif")
    assert "\n" not in str(error.value)


def test_what_pillow_cannot_decompress_is_named(tmp_path):
    for code, name in ((5, "LZW"), (50000, "ZSTD"), (50001, "WebP"), (7, "JPEG"), (34925, "LZMA")):
        (tmp_path / "a.tif").write_bytes(tiff(*page(RGB, 2, t259=code)))
        with pytest.raises(UserError, match=f"a.tif as an image: its {name} data are damaged, or"):
            images.read_image(tmp_path / "a.tif")


def test_pages_in_a_circle(tmp_path):
    tags, strips = page(GREY, 1)
    data = tiff(tags, strips)
    directory = int.from_bytes(data[4:8], "little")
    (tmp_path / "a.tif").write_bytes(tiff(tags, strips, next_page=directory))
    try:
        same(images.read_image(tmp_path / "a.tif")[0], GREY)
    except UserError as error:
        assert "a.tif" in str(error)


def test_the_inputs_of_the_issue(shared):
    folder = shared / "cases/images"
    deep, planar, flat = (images.read_image(folder / name)[0] for name in
                          ("rgb16.tif", "rgb16_planar.tif", "rgb8_planar.tif"))
    same(planar, deep)
    same(images.read_rgb(folder / "rgb16_planar.tif"), flat)
    for name, words in (("5band.tif", "5 channels"), ("float32_0_255.tif", "float32")):
        with pytest.raises(UserError, match=f"{name} holds {words}"):
            images.read_rgb(folder / name)
    assert images.read_image(folder / "multipage.tif")[1].losses("m", "used") == [
        "m holds 3 pages; the first is used"]
