"""Weight initializers. Each call gives a new one: Keras 3 repeats the values of one used twice."""

from __future__ import annotations

from common.nn.keras_compat import keras


def fan_in_uniform() -> keras.initializers.Initializer:
    """Uniform within 1/sqrt(fan in), PyTorch's default: small enough for float16."""
    return keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")


def he_normal(factor: float = 1.0) -> keras.initializers.Initializer:
    """He's normal initializer for ReLU (arXiv 1502.01852), its deviation times `factor`."""
    return keras.initializers.VarianceScaling(2 * factor**2, "fan_in", "untruncated_normal")
