#!/usr/bin/env bash
# Train this folder's model on one device (NPU, GPU or CPU), by default the demo. Flags: python -m models.<model>.train --help
# Boot code of ModelArts: run_1p.sh CODE_DIR DATA_DIR RESULT_DIR OBS_URL
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/start.sh" "${BASH_SOURCE[0]}" "$@"
