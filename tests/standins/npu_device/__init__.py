"""Stands in for the Ascend adapter of TensorFlow 2.6.5 (`npu_device`), on a CPU, for the tests.

Written from the published interface (github.com/hicann/tensorflow of July 2026, `tf_adapter_2.x/
python/npu_device`): names, signatures, defaults, sets of values and errors are the adapter's. It
is stricter in two things that the adapter lets pass without a word: an option that is set after
`open` and a second `open` are errors.

Environment:
    NPU_STANDIN_RECORD: file that every call is added to, as an object of JSON per line.
    NPU_STANDIN_OPERATIONS: file of what the device is given to run, see `operations`.
    NPU_STANDIN_EXCHANGE: folder through which processes of a cluster exchange values.
    NPU_STANDIN_DEVICES: how many devices there are; by default 8.
    NPU_STANDIN_INF_NAN: 1 for a chip that gives infinity on overflow; by default it saturates.
"""

import tensorflow as tf

if not tf.__version__.startswith("2.6."):
    raise ImportError("npu_device 2.6.5 is built for TensorFlow 2.6.5, not " + tf.__version__)

from npu_device import compat, distribute, train  # noqa: E402
from npu_device.device import (  # noqa: E402
    global_options,
    is_inf_nan_enabled,
    keep_dtype_scope,
    npu_compat_function,
    open,
    set_device_sat_mode,
    set_npu_loop_size,
)

__all__ = ["compat", "distribute", "global_options", "is_inf_nan_enabled", "keep_dtype_scope",
           "npu_compat_function", "open", "set_device_sat_mode", "set_npu_loop_size", "train"]
