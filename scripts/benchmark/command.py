"""Measure the zoo's speed beside PyTorch, ONNX Runtime and OpenVINO, all in one run on the CPU.

    python -m scripts.benchmark [--json F] [--runs 7] [--only NAME ...] [--threads N]

All engines have the same weights, and their answers are compared before anything is timed. They
take turns (A, B, C, A, B, C ...), so that other load on the machine meets all alike; the median is
reported. A peer that is not installed is named: `pip install -e ".[bench]"` installs them.
"""

import os
import sys

from common.cli import UserError
from common.device.machine import processor_name
from common.files import write_json
from common.flags import OneLineParser
from common.python37 import installed_version
from scripts.benchmark import forms, gan, inference, loop, pipeline, training
from scripts.benchmark.measuring import as_line

MEASUREMENTS = {**inference.MEASUREMENTS, **forms.MEASUREMENTS, **training.MEASUREMENTS,
                **gan.MEASUREMENTS, **pipeline.MEASUREMENTS, **loop.MEASUREMENTS}


def main(argv):
    """Read the flags, measure, print a line per row and write the rows."""
    arguments = _parse(argv)
    from common.device.quiet import quiet_tensorflow

    quiet_tensorflow("cpu")
    from common.nn.keras_compat import tf

    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    tf.config.threading.set_inter_op_parallelism_threads(arguments.threads)
    machine = describe_machine(arguments.threads)
    print("\n".join(f"{key}: {value}" for key, value in machine.items()), flush=True)
    rows = []
    for name in arguments.only or MEASUREMENTS:
        for row in MEASUREMENTS[name](name, arguments):
            print(as_line(row), flush=True)
            rows.append(row)
    if arguments.json:
        write_json(arguments.json, {"machine": machine, "results": rows})


def _parse(argv):
    parser = OneLineParser(prog="python -m scripts.benchmark", description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=str, help="write the rows to this file")
    parser.add_argument("--runs", type=int, default=7, help="timed turns of each engine")
    parser.add_argument("--only", nargs="+",
                        help=f"measure only these of {', '.join(MEASUREMENTS)}")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)),
                        help="threads of each engine; default: all cores")
    parser.add_argument("--data_dir", type=str, help="images for input_pipeline and "
                        "training_loop; default: the demo photographs")
    arguments = parser.read(argv)
    for name in arguments.only or ():
        if name not in MEASUREMENTS:
            raise UserError(f"--only {name}: no such measurement; choose from "
                            f"{', '.join(MEASUREMENTS)}")
    for flag in ("runs", "threads"):
        if getattr(arguments, flag) < 1:
            raise UserError(f"--{flag} must be 1 or more, got {getattr(arguments, flag)}")
    return arguments


def describe_machine(threads):
    """What the figures depend on: the CPU, the threads and the versions of the engines."""
    found = {"cpu": processor_name(), "threads": threads, "python": sys.version.split()[0]}
    for name in ("tensorflow", "tensorflow-cpu", "keras", "torch", "onnxruntime", "openvino"):
        if installed_version(name):
            found[name] = installed_version(name)
    return found
