#!/usr/bin/env bash
# Train a model on one device: `bash scripts/train_1p.sh MODEL [flags of its train command]`.
# A model's scripts/run_1p.sh calls this. Relative paths in the flags are the caller's, and the exit
# status is the training's.
set -euo pipefail

here="${BASH_SOURCE[0]%/*}"
[ "$here" != "${BASH_SOURCE[0]}" ] || here=.
root="$(CDPATH='' cd -- "$here/.." && pwd -P)"
model="${1:?usage: bash scripts/train_1p.sh MODEL [flags]}"
shift

preset=(--preset demo)
for argument in "$@"; do
  case "$argument" in
    --preset | --preset=* | --config | --config=* | -c | -c=*) preset=() ;;
  esac
done

PYTHON="$(bash "$root/scripts/setup.sh" --python)"
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONSAFEPATH=1 # `-m` would put the caller's folder, and a `models` in it, before the zoo's
export RANK_SIZE="${RANK_SIZE:-1}" RANK_ID="${RANK_ID:-0}" JOB_ID="${JOB_ID:-10087}"
export ASCEND_DEVICE_ID="${ASCEND_DEVICE_ID:-0}"
exec "$PYTHON" -m "models.$model.train" ${preset[@]+"${preset[@]}"} "$@"
