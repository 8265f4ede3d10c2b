#!/usr/bin/env bash
# Train a model on an Ascend NPU: `bash scripts/train_npu.sh MODEL [flags of its train command]`; the
# demo preset unless --preset or --config is given. One process for each device: of several, each is
# started with its ASCEND_DEVICE_ID and either RANK_SIZE, RANK_ID and RANK_TABLE_FILE or the five
# CM_* variables (scripts/train_8p.sh does it). A model's scripts/run_npu.sh calls this.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/train_common.sh"
model="${1:?usage: bash scripts/train_npu.sh MODEL [flags]}"
shift

check_cluster
check_rank
load_cann
npu_here || fail "no NPU here: no /dev/davinci* and no package npu_device; run_1p.sh trains on a GPU" \
  "or the CPU"
export_ranks "${ASCEND_DEVICE_ID:-0}" "${RANK_ID:-0}"
npu_python
choose_preset demo "$@"
exec "$PYTHON" -m "models.$model.train" --chip=npu ${preset[@]+"${preset[@]}"} "$@"
