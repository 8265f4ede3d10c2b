"""Stands in for the Ascend adapter of TensorFlow 1.15 (`npu_bridge`), on a CPU, for the tests.

Written from the published interface (github.com/hicann/tensorflow of July 2026, `tf_adapter/python/
npu_bridge`), as far as graph sessions need it. NPU_STANDIN_RECORD as of the other stand-in.
"""

__version__ = "v1.15.0"
