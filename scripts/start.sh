#!/usr/bin/env bash
# What stands behind models/<model>/scripts/run_*.sh and models/<model>/test/train_*.sh, which call
# `bash scripts/start.sh THEIR_OWN_PATH [flags]`. scripts/start.py decides all; this finds a Python
# for it, which needs no packages and is not always the Python that trains.
set -euo pipefail

root="$(CDPATH='' cd -- "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
find_python() { bash "$root/scripts/setup.sh" "$@" --find; }
for python in "${PYTHON:-}" python3 python ""; do
  [ -n "$python" ] || continue
  ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 7))' 2>/dev/null || break
done
[ -n "$python" ] || python="$(find_python 2>/dev/null)" || python="$(find_python --stack ascend)"
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONSAFEPATH=1 # `-m` would put the caller's folder, and a `models` in it, before the zoo's
exec "$python" "$root/scripts/start.py" "$@"
