"""Interpolate two weight files: `python -m scripts.interpolate A.h5 B.h5 --alpha 0.5 OUT.h5`.

ESRGAN (arXiv 1809.00219, 3.4) removes a GAN's artefacts this way; A comes from its PSNR stage.
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
        description="Interpolate the weights of two files of the same network: "
                    "(1 - alpha) * A + alpha * B, as ESRGAN does to balance PSNR and GAN detail.")
    parser.add_argument("first", metavar="A.h5", help="weight file for alpha 0")
    parser.add_argument("second", metavar="B.h5", help="weight file for alpha 1")
    parser.add_argument("output", metavar="OUT.h5", help="weight file to write")
    parser.add_argument("--alpha", type=float, required=True, metavar="ALPHA",
                        help="share of B, from 0 to 1")
    return parser


if __name__ == "__main__":
    run_command(main)
