"""A record of what the default device is given to run: functions, and operations outside them.

$NPU_STANDIN_OPERATIONS names the file. It has one line for each: `function`, and its name; `graph`
and the name of an operation on a variable, for which the adapter builds a graph that it throws
away (`NpuResourceOp`); `operation` and the name of another, which runs on the host. What is placed
on the CPU by `context.device`, past the adapter, is left out.
"""

import os
import sys

import tensorflow as tf
from tensorflow.python import pywrap_tfe
from tensorflow.python.eager import context

_WITHOUT_GRAPH = ("VarHandleOp", "VarIsInitializedOp", "DestroyResourceOp")


def note(kind, name):
    """Add a line."""
    path = None if sys.is_finalizing() else os.environ.get("NPU_STANDIN_OPERATIONS")
    if path and "CPU" not in (context.context().device_name or ""):
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{kind} {name}\n")


def note_all():
    """Note each operation that TensorFlow executes outside functions from now on."""
    for name, place in (("TFE_Py_FastPathExecute", 1), ("TFE_Py_Execute", 2),
                        ("TFE_Py_ExecuteCancelable", 2)):
        setattr(pywrap_tfe, name, _noting(getattr(pywrap_tfe, name), place))


def _noting(execute, place):
    def wrapper(*arguments):
        result = execute(*arguments)
        name = tf.compat.as_str(arguments[place])
        if not context.context().has_function(name):
            on_variable = name not in _WITHOUT_GRAPH and ("VariableOp" in name
                                                          or name.startswith("Resource"))
            note("graph" if on_variable else "operation", name)
        return result
    return wrapper
