#!/usr/bin/env bash
# Train EDSR on an Ascend NPU; bare: the demo. Flags: python -m models.edsr.train --help
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/train_npu.sh" edsr "$@"
