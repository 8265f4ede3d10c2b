#!/usr/bin/env bash
# Train a model on one device: `bash scripts/train_1p.sh MODEL [flags of its train command]`; the
# demo preset unless --preset or --config is given. An NPU where there is one, else a GPU (the first,
# unless CUDA_VISIBLE_DEVICES is set), else the CPU. A model's scripts/run_1p.sh calls this.
# Boot code of ModelArts gives `CODE_DIR DATA_DIR RESULT_DIR OBS_URL [flags]`.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/train_common.sh"
model="${1:?usage: bash scripts/train_1p.sh MODEL [flags]}"
shift

if [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; then
  for argument in "${@:1:4}"; do
    [ "${argument#-}" = "$argument" ] || set -- # a flag among the four: some are missing
  done
  [ $# -ge 4 ] || fail "without flags in front, run_1p.sh takes CODE_DIR DATA_DIR RESULT_DIR OBS_URL"
  echo "data: $2; results go to $3; copying them to ${4:-the bucket} is the boot code's part"
  set -- "--data_dir=$2" "--output_dir=$3" "${@:5}"
fi

chip="$(chip_of "$@")"
if [ "$chip" = npu ] || { [ "$chip" = auto ] && [ "$(npu_count)" != 0 ]; }; then
  exec bash "$root/scripts/train_npu.sh" "$model" "$@"
fi

choose_preset demo "$@"
export RANK_SIZE="${RANK_SIZE:-1}" RANK_ID="${RANK_ID:-0}" JOB_ID="${JOB_ID:-10087}"
export ASCEND_DEVICE_ID="${ASCEND_DEVICE_ID:-0}"
export CUDA_VISIBLE_DEVICES="${CUDA_VISIBLE_DEVICES-0}"
exec bash "$root/scripts/run_module.sh" "models.$model.train" ${preset[@]+"${preset[@]}"} "$@"
