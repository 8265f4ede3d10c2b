#!/usr/bin/env bash
# Train a model on one device: `bash scripts/train_1p.sh MODEL [flags of its train command]`; the demo
# preset unless --preset or --config is given. A model's scripts/run_1p.sh calls this.
set -euo pipefail

model="${1:?usage: bash scripts/train_1p.sh MODEL [flags]}"
shift

preset=(--preset demo)
for argument in "$@"; do
  case "$argument" in
    --preset | --preset=* | --config | --config=* | -c | -c=*) preset=() ;;
  esac
done

export RANK_SIZE="${RANK_SIZE:-1}" RANK_ID="${RANK_ID:-0}" JOB_ID="${JOB_ID:-10087}"
export ASCEND_DEVICE_ID="${ASCEND_DEVICE_ID:-0}"
exec bash "$(dirname "${BASH_SOURCE[0]}")/run_module.sh" "models.$model.train" \
  ${preset[@]+"${preset[@]}"} "$@"
