"""What an Ascend NPU supports: CANN's own list of operators, or this project's."""

import json
import os
from collections import namedtuple
from pathlib import Path

from common.cli import UserError

LIST = Path(__file__).with_name("npu_ops.txt")
# CANN's lists that the adapter reads, below $ASCEND_OPP_PATH.
CANN_LISTS = ("built-in/framework/tensorflow/npu_supported_ops.json",
              "framework/built-in/tensorflow/npu_supported_ops.json")

# ops: names of the operators that the NPU has. refused, layers: {name: advice} for operators and
# for Keras layers that it refuses. source: where the names are from.
Support = namedtuple("Support", "ops refused layers source")

_ADAPTERS_OWN = ("IteratorV2", "IteratorGetNext", "Placeholder", "_Arg", "_Retval")


def read_support(path=LIST, environment=os.environ):
    """Read CANN's list of operators where it is installed, else this project's.

    Args:
        path: of this project's list, which the refusals come from in any case.
        environment: holds ASCEND_OPP_PATH.

    Returns:
        a `Support`.

    Raises:
        UserError: CANN's list cannot be read.
    """
    lines, ops, refused, layers = [], set(), {}, {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):
            lines[-1] += line
        elif line and not line.startswith("#"):
            lines.append(line)
    for line in lines:
        names, _, advice = (part.strip() for part in line.partition("|"))
        if advice:
            target = refused if names.startswith("!") else layers
            target.update(dict.fromkeys(names.split()[1:], advice))
        else:
            ops.update(names.split())
    for cann in CANN_LISTS:
        cann = Path(environment.get("ASCEND_OPP_PATH", ""), cann)
        if environment.get("ASCEND_OPP_PATH") and cann.is_file():
            try:
                ops = {*json.loads(cann.read_text(encoding="utf-8")), *_ADAPTERS_OWN}
            except ValueError as error:
                raise UserError(f"{cann} is not a JSON file: {error}") from error
            return Support(ops, refused, layers, str(cann))
    return Support(ops, refused, layers, path.name)
