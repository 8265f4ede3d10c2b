#!/usr/bin/env bash
# Train RRDBNet and ESRGAN on an Ascend NPU; bare: the demo. Flags: python -m models.esrgan.train --help
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/train_npu.sh" esrgan "$@"
