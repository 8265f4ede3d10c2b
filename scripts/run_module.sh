#!/usr/bin/env bash
# Run a module of the zoo in its environment, which is made first: `bash scripts/run_module.sh MODULE [arguments]`.
# Relative paths in the arguments are the caller's, and the exit status is the module's.
set -euo pipefail

here="${BASH_SOURCE[0]%/*}"
[ "$here" != "${BASH_SOURCE[0]}" ] || here=.
root="$(CDPATH='' cd -- "$here/.." && pwd -P)"
module="${1:?usage: bash scripts/run_module.sh MODULE [arguments]}"
shift

PYTHON="$(bash "$root/scripts/setup.sh" --python)"
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONSAFEPATH=1 # `-m` would put the caller's folder, and a `models` in it, before the zoo's
exec "$PYTHON" -m "$module" "$@"
