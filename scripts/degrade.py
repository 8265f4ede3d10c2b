"""Make LR images like bad photographs: `python -m scripts.degrade IN... -o OUT --scale S`."""

from jsonargparse.typing import NonNegativeInt, PositiveInt

from common.batch import add_size_option, convert_each, find_sources, plan
from common.cli import UserError, run_command
from common.files import make_folder
from common.flags import OneLineParser
from common.images.files import at_most, read_rgb, write_image

LARGEST = 40000  # pixels per side; 1.5 times this, which may come up on the way, fits into a JPEG


def main(argv):
    """Run the command; returns 2 if an input could not be degraded."""
    arguments = _parser().read(argv)
    scale, seed = arguments.scale, arguments.seed
    sources = find_sources(arguments.inputs)
    work = plan(sources, arguments.inputs, arguments.output, scale, suffix=".png")
    make_folder(work[0][1].parent)

    def worsen(source, target):
        from common.data.prepare import Preparation

        hr = read_rgb(source)
        if min(hr.shape[:2]) < scale:
            raise UserError(f"the image {source} is too small for x{scale}")
        if max(hr.shape[:2]) > LARGEST:
            raise UserError(f"the image {source} is too large: at most {LARGEST} pixels per side")
        lr = Preparation(degradation="photo", seed=seed).lr(hr, scale, source.stem)
        write_image(target, lr)
        return hr.shape, lr.shape

    with at_most(arguments.max_megapixels):
        return convert_each(work, worsen)


def _parser():
    parser = OneLineParser(
        prog="python -m scripts.degrade",
        description="Make LR images like bad photographs, as training with --degradation photo "
                    "does: blur, resizing, noise and JPEG of random strength (after Real-ESRGAN), "
                    "then PNG, 8-bit RGB. All draws depend on the seed and the file's name "
                    "without its suffix, and on nothing else.")
    parser.add_argument("inputs", nargs="+", metavar="IN", help="image files or folders")
    parser.add_argument("-o", "--output", required=True, metavar="OUT",
                        help="folder to write <name>_x<scale>.png to, or a .png file if there is "
                             "one input file")
    parser.add_argument("--scale", type=PositiveInt, default=4,
                        help="how many times smaller the results are; images are first cropped at "
                             "the bottom and right to a multiple of it")
    parser.add_argument("--seed", type=NonNegativeInt, default=0, help="seed of all draws")
    add_size_option(parser)
    return parser


if __name__ == "__main__":
    run_command(main)
