#!/usr/bin/env bash
# Run a command in the environment of CANN (toolkit, else nnae) and of the TensorFlow plugin:
# `bash scripts/cann.sh COMMAND ...`. Without CANN the command runs as it is.
set -euo pipefail

load() { # file: CANN's scripts read unset variables and ignore commands that fail
  set +eu
  # shellcheck disable=SC1090 # the machine's
  . "$1" >&2
  set -eu
}

installation=""
for folder in "${ASCEND_TOOLKIT_HOME:-}" "${ASCEND_HOME_PATH:-}" \
  {/usr/local,"${HOME:-}"}/Ascend/{ascend-toolkit,cann,nnae}; do
  for file in "$folder/set_env.sh" "${folder%/*}/set_env.sh"; do
    if [ -n "$folder" ] && [ -r "$file" ]; then
      load "$file"
      installation="${file%/*/*}"
      break 2
    fi
  done
done
for folder in "$installation" /usr/local/Ascend "${HOME:-}/Ascend"; do
  if [ -n "$folder" ] && [ -r "$folder/tfplugin/set_env.sh" ]; then
    load "$folder/tfplugin/set_env.sh"
    break
  fi
done
exec "$@"
