"""What the adapters of an Ascend NPU write into a log of a training."""

import re

# What the adapters log: that of TensorFlow 2 for each function, when it has compiled it whole or
# left parts of it to the host (its npu_device.cpp); graph sessions once (npu_bridge).
FULLY = re.compile(r"(\S+) fully compiled on npu")
MIXED = re.compile(r"(\S+) compiled in mix mode on npu")
SESSION = "The model has been compiled on the Ascend AI processor"


def compiled(texts: dict) -> list:
    """What logs say that the NPU compiled, in lines; a notice for a log that says nothing.

    Args:
        texts: {path of a log: what the last start wrote into it}.
    """
    lines = []
    for log, text in texts.items():
        fully, mixed = (sorted(set(map(_function_name, found.findall(text))))
                        for found in (FULLY, MIXED))
        if fully:
            lines.append(f"{log}: compiled for the NPU: {', '.join(fully)}")
        elif SESSION in text:
            lines.append(f"{log}: {SESSION}")
        if mixed:
            lines.append(f"{log}: only partly compiled for the NPU: {', '.join(mixed)} (the rest "
                         "runs on the host, which is slow)")
        if not (fully or mixed or SESSION in text):
            lines.append(f"notice: no line in {log} says that the NPU compiled anything; check "
                         "with npu-smi that it is used")
    return lines


def _function_name(name):
    """train of __inference_train_123, as TensorFlow names its functions."""
    return re.sub(r"^__(?:inference|forward|backward)_|_\d+$", "", name)
