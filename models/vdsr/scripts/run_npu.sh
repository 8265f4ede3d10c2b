#!/usr/bin/env bash
# Train VDSR on an Ascend NPU; bare: the demo. Flags: python -m models.vdsr.train --help
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/train_npu.sh" vdsr "$@"
