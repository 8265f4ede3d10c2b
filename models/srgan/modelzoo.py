"""The flags of ModelZoo's SRGAN description, and of the Keras-SRGAN that it is, in the zoo's words.

Nothing else knows them.
"""

from common.cli import UserError
from common.modelzoo.flags import pairs, words

SHORT = {"-i": "--input_dir", "-o": "--output_dir", "-m": "--model_save_dir", "-b": "--batch_size",
         "-e": "--epochs", "-n": "--number_of_images", "-r": "--train_test_ratio",
         "-c": "--config"}
CHARACTERISTIC = {"--input_dir", "--model_save_dir"}


def translate(argv):
    """Rewrite the description's flags; others pass through.

    `--input_dir D` is `--dataset coco --data_dir D`. It and `--model_save_dir` choose the
    description's recipe, `--preset coco`, unless a preset or a YAML file is named. The short flags
    -i -o -m -b -e -n -r are the script's.

    Raises:
        UserError: the flags contradict each other.
    """
    flags, result = pairs(argv, SHORT), []
    names = {name for name, _ in flags}
    if CHARACTERISTIC & names and not {"--preset", "--config"} & names:
        result += ["--preset", "coco"]
    if "--input_dir" in names:
        if "--data_dir" in names:
            raise UserError("--input_dir and --data_dir are the same; give one")
        if "--dataset" not in names:
            result += ["--dataset", "coco"]
    return result + words(("--data_dir" if name == "--input_dir" else name, value)
                          for name, value in flags)
