#!/usr/bin/env bash
# Train a model on eight devices: `bash scripts/train_8p.sh MODEL [flags of its train command]`; the
# demo preset unless --preset or --config is given. A model's scripts/run_8p.sh calls this.
#
# NPUs: one process for each, which find each other by RANK_TABLE_FILE or the five CM_* variables.
# Each adds to OUTPUT/<device>/train_<device>.log, OUTPUT being --output_dir or output/<model>_8p.
# RANK_SIZE (or CM_WORKER_SIZE) is their number in all; on several machines SERVER_INDEX counts these
# from 0, in the order of the table's server_list. The table names devices and ranks; with CM_* they
# are counted from 0, and DEVICES is the number of this machine's. When a process fails the others
# are told to end, and killed if they have not after SR_ZOO_GRACE seconds (60). The status is that of
# the first that failed.
# GPUs: one process that uses all that CUDA_VISIBLE_DEVICES lets it see.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/train_common.sh"
model="${1:?usage: bash scripts/train_8p.sh MODEL [flags]}"
shift

chip="$(chip_of "$@")"
may_be() { [ "$chip" = auto ] || [ "$chip" = "$1" ]; }
if may_be npu && { load_cann; npu_here; }; then
  : # below
elif may_be gpu && gpu_driver; then
  choose_preset demo "$@"
  export RANK_SIZE=1 RANK_ID=0 JOB_ID="${JOB_ID:-10087}" ASCEND_DEVICE_ID=0
  exec bash "$root/scripts/run_module.sh" "models.$model.train" --chip=gpu \
    ${preset[@]+"${preset[@]}"} "$@"
else
  fail "no NPU and no GPU here that --chip $chip could use; run_1p.sh also trains on the CPU"
fi

eight
check_cluster
npu_python
this_machine
devices=${#device_ids[@]} here="$(npu_count)"
[ "$here" = 0 ] || [ "$devices" -le "$here" ] ||
  fail "$devices processes need as many NPUs and there are $here here; set RANK_SIZE, or DEVICES" \
    "on several machines"
choose_preset demo "$@"
command=("$PYTHON" -m "models.$model.train" --chip=npu ${preset[@]+"${preset[@]}"} "$@")
if asks_only "$@"; then exec "${command[@]}"; fi

# The options are read once here: a mistake in them is one line, and the folder may be in a YAML file.
options="$("${command[@]}" --print_config)"
output="$("$PYTHON" -c 'import sys, yaml; print(yaml.safe_load(sys.stdin)["output_dir"] or "")' \
  <<<"$options")"
if [ -z "$output" ]; then
  output="output/${model}_8p"
  command+=("--output_dir=$output")
fi

pids=() ending="" status=0
end_all() {
  ending="${ending:-$SECONDS}"
  local pid
  for pid in ${pids[@]+"${pids[@]}"}; do kill -TERM "$pid" 2>/dev/null || true; done
}
trap end_all TERM INT HUP

log_of() { printf '%s\n' "$output/$1/train_$1.log"; }
for i in "${!device_ids[@]}"; do
  device="${device_ids[i]}"
  { mkdir -p "$output/$device" && begin_log "$(log_of "$device")"; } || { status=2; end_all; break; }
  [ -z "$ending" ] || { status=143; break; }
  (
    export_ranks "$device" "${rank_ids[i]}"
    exec "${command[@]}"
  ) >>"$(log_of "$device")" 2>&1 </dev/null &
  pids[device]=$!
done
echo "$devices processes, one for each NPU; logs: $output/<device>/train_<device>.log"

grace="${SR_ZOO_GRACE:-60}"
while [ ${#pids[@]} -gt 0 ]; do
  for device in "${!pids[@]}"; do
    ! kill -0 "${pids[device]}" 2>/dev/null || continue
    code=0
    wait "${pids[device]}" || code=$?
    unset "pids[$device]"
    if [ "$code" != 0 ] && [ "$status" = 0 ]; then
      status=$code
      if [ -z "$ending" ]; then
        tail -n 3 "$(log_of "$device")" >&2
        echo "error: the process of device $device ended with status $code, so the others are ended;" \
          "see $(log_of "$device")" >&2
        end_all
      fi
    fi
  done
  if [ -n "$ending" ] && [ $((SECONDS - ending)) -ge "$grace" ] && [ ${#pids[@]} -gt 0 ]; then
    echo "error: not ended after $grace s, so killed: the processes of devices ${!pids[*]}" >&2
    for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
    ending=$SECONDS
  fi
  sleep 0.3 &
  wait $! || true
done
exit "$status"
