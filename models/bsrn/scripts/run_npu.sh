#!/usr/bin/env bash
# Train BSRN on an Ascend NPU; bare: the demo. Flags: python -m models.bsrn.train --help
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/train_npu.sh" bsrn "$@"
