"""Importing this changes `tf.Session` for the whole process, as the adapter's does."""

import functools
import json
import os

from tensorflow.core.protobuf import config_pb2
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig
from tensorflow.python.client import session


def npu_config_proto(config_proto=None):
    """A `ConfigProto` that has the adapter's optimizer, made of the one that is given."""
    if not isinstance(config_proto, config_pb2.ConfigProto):
        config_proto = config_pb2.ConfigProto()
    rewrite = config_proto.graph_options.rewrite_options
    if all(optimizer.name != "NpuOptimizer" for optimizer in rewrite.custom_optimizers):
        rewrite.custom_optimizers.add().name = "NpuOptimizer"
        rewrite.memory_optimization = RewriterConfig.OFF
    config_proto.allow_soft_placement = True
    config_proto.log_device_placement = False
    rewrite.remapping = RewriterConfig.OFF
    config_proto.graph_options.optimizer_options.global_jit_level = config_pb2.OptimizerOptions.OFF
    return config_proto


def close_session(sess):
    """Close a session."""
    sess.close()


def _with_npu_config(init):
    @functools.wraps(init)
    def wrapper(self, target="", graph=None, config=None):
        init(self, target, graph, npu_config_proto(config))
    return wrapper


session.Session.__init__ = _with_npu_config(session.Session.__init__)
session.InteractiveSession.__init__ = _with_npu_config(session.InteractiveSession.__init__)
if os.environ.get("NPU_STANDIN_RECORD"):
    with open(os.environ["NPU_STANDIN_RECORD"], "a", encoding="utf-8") as _file:
        _file.write(json.dumps({"call": "npu_init"}) + "\n")
