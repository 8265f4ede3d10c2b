"""Weights: the zoo's own `.h5` files here, those of other programs in `source`."""

from common.weights.h5 import (
    METADATA,
    assign,
    interpolate,
    interpolated,
    load_into,
    read_arrays,
    read_metadata,
    save,
    weight_names,
)

__all__ = ["METADATA", "assign", "interpolate", "interpolated", "load_into", "read_arrays",
           "read_metadata", "save", "weight_names"]
