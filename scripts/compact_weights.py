"""Halve a weight file, if the output stays the same: `python -m scripts.compact_weights IN OUT`."""

from pathlib import Path

from common.cli import UserError, run_command
from common.device.quiet import quiet_tensorflow
from common.flags import OneLineParser

BOUND = 0.5  # grey levels


def main(argv):
    """Run the command."""
    arguments = _parser().read(argv)
    quiet_tensorflow("cpu")
    from common.files import atomic_path
    from common.weights.compact import compact
    from models.catalogue import find

    source, output = find(arguments.source), Path(arguments.output)
    with atomic_path(output) as temporary:
        compact(source, temporary)
        difference = largest_difference(source, temporary)
        if difference > BOUND:
            raise UserError(f"16-bit weights change the output of {source} by up to "
                            f"{difference:.2f} of 255 (at most {BOUND} is allowed); nothing "
                            "was written")
    print(f"{output}: {output.stat().st_size:,} bytes of {source.stat().st_size:,}; the output "
          f"differs by at most {difference:.3f} of 255 on a photograph")


def largest_difference(first, second) -> float:
    """The largest difference of two weight files' outputs on a photograph, grey levels of 255.

    The photograph is scikit-image's cat, 128x96 pixels; every scale of a joint network counts.
    """
    import numpy as np
    from skimage.data import chelsea

    import models
    from common.nn.keras_compat import tf

    photograph = tf.constant(chelsea()[None, 60:156, 100:228].astype("float32"))
    answers = []
    for path in (first, second):
        model = models.load(path)
        result = model(photograph)
        answers.append(result if isinstance(result, dict) else {"": result})
    return max(float(np.abs(answers[0][key] - answers[1][key]).max()) for key in answers[0])


def _parser():
    parser = OneLineParser(
        prog="python -m scripts.compact_weights",
        description="Store the weights of a zoo .h5 as compressed 16-bit numbers, if the output on "
                    f"a photograph then differs by at most {BOUND} of 255.")
    parser.add_argument("source", metavar="IN.h5", help="weight file, or a name of the catalogue")
    parser.add_argument("output", metavar="OUT.h5", help="weight file to write")
    return parser


if __name__ == "__main__":
    run_command(main)
