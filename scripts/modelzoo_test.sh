#!/usr/bin/env bash
# What is behind every models/<model>/test/train_*.sh:
# `bash scripts/modelzoo_test.sh MODEL full|performance 1p|8p "PRESET [flags]" [--key=value ...]`.
# That is the recipe where the flags name none; of two flags of one name the later counts.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/train_common.sh"
model="$1" kind="$2" devices="$3"
read -r -a default <<<"$4"
shift 4

usage() {
  cat <<TXT
usage: bash train_${kind}_$devices.sh --data_path=FOLDER [--key=value ...]

  --data_path       folder of the data set (required)
  --output_path     folder of everything the run writes; default output/${model}_${devices}_$kind
  --train_steps     optimizer steps in all; of a performance run 300 if neither is given
  --train_epochs    in place of --train_steps: passes over the training images
  --batch_size      patches per step, over all devices
  --precision_mode  of an NPU, e.g. allow_mix_precision
  -h, --help        this text

Other flags go to python -m models.$model.train, e.g. --preset=demo. Without --preset or --config
the recipe is --preset=${default[*]}, of a performance run without NPU and GPU --preset=demo. A
performance run starts anew each time; a full one goes on from the checkpoints in its folder.
TXT
}

data_path="" output_path="output/${model}_${devices}_$kind" length="" flags=()
while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help) usage; exit 0 ;;
    --*=*) ;;
    --*) if [ $# -gt 1 ] && [ "${2#--}" = "$2" ]; then set -- "$1=$2" "${@:3}"; fi ;;
    *) echo "[Error] $1: flags are given as --key=value; see --help"; exit 1 ;;
  esac
  case "$1" in
    --data_path=*) data_path="${1#*=}" ;;
    --output_path=*) output_path="${1#*=}" ;;
    --output_dir=*) echo "[Error] give --output_path in place of --output_dir"; exit 1 ;;
    --train_steps=*) length=given flags+=("$1") ;;
    --train_epochs=*) length=given flags+=("--epochs=${1#*=}") ;;
    *) flags+=("$1") ;;
  esac
  shift
done
if [ -z "$data_path" ]; then
  echo '[Error] para "data_path" must be config'
  exit 1
fi
[ -n "$output_path" ] || { echo '[Error] para "output_path" is empty'; exit 1; }

# ---- which device, which recipe ------------------------------------------------------------------

chip="$(chip_of ${flags[@]+"${flags[@]}"})"
on=cpu
case "$chip" in auto | npu) load_cann; ! npu_here || on=npu ;; esac
case "$on-$chip" in cpu-auto | cpu-gpu) ! gpu_driver || on=gpu ;; esac
stack=main
case "$on-$devices-$chip" in
  npu-*) stack=ascend ;;
  gpu-*) echo "no NPU is used: this runs on the GPU" ;;
  cpu-1p-auto | cpu-1p-cpu) echo "no NPU and no GPU is used: this runs on the CPU" ;;
esac

[ "$kind-$on" != performance-cpu ] || default=(demo)
choose_preset "${default[0]}" ${flags[@]+"${flags[@]}"}
if [ ${#preset[@]} -gt 0 ]; then
  [ ${#default[@]} = 1 ] || preset+=("${default[@]:1}")
  echo "recipe: ${preset[*]}"
  [ "$kind-$on" != full-cpu ] || echo "a CPU needs months for it; --preset=demo is a small one"
fi
if [ "$kind" = performance ]; then
  preset+=(--resume=no --log_every=10 --val_images=2)
  [ -n "$length" ] || preset+=(--train_steps=300)
fi

device="${ASCEND_DEVICE_ID:-0}"
[ "$devices" = 1p ] || device=0
folder="$output_path/$device" log="$output_path/$device/train_$device.log"
logs=("$log")
if [ "$on-$devices" = npu-8p ]; then # each device has its own
  folder="$output_path" log="$output_path/<device>/train_<device>.log"
  logs=("$output_path"/[0-9]*/train_[0-9]*.log)
fi
[ "$kind" = full ] || rm -f -- "${logs[@]}"
mkdir -p "$folder" || exit 2
PYTHON="$(bash "$root/scripts/setup.sh" --stack "$stack" --python)"

# ---- train ---------------------------------------------------------------------------------------

if [ "$devices" = 8p ]; then starter=train_8p.sh; else starter=train_1p.sh; fi
[ "$on-$devices" != npu-1p ] || starter=train_npu.sh
command=(bash "$root/scripts/$starter" "$model" "--data_dir=$data_path" "--output_dir=$output_path"
  ${preset[@]+"${preset[@]}"} ${flags[@]+"${flags[@]}"})
began=$SECONDS now="$(date +%s)" child="" stopped=""
trap 'stopped=1; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null || true' TERM INT HUP
if [ "$on-$devices" = npu-8p ]; then
  "${command[@]}" </dev/null &
else
  echo "training; log: $log"
  begin_log "$log"
  "${command[@]}" >>"$log" 2>&1 </dev/null &
fi
child=$!
[ -z "$stopped" ] || kill -TERM "$child" 2>/dev/null || true
status=0
wait "$child" || status=$?
while [ -n "$stopped" ] && kill -0 "$child" 2>/dev/null; do # the signal broke the waiting off
  status=0
  wait "$child" || status=$?
done
if [ "$status" != 0 ]; then
  [ "$on-$devices" = npu-8p ] || tail -n 3 "$log" >&2
  echo "[Error] the training ended with status $status; see $log" >&2
  exit "$status"
fi

# ---- report --------------------------------------------------------------------------------------

export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" PYTHONSAFEPATH=1
ranks=1
case "$on-$devices" in
  npu-1p) ranks="${CM_WORKER_SIZE:-${RANK_SIZE:-1}}" ;;
  npu-8p)
    eight
    check_cluster
    this_machine
    logs=()
    for id in "${device_ids[@]}"; do logs+=("$output_path/$id/train_$id.log"); done
    ;;
esac
exec "$PYTHON" -m scripts.modelzoo_report "$output_path" --model "$model" --kind "$kind" \
  --chip "$on" --ranks "$ranks" --seconds $((SECONDS - began)) --began "$now" --log "${logs[@]}"
