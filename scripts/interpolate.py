"""Weights between two weight files: `python -m scripts.interpolate A.h5 B.h5 --alpha 0.5 OUT.h5`.

ESRGAN (arXiv 1809.00219, 3.4) takes the noise off a GAN's pictures so, with A of its PSNR stage.
"""

from common.cli import run_command
from common.flags import OneLineParser
from common.weights import interpolate


def main(argv):
    """Run the command."""
    arguments = _parser().read(argv)
    interpolate(arguments.first, arguments.second, arguments.alpha, arguments.output)
    print(f"{arguments.output}: {1 - arguments.alpha:g} of {arguments.first} and "
          f"{arguments.alpha:g} of {arguments.second}")


def _parser():
    parser = OneLineParser(
        prog="python -m scripts.interpolate",
        description="Write the weights between those of two files of the same network: "
                    "(1 - alpha) * A + alpha * B, as ESRGAN trades PSNR for a GAN's detail.")
    parser.add_argument("first", metavar="A.h5", help="the file that alpha 0 gives")
    parser.add_argument("second", metavar="B.h5", help="the file that alpha 1 gives")
    parser.add_argument("output", metavar="OUT.h5", help="the weight file to write")
    parser.add_argument("--alpha", type=float, required=True, metavar="ALPHA",
                        help="how far from A to B, from 0 to 1")
    return parser


if __name__ == "__main__":
    run_command(main)
