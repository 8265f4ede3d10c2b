"""Translate the flags of ModelZoo's SRGAN description (Keras-SRGAN's) into the zoo's."""

from common.cli import UserError
from common.modelzoo.flags import pairs, words

SHORT = {"-i": "--input_dir", "-o": "--output_dir", "-m": "--model_save_dir", "-b": "--batch_size",
         "-e": "--epochs", "-n": "--number_of_images", "-r": "--train_test_ratio",
         "-c": "--config"}


def translate(argv):
    """Rewrite the description's flags; others pass through.

    `--input_dir D` is `--dataset coco --data_dir D`. It and `--model_save_dir` select the
    description's recipe, `--preset coco`, unless a preset or a YAML file is given. The short flags
    -i -o -m -b -e -n -r are Keras-SRGAN's.

    Raises:
        UserError: the flags contradict each other.
    """
    flags, added = pairs(argv, SHORT), []
    names = {name for name, _ in flags}
    if names & {"--input_dir", "--model_save_dir"} and not names & {"--preset", "--config"}:
        added.append(("--preset", "coco"))
    if "--input_dir" in names:
        if "--data_dir" in names:
            raise UserError("--input_dir and --data_dir mean the same folder; give one")
        if "--dataset" not in names:
            added.append(("--dataset", "coco"))
    return words(added + [("--data_dir" if name == "--input_dir" else name, value)
                          for name, value in flags])
