"""Training on pictures that are stored in odd ways equals training on them as plain PNG."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps
from skimage import data

from common.data.pairs import Pair
from common.data.sets import open_dataset
from common.data.store import ImageStore
from common.training.events import read_metrics
from common.weights import read_arrays
from scripts.evaluate import main as evaluate


@pytest.fixture(scope="module")
def sets(shared, tmp_path_factory):
    """Folders `odd` and `plain` of the same pictures; the plain ones are made by Pillow alone."""
    folder = tmp_path_factory.mktemp("sets")
    for name in ("odd", "plain"):
        (folder / name).mkdir()
    picture = np.ascontiguousarray(data.chelsea()[100:148, 150:212])
    image = Image.fromarray(picture)

    def plain(name, pixels):
        Image.fromarray(np.array(pixels)).convert("RGB").save(folder / "plain" / f"{name}.png")

    for turned in (6, 7):
        exif = Image.Exif()
        exif[0x0112] = turned
        image.save(folder / "odd" / f"turned{turned}.jpg", exif=exif, quality=95)
        with Image.open(folder / "odd" / f"turned{turned}.jpg") as opened:
            plain(f"turned{turned}", ImageOps.exif_transpose(opened))

    with Image.open(shared / "cases/images/cmyk_icc.jpg") as opened:
        profile = opened.info["icc_profile"]
    srgb = ImageCms.createProfile("sRGB")
    inks = ImageCms.profileToProfile(image, srgb, io.BytesIO(profile), outputMode="CMYK")
    for suffix in ("tif", "jpg"):
        inks.save(folder / "odd" / f"inks_{suffix}.{suffix}", icc_profile=profile)
        with Image.open(folder / "odd" / f"inks_{suffix}.{suffix}") as opened:
            plain(f"inks_{suffix}", ImageCms.profileToProfile(opened, io.BytesIO(profile), srgb,
                                                              outputMode="RGB"))

    low = np.random.RandomState(3).randint(-128, 129, picture.shape)  # rounds to the same 8 bits
    deep = np.clip(picture.astype(int) * 257 + low, 0, 65535).astype(np.uint16)
    tifffile.imwrite(folder / "odd" / "planes.tif", np.moveaxis(deep, -1, 0), photometric="rgb",
                     planarconfig="separate", compression="zlib", predictor=True)
    plain("planes", picture)

    image.quantize(40).save(folder / "odd" / "palette.png")
    plain("palette", image.quantize(40).convert("RGB"))
    tifffile.imwrite(folder / "odd" / "negative.tif", 255 - picture[..., 0],
                     photometric="miniswhite")
    plain("negative", picture[..., 0])
    return folder


def pairs(folder):
    splits = open_dataset("folder", folder, 2)
    return splits.train + splits.val


def test_the_loader_yields_the_same_pixels(sets, tmp_path):
    odd, plain = (ImageStore(pairs(sets / name), 2, tmp_path / name) for name in ("odd", "plain"))
    assert [pair.name for pair in odd.pairs] == [pair.name for pair in plain.pairs]
    assert len(odd) == 7
    for a, b, pair in zip([*odd.hr, *odd.lr], [*plain.hr, *plain.lr], odd.pairs * 2):
        np.testing.assert_array_equal(a, b, err_msg=pair.name)


def test_a_turned_pair_fits(sets):
    """HR as stored with an orientation, LR as shown: the pair of a photograph that was edited."""
    odd = Pair("a", sets / "odd/turned6.jpg", sets / "plain/turned6.png")
    for pixels in odd.read(1):
        np.testing.assert_array_equal(pixels, np.array(Image.open(sets / "plain/turned6.png")))


def test_a_training_is_the_same_bit_for_bit(sets, call, small_flags, tmp_path):
    for name in ("odd", "plain"):
        done = call("models.edsr.train", "--data_dir", sets / name, "--dataset", "folder",
                    "--output_dir", name, *small_flags("edsr"), "--chip", "cpu", "--train_steps",
                    4, "--patch_size", 12, "--batch_size", 4, "--val_every", 2, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    rows = [[{key: value for key, value in row.items() if "psnr" in key or "loss" in key}
             for row in read_metrics(tmp_path / name / "metrics.jsonl")]
            for name in ("odd", "plain")]
    assert rows[0] == rows[1] and any(rows[0])
    odd, plain = (read_arrays(next((tmp_path / name).glob("*_last.h5")))
                  for name in ("odd", "plain"))
    assert odd.keys() == plain.keys() and odd
    for layer in odd:
        for a, b in zip(odd[layer], plain[layer]):
            np.testing.assert_array_equal(a, b)


def test_an_evaluation_gives_the_same_figures(sets, call, tmp_path):
    tables = []
    for name in ("odd", "plain"):
        done = call(evaluate, "--model", "bicubic", "--scale", 2, "--dataset", "folder",
                    "--data_dir", sets / name, "--per_image", "--channel", "rgb", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        tables.append([line.split()[:3] for line in done.stdout.splitlines()])
    # The plain PNG of a grey picture holds three equal channels; all else is the same.
    assert tables[0] == tables[1] and len(tables[0]) > 8
