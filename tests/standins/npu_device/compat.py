"""`npu_device.compat`: graph sessions."""

import tensorflow as tf

from npu_device.device import record


def enable_v1():
    """Make the process ready for graph sessions on the device."""
    tf.compat.v1.disable_v2_behavior()
    record("enable_v1")
