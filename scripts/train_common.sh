# shellcheck shell=bash
# What train_1p.sh, train_npu.sh, train_8p.sh and modelzoo_test.sh share; they source this file.
# SR_ZOO_NPU_DEVICES and SR_ZOO_NVIDIA_TRACES are paths to look for in place of the usual.
# shellcheck disable=SC2034 # `preset` and `PYTHON` are theirs

root="$(CDPATH='' cd -- "${BASH_SOURCE[0]%/*}/.." && pwd -P)"
cm_names=(CM_CHIEF_IP CM_CHIEF_PORT CM_CHIEF_DEVICE CM_WORKER_IP CM_WORKER_SIZE)

fail() { printf 'error: %s\n' "$*" >&2; exit 2; }

choose_preset() { # default [flags]: sets the array `preset`, empty where the flags name a recipe
  local argument
  preset=("--preset=$1")
  for argument in "${@:2}"; do
    case "$argument" in
      --preset | --preset=* | --config* | -c | -c=*) preset=() ;;
    esac
  done
}

chip_of() { # [flags]: the value of the last --chip
  local chip=auto before="" argument
  for argument in "$@"; do
    [ "$before" != --chip ] || chip="$argument"
    case "$argument" in --chip=*) chip="${argument#*=}" ;; esac
    before="$argument"
  done
  printf '%s\n' "$chip"
}

asks_only() { # [flags]: whether they ask for help or the options, so that nothing is trained
  local argument
  for argument in "$@"; do
    case "$argument" in -h | --help | --print_config*) return 0 ;; esac
  done
  return 1
}

gpu_driver() { # whether an NVIDIA driver is here
  local trace
  for trace in ${SR_ZOO_NVIDIA_TRACES-/proc/driver/nvidia/version /dev/nvidiactl \
    /usr/lib/wsl/lib/libcuda.so.1}; do
    [ ! -e "$trace" ] || return 0
  done
  return 1
}

npu_count() { # how many NPUs the driver shows
  local node count=0
  for node in ${SR_ZOO_NPU_DEVICES-/dev/davinci[0-9]*}; do
    [ ! -e "$node" ] || count=$((count + 1))
  done
  printf '%s\n' "$count"
}

npu_here() { # whether there is a device, or the adapter, which then says itself what it lacks
  local python
  [ "$(npu_count)" = 0 ] || return 0
  python="$(bash "$root/scripts/setup.sh" --stack ascend --find 2>/dev/null)" || return 1
  "$python" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("npu_device") is None)' \
    2>/dev/null
}

load_script() { # file: CANN's scripts read unset variables and ignore failing commands
  set +eu
  # shellcheck disable=SC1090 # the machine's
  . "$1"
  set -eu
}

load_cann() { # the environment of CANN (toolkit, else nnae), then of the TensorFlow plugin
  local folder file installation=""
  for folder in "${ASCEND_TOOLKIT_HOME:-}" "${ASCEND_HOME_PATH:-}" \
    {/usr/local,"${HOME:-}"}/Ascend/{ascend-toolkit,cann,nnae}; do
    for file in "$folder/set_env.sh" "${folder%/*}/set_env.sh"; do
      if [ -n "$folder" ] && [ -r "$file" ]; then
        load_script "$file"
        installation="${file%/*/*}"
        break 2
      fi
    done
  done
  for folder in "$installation" /usr/local/Ascend "${HOME:-}/Ascend"; do
    if [ -n "$folder" ] && [ -r "$folder/tfplugin/set_env.sh" ]; then
      load_script "$folder/tfplugin/set_env.sh"
      break
    fi
  done
}

is_count() { # number: 1, 2, ...
  case "$1" in '' | 0* | *[!0-9]*) return 1 ;; esac
}

check_cluster() { # how processes find each other: sets `ranks`, and `by_table` (0: by CM_*)
  local name given=() missing=()
  for name in "${cm_names[@]}"; do
    if [ -n "${!name:-}" ]; then given+=("$name"); else missing+=("$name"); fi
  done
  by_table=1 ranks="${RANK_SIZE:-1}"
  is_count "$ranks" || fail "RANK_SIZE is $ranks; it is the number of devices, 1 or more"
  if [ ${#given[@]} -gt 0 ]; then
    [ -z "${RANK_TABLE_FILE:-}" ] ||
      fail "RANK_TABLE_FILE and ${given[*]} are set, which exclude each other; unset one side"
    [ ${#missing[@]} = 0 ] ||
      fail "${given[*]} set, but not ${missing[*]}; set all five, or RANK_TABLE_FILE and RANK_ID"
    is_count "$CM_WORKER_SIZE" ||
      fail "CM_WORKER_SIZE is $CM_WORKER_SIZE; it is the number of devices, 1 or more"
    [ "${RANK_SIZE:-$CM_WORKER_SIZE}" = "$CM_WORKER_SIZE" ] ||
      fail "RANK_SIZE is $RANK_SIZE and CM_WORKER_SIZE $CM_WORKER_SIZE; both count all devices"
    by_table=0 ranks="$CM_WORKER_SIZE"
  elif [ "$ranks" -gt 1 ]; then
    [ -n "${RANK_TABLE_FILE:-}" ] ||
      fail "RANK_SIZE is $ranks, but neither RANK_TABLE_FILE (with RANK_ID) nor ${cm_names[*]}" \
        "say where the devices are"
    [ -r "$RANK_TABLE_FILE" ] && [ -f "$RANK_TABLE_FILE" ] ||
      fail "RANK_TABLE_FILE: cannot read the file $RANK_TABLE_FILE"
  fi
}

check_rank() { # after check_cluster: which of the processes this one is
  [ "$by_table" = 1 ] && [ "$ranks" -gt 1 ] || return 0
  [ -n "${RANK_ID:-}" ] ||
    fail "RANK_SIZE is $ranks, but RANK_ID is not set: 0 to $((ranks - 1)), another for each process"
  { [ "$RANK_ID" = 0 ] || is_count "$RANK_ID"; } && [ "$RANK_ID" -lt "$ranks" ] ||
    fail "RANK_ID is $RANK_ID; with RANK_SIZE $ranks it is 0 to $((ranks - 1))"
}

export_ranks() { # device rank: what the adapter reads of them
  export JOB_ID="${JOB_ID:-10087}" ASCEND_DEVICE_ID="$1"
  if [ "$by_table" = 1 ]; then
    export RANK_SIZE="$ranks" RANK_ID="$2"
  else
    unset RANK_SIZE RANK_ID # the adapter refuses these beside CM_WORKER_SIZE; HCCL gives the ranks
  fi
}

eight() { # the number of devices in all, where nothing says it
  [ -n "${CM_WORKER_SIZE:-}" ] || export RANK_SIZE="${RANK_SIZE:-8}"
}

this_machine() { # after check_cluster, with PYTHON: sets `device_ids` and `rank_ids` of its NPUs
  local server="${SERVER_INDEX:-0}" devices="${DEVICES:-$ranks}" lines="" device rank
  is_count "$devices" || fail "DEVICES is $devices; it is the number of NPUs of this machine, 1 or more"
  [ "$server" = 0 ] || is_count "$server" || fail "SERVER_INDEX is $server; it counts the machines from 0"
  device_ids=() rank_ids=()
  if [ "$by_table" = 1 ] && [ -n "${RANK_TABLE_FILE:-}" ]; then
    lines="$("$PYTHON" -m scripts.rank_table "$RANK_TABLE_FILE" "$ranks" "$server" ${DEVICES:-})"
    while read -r device rank; do
      [ -z "$device" ] || { device_ids+=("$device") rank_ids+=("$rank"); }
    done <<<"$lines"
  fi
  [ ${#device_ids[@]} = 0 ] || return 0
  [ $(((server + 1) * devices)) -le "$ranks" ] ||
    fail "machine SERVER_INDEX $server with $devices devices goes beyond the $ranks in all (RANK_SIZE)"
  for ((device = 0; device < devices; device++)); do
    device_ids+=("$device") rank_ids+=($((server * devices + device)))
  done
}

begin_log() { # file: what comes after the line is of one start, see modelzoo_report.py
  printf '==== started %s ====\n' "$(date '+%F %T')" >>"$1"
}

npu_python() { # sets PYTHON to the ascend stack's, and what it needs
  PYTHON="$(bash "$root/scripts/setup.sh" --stack ascend --python)"
  export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
  export TF_CPP_MIN_LOG_LEVEL=0 # the adapter says at INFO whether it compiled the graph for the NPU
}
