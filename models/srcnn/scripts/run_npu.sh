#!/usr/bin/env bash
# Train SRCNN on an Ascend NPU; bare: the demo. Flags: python -m models.srcnn.train --help
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/train_npu.sh" srcnn "$@"
