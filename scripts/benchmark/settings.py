"""The networks and sizes that several measurements share."""

BASELINE = {"num_blocks": 16, "num_filters": 64, "res_scale": 1.0}  # EDSR
DEMO = {"num_blocks": 4, "num_filters": 32, "res_scale": 1.0}  # EDSR, as its demo trains it
BATCH, PATCH, SCALE = 16, 48, 2  # PATCH: side of an LR patch
