#!/usr/bin/env bash
# Train SRDRM and SRDRM-GAN on an Ascend NPU; bare: the demo. Flags: python -m models.srdrm.train --help
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/train_npu.sh" srdrm "$@"
