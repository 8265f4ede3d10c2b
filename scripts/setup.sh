#!/usr/bin/env bash
# Make the Python environment of the zoo, or find the one that is there already.
set -euo pipefail

usage() {
  cat <<'TXT'
usage: bash scripts/setup.sh [--stack main|ascend|ascend37|tf1] [--test] [--python | --find]

  --stack main     .venv: Python 3.11 to 3.13, requirements.txt (GPU and CPU; the default)
  --stack ascend   .venv-ascend: Python 3.7 to 3.9, requirements-npu.txt (TensorFlow 2.6.5, for an NPU)
  --stack ascend37 .venv-ascend37: the same on Python 3.7, with which the tests check the oldest
  --stack tf1      .venv-tf1: Python 3.7, requirements-tf1.txt (TensorFlow 1.15; it only runs frozen
                   graphs, with which the tests check that these load there)
  --test           with the packages of requirements-test.txt (not for tf1)
  --python         print the path of the interpreter to use, and nothing else, on stdout
  --find           install nothing: print the Python it would use or build from, or fail

Nothing is made where the active Python ($PYTHON, else python3, else python) has all that is needed.
Where it has the right TensorFlow and lacks other packages, an environment on top of it gets these.
TXT
}

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { printf 'error: %s\n' "$*" >&2; exit 2; }

stack=main test=0 print=0 find=0
while [ $# -gt 0 ]; do
  case "$1" in
    --stack=*) stack="${1#*=}" ;;
    --stack) [ $# -gt 1 ] || fail "--stack needs a value: main, ascend, ascend37 or tf1"; stack="$2"; shift ;;
    --test) test=1 ;;
    --python) print=1 ;;
    --find) find=1 ;;
    -h | --help) usage; exit 0 ;;
    *) fail "setup.sh does not know $1; see bash scripts/setup.sh --help" ;;
  esac
  shift
done

here="${BASH_SOURCE[0]%/*}"
[ "$here" != "${BASH_SOURCE[0]}" ] || here=.
root="$(CDPATH='' cd -- "$here/.." && pwd -P)"
case "$stack" in
  main) venv="$root/.venv" requirements="$root/requirements.txt"
        versions="3.13 3.12 3.11" wanted="3.11, 3.12 or 3.13" ;;
  ascend) venv="$root/.venv-ascend" requirements="$root/requirements-npu.txt"
          versions="3.9 3.8 3.7" wanted="3.7, 3.8 or 3.9" ;;
  ascend37) venv="$root/.venv-ascend37" requirements="$root/requirements-npu.txt"
            versions="3.7" wanted="3.7" ;;
  tf1) venv="$root/.venv-tf1" requirements="$root/requirements-tf1.txt"
       versions="3.7" wanted="3.7"
       [ "$test" = 0 ] || fail "--stack tf1 has no test packages; leave out --test" ;;
  *) fail "no stack $stack; choose main, ascend, ascend37 or tf1" ;;
esac
stamp="$venv/.sr-zoo" log="$venv/setup.log"

# With the driver, not the chip: what decides is whether CUDA's libraries could be used.
flavour=tensorflow-cpu
if [ "$(uname -s)-$(uname -m)" != Linux-x86_64 ] || [ "$stack" = tf1 ]; then
  flavour=tensorflow
elif [ "$stack" = main ]; then
  for trace in ${SR_ZOO_NVIDIA_TRACES-/proc/driver/nvidia/version /dev/nvidiactl /usr/lib/wsl/lib/libcuda.so.1}; do
    [ ! -e "$trace" ] || flavour='tensorflow[and-cuda]'
  done
fi

# ---- nothing to do? -------------------------------------------------------------------------------

case "${PYTHON:-}" in "$venv"/*) PYTHON="" ;; esac # an environment is not built from itself

active_commands() { # the Python that the user has in front, or nothing inside our own environment
  local name path found="${PYTHON:-}"
  for name in python3 python; do
    path="$(command -v "$name" || true)"
    case "$path" in "$venv"/*) return ;; esac
    found="$found|$path"
  done
  printf '%s' "$found"
}
active="$(active_commands)"

# The stamp is written last, so an environment that has one is whole. Its lines: what the environment
# rests on, the hash of the requirements, whether it has the test packages, and what was active then.
basis="1 $stack $flavour $root"
requirements_hash() { cat "$requirements" "$root/requirements-test.txt" | cksum; }
hash="$(requirements_hash)"
old_basis="" old_hash="" old_test=0 old_active="" old_base="" old_mode=""

read_stamp() {
  old_basis="" old_hash="" old_test=0 old_active="" old_base="" old_mode=""
  [ -f "$stamp" ] || return 0
  { read -r old_basis; read -r old_hash; read -r old_test; read -r old_active; read -r old_base
    read -r old_mode; } <"$stamp" || old_basis=""
  [ "$old_test" = 1 ] || old_test=0
}
write_stamp() { # base mode
  [ "$old_test" = 0 ] || test=1
  printf '%s\n' "$basis" "$hash" "$test" "$active" "$1" "$2" >"$stamp.new"
  mv -f "$stamp.new" "$stamp"
}
whole() {
  [ "$old_basis" = "$basis" ] && [ "$old_hash" = "$hash" ] && [ "$old_test" -ge "$test" ] &&
    [ -x "$venv/bin/python" ]
}
finish() { # interpreter
  if [ "$print" = 1 ] || [ "$find" = 1 ]; then
    printf '%s\n' "$1"
  else
    say "ready: $1"
  fi
  exit 0
}
read_stamp
if whole && { [ -z "$active" ] || [ "$old_active" = "$active" ]; }; then
  finish "$venv/bin/python"
fi
[ "$old_test" = 0 ] || test=1 # what it has it keeps

# ---- which Python -----------------------------------------------------------------------------------

files=("$requirements")
[ "$test" = 0 ] || files+=("$root/requirements-test.txt")
for file in "${files[@]}" "$root/scripts/probe_python.py"; do
  [ -r "$file" ] || fail "cannot read $file; the checkout is not complete"
done

probe() { # command -> the variables p_*; fails where it is no Python
  p_version="" p_executable="" p_prefix="" p_packages=- p_venv=no p_tensorflow=- p_fits=no p_missing=""
  local out key value
  out="$("$1" "$root/scripts/probe_python.py" "$stack" "${files[@]}" 2>/dev/null)" || return 1
  while read -r key value; do
    case "$key" in
      version) p_version="$value" ;;
      executable) p_executable="$value" ;;
      prefix) p_prefix="$value" ;;
      packages) p_packages="$value" ;;
      venv) p_venv="$value" ;;
      tensorflow) p_tensorflow="$value" ;;
      fits) p_fits="$value" ;;
      missing) p_missing="$value" ;;
    esac
  done <<<"$out"
  [ -n "$p_executable" ]
}
right_version() { case " $versions " in *" ${p_version%.*} "*) return 0 ;; *) return 1 ;; esac; }

base="" base_version="" base_packages=- mode=full lacking="" seen="" without_venv=""
take() { # the Python that `probe` saw becomes what the environment is built from
  base="$p_executable" base_version="$p_version" base_packages="$p_packages"
}
consider() { # command: take it where a whole environment can be built from it
  [ -n "$1" ] || return 1
  probe "$1" || return 1
  [ "$p_prefix" != "$venv" ] || return 1
  seen="${seen:+$seen, }${p_version} ($p_executable)"
  right_version || return 1
  if [ "$p_venv" != yes ]; then without_venv="$p_executable"; return 1; fi
  take
}

commands=(python3 python)
if [ -n "${PYTHON:-}" ]; then
  if probe "$PYTHON" && { right_version || [ "$p_fits" = yes ]; }; then
    commands=("$PYTHON") # the user's choice, before whatever else is on PATH
  else
    say "PYTHON=$PYTHON is ${p_version:+Python $p_version, }not the Python $wanted this needs: looking for another"
    PYTHON=""
  fi
fi
for command in "${commands[@]}"; do
  probe "$command" && [ "$p_prefix" != "$venv" ] || continue
  [ "$p_fits" = yes ] || continue
  [ -n "$p_missing" ] || finish "$p_executable"
  if [ "$p_venv" = yes ]; then
    mode=addition lacking="$p_missing"
    take
    break
  fi
  without_venv="$p_executable"
done

if [ -z "$base" ] && [ -z "${PYTHON:-}" ] && whole && [ "$old_mode" = full ]; then
  write_stamp "$old_base" "$old_mode" # another Python is in front now, but not one that would serve
  finish "$venv/bin/python"
fi
if [ -z "$base" ]; then
  for command in "${PYTHON:-}" python3 python $(printf 'python%s ' $versions); do
    ! consider "$command" || break
  done
fi
if [ -z "$base" ]; then
  for version in $versions; do
    for command in "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/"$version".*/bin/python3; do
      [ -n "$base" ] || ! consider "$command" || break 2
    done
  done
fi
if [ -z "$base" ] && [ -n "$without_venv" ]; then
  fail "$without_venv cannot make virtual environments (no venv or ensurepip module); install them" \
    "(Debian, Ubuntu: apt-get install python3-venv) or set PYTHON to another Python $wanted"
fi
[ -n "$base" ] || fail "no Python $wanted found (${seen:-no Python at all}); install one, for" \
  "instance with pyenv, or set PYTHON to its path"
[ "$find" = 0 ] || finish "$base"

# ---- make or mend the environment -----------------------------------------------------------------

lock="$venv.lock"
{ : >>"$lock"; } 2>/dev/null || fail "cannot write in $root; choose a folder that can be written"
if command -v flock >/dev/null 2>&1; then
  exec 9>>"$lock"
  flock -n 9 || { say "another setup is at work on $venv: waiting for it"; flock 9; }
  read_stamp
fi
usable() { [ "$old_basis" = "$basis" ] && [ "$old_base" = "$base" ] && [ "$old_mode" = "$mode" ] &&
  [ -x "$venv/bin/python" ] && "$venv/bin/python" -c '' 2>/dev/null; }
if usable && whole; then
  write_stamp "$base" "$mode"
  finish "$venv/bin/python"
fi

if [ -e "$venv" ] && [ ! -d "$venv" ] ||
  [ -d "$venv" ] && [ ! -e "$stamp" ] && [ ! -e "$venv/.sr-zoo-unfinished" ] && [ -n "$(ls -A "$venv")" ]; then
  fail "$venv was not made by setup.sh; move it away, or set PYTHON=$venv/bin/python once it has" \
    "what $requirements lists"
fi

# What pip and venv say goes to the log; the exit status decides, the log only words the message.
quietly() { "$@" >>"$log" 2>&1 </dev/null; }
explain() { # what failed
  local cause
  if grep -q 'No space left on device' "$log"; then
    fail "$1: no space left on the disk; see $log"
  elif grep -qE 'NewConnectionError|ConnectTimeout|Connection refused|Max retries exceeded|ProxyError|SSLError|Temporary failure in name resolution|Network is unreachable|ReadTimeout' "$log"; then
    fail "$1: the package index cannot be reached; check the network and pip's settings" \
      "(pip config list), then run setup.sh again; see $log"
  fi
  if grep -q 'No matching distribution found' "$log"; then
    fail "$1: the package index has no" \
      "$(sed -n 's/.*No matching distribution found for \([^ ]*\).*/\1/p' "$log" | tail -n 1)" \
      "for Python $base_version on $(uname -m); check pip's settings (pip config list); see $log"
  fi
  cause="$(grep -E '^ *(ERROR|error):' "$log" | tail -n 1 | sed 's/^ *//; s/^ERROR: //' | tr -s '\n\t ' ' ' || true)"
  fail "$1${cause:+: $cause}; see $log"
}
pip() { quietly env -u PIP_REQUIRE_VIRTUALENV PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 \
  "$venv/bin/python" -m pip install --no-input "$@"; }

started=$SECONDS
if usable; then
  mv -f "$stamp" "$venv/.sr-zoo-unfinished" # killed from here on, it is made anew
  : >"$log"
  say "bringing $venv up to date"
else
  # Half an installation can look whole to pip, so that nothing of it is kept.
  rm -rf "$venv"
  mkdir "$venv" && : >"$venv/.sr-zoo-unfinished" && : >"$log"
  say "making $venv with Python $base_version ($base)"
  options=()
  [ "$mode" = full ] || options+=(--system-site-packages)
  quietly "$base" -m venv ${options[@]+"${options[@]}"} "$venv" || explain "cannot make $venv"
  packages="$(echo "$venv"/lib/python3*/site-packages)"
  # A .pth file in place of `pip install --editable`: the same effect, without a build backend that
  # pip would have to fetch first, and nothing to rebuild when files are added.
  printf '%s\n' "$root" >"$packages/sr_zoo.pth"
  # The packages of a virtual environment are not part of the system's.
  [ "$mode" = full ] || [ "$base_packages" = - ] || printf '%s\n' "$base_packages" >"$packages/sr_zoo_base.pth"
fi

if [ "$mode" = full ]; then
  sed "s/^tensorflow==/$flavour==/" "$requirements" >"$venv/requirements.txt"
  arguments=(-r "$venv/requirements.txt")
  [ "$test" = 0 ] || arguments+=(-r "$root/requirements-test.txt")
  say "installing $(grep -m 1 '^tensorflow.*==' "$venv/requirements.txt") and what else" \
    "$requirements lists (takes minutes; log: $log)"
  unset PYTHONPATH PYTHONHOME # what they offer now may be gone when the environment is used
  pip "${arguments[@]}" || explain "cannot install the packages of $requirements"
elif [ -n "$lacking" ]; then
  # Every version that is there stays: another NumPy under an image's TensorFlow breaks it.
  "$base" "$root/scripts/probe_python.py" --constraints >"$venv/constraints.txt"
  say "installing $lacking on top of TensorFlow $p_tensorflow (log: $log)"
  # shellcheck disable=SC2086 # a list of specifiers
  pip --constraint "$venv/constraints.txt" $lacking || explain "cannot install $lacking"
fi
write_stamp "$base" "$mode"
rm -f "$venv/.sr-zoo-unfinished"
if [ "${stack#ascend}" != "$stack" ]; then # tried now and remembered in the environment, not in the first command
  onednn="$("$venv/bin/python" -m common.device.onednn 2>>"$log" </dev/null)" || onednn=""
  [ -z "$onednn" ] || say "$onednn"
fi
say "done in $((SECONDS - started)) s"
finish "$venv/bin/python"
