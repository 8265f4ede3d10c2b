#!/usr/bin/env bash
# Train SRCNN on one device (NPU, GPU or CPU); bare: the demo. Flags: python -m models.srcnn.train --help
# Boot code of ModelArts: run_1p.sh CODE_DIR DATA_DIR RESULT_DIR OBS_URL
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/train_1p.sh" srcnn "$@"
