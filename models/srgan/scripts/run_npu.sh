#!/usr/bin/env bash
# Train SRResNet and SRGAN on an Ascend NPU; bare: the demo. Flags: python -m models.srgan.train --help
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/train_npu.sh" srgan "$@"
