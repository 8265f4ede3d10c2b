"""Download data sets and weights: `python -m scripts.download`."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from pathlib import Path

from common.cli import UserError, run_command
from common.data.download import fetch
from common.data.sets import DATASETS
from common.data.unpack import unpack
from common.files import make_folder
from common.flags import OneLineParser
from models import catalogue

# One archive: its address, its checksum if known, and {folder in it: folder to create}.
Source = namedtuple("Source", "url checksum places")

ELSEWHERE = ("t91 has no stable address any more: it comes with the code of SRCNN, VDSR and "
             "LapSRN, as a folder T91 with 91 images. The hdf5 files are linked in the READMEs of "
             "programs that train SRCNN on 91-image_x2.h5.")

_DIV2K = "https://data.vision.ee.ethz.ch/cvl/DIV2K/"
_DIV2K_CHECKSUMS = {
    "train_HR": "sha256:9d0b9c463f6e35b6c62cc6a930ee2224f670b34c1df841a57670f9acf0f6c335",
    "valid_HR": "sha256:20dd31fd84d777bc1cf5d6b7654a3f569c0aec74458ae094122ad1d0489900fc",
    "train_LR_bicubic_X2": "md5:9a637d2ef4db0d0a81182be37fb00692",
    "train_LR_bicubic_X3": "md5:ad80b9fe40c049a07a8a6c51bfab3b6d",
    "train_LR_bicubic_X4": "md5:76c43ec4155851901ebbe8339846d93d",
    "train_LR_x8": "md5:613db1b855721b3d2b26f4194a1d22a6",
    "valid_LR_bicubic_X2": "md5:1512c9a3f7bde2a1a21a73044e46b9cb",
    "valid_LR_bicubic_X3": "md5:18b1d310f9f88c13618c287927b29898",
    "valid_LR_bicubic_X4": "md5:21962de700c8d368c6ff83314480eff0",
    "valid_LR_x8": "md5:c5aeea2004e297e9ff3abfbe143576a5",
}


def main(argv):
    """Run the command."""
    arguments = _parser().read(argv)
    if arguments.list:
        print(catalogue.as_text())
    for name in arguments.weights or ():
        print(catalogue.find(name))
    if not arguments.dataset:
        if not (arguments.weights or arguments.list):
            raise UserError("name what to fetch: --dataset, --weights, or --list for the weights")
        return
    if not arguments.data_dir:
        raise UserError("--dataset needs --data_dir, the folder that gets the data sets")
    folder = make_folder(arguments.data_dir)
    work = {}  # by address, since one archive may hold several sets
    for name in arguments.dataset:
        for source in sources(name, arguments.scale or ()):
            places = work.setdefault(source.url, source._replace(places={})).places
            places.update(source.places)
    for source in work.values():
        if arguments.url_base:
            file_name = source.url.rsplit("/", 1)[-1]
            source = source._replace(url=f"{arguments.url_base.rstrip('/')}/{file_name}")
        bring(source, folder, arguments.keep)
    print(f"done; use it with --data_dir {folder} --dataset {' or '.join(arguments.dataset)}")


def sources(name: str, scales: Sequence[int] = ()) -> list[Source]:
    """List the archives of a data set.

    Args:
        name: the data set.
        scales: also list the archives of published LR images for these scales, if separate.

    Raises:
        UserError: no address is known for this set or scale.
    """
    if name not in SOURCES:
        known = ", ".join(SOURCES)
        raise UserError(f"{'no address for' if name in DATASETS else 'no data set'} {name!r}; "
                        f"choose one of {known}. {ELSEWHERE}")
    return SOURCES[name](scales)


def bring(source: Source, folder: Path, keep: bool = False) -> None:
    """Download an archive and unpack it into a folder; existing sub-folders stay unchanged.

    Args:
        source: the archive.
        folder: where its folders are created.
        keep: keep the archive after unpacking.
    """
    missing = {inside: place for inside, place in source.places.items()
               if not (folder / place).exists()}
    for place in source.places.values():
        if place not in missing.values():
            print(f"{folder / place} already exists")
    if not missing:
        return
    archive = folder / source.url.rsplit("/", 1)[-1]
    fetch(source.url, archive, source.checksum)
    unpack(archive, missing, folder)
    for place in missing.values():
        files = sum(path.is_file() for path in (folder / place).rglob("*"))
        print(f"{folder / place}: {files} files")
    if not keep:
        archive.unlink()


def _div2k(scales):
    parts = ["train_HR", "valid_HR"]
    for scale in scales:
        for word in ("train", "valid"):
            part = f"{word}_LR_x8" if scale == 8 else f"{word}_LR_bicubic_X{scale}"
            if part not in _DIV2K_CHECKSUMS:
                raise UserError(f"DIV2K has no LR images for x{scale}; choose 2, 3, 4 or 8")
            parts.append(part)
    return [Source(f"{_DIV2K}DIV2K_{part}.zip", _DIV2K_CHECKSUMS[part],
                   {inside: f"DIV2K/{inside}"}) for part in parts
            for inside in [f"DIV2K_{part}".replace("_bicubic_X", "_bicubic/X")]]


def _flickr2k(scales):
    return [Source("https://cv.snu.ac.kr/research/EDSR/Flickr2K.tar",
                   "md5:5d3f39443d5e9489bff8963f8f26cb03",
                   {inside: inside for inside in ("Flickr2K/Flickr2K_HR",
                                                  "Flickr2K/Flickr2K_LR_bicubic")})]


def _bsds500(scales):
    return [Source("http://www.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/BSR/"
                   "BSR_bsds500.tgz", None, {"BSR/BSDS500/data/images": "BSDS500/images"})]


def _benchmark(inside, place):
    # The EDSR authors' collection, with LR_bicubic/X2, X3 and X4.
    return lambda scales: [Source("https://cv.snu.ac.kr/research/EDSR/benchmark.tar",
                                  "md5:4ace41d33c2384b97e6b320cd0afd6ba",
                                  {f"benchmark/{inside}": place})]


SOURCES = {
    "div2k": _div2k,
    "flickr2k": _flickr2k,
    "bsds500": _bsds500,
    "set5": _benchmark("Set5", "Set5"),
    "set14": _benchmark("Set14", "Set14"),
    "bsd100": _benchmark("B100", "BSD100"),
    "urban100": _benchmark("Urban100", "Urban100"),
}


def _parser():
    parser = OneLineParser(
        prog="python -m scripts.download",
        description="Download data sets from their public addresses. An interrupted download "
                    "resumes, known checksums are verified, and existing folders are not "
                    "downloaded again.",
        epilog=ELSEWHERE)
    parser.add_argument("--weights", nargs="+", metavar="NAME",
                        help="fetch weights of the catalogue and print their paths: "
                             + ", ".join(catalogue.CATALOGUE))
    parser.add_argument("--list", action="store_true", help="list the weights of the catalogue")
    parser.add_argument("--dataset", nargs="+", metavar="D",
                        help=f"one or several of {', '.join(SOURCES)}")
    parser.add_argument("--data_dir", metavar="DIR",
                        help="folder in which each gets a sub-folder, e.g. DIV2K")
    parser.add_argument("--scale", type=int, nargs="+", metavar="S",
                        help="also download DIV2K's published LR images for these scales; without "
                             "them, training generates LR images by bicubic reduction")
    parser.add_argument("--url_base", metavar="URL",
                        help="download the archives from another server: URL/<archive name>")
    parser.add_argument("--keep", action="store_true", help="keep the archives after unpacking")
    return parser


if __name__ == "__main__":
    run_command(main)
