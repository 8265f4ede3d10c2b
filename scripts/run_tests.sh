#!/usr/bin/env bash
# Check the code (ruff) and run the tests on both stacks side by side, each in its own environment:
# `bash scripts/run_tests.sh [--quick] [pytest arguments]`. --quick: the main stack alone, without
# the tests that start processes or train for seconds. The last line is `N passed, N failed, N skipped`, where a test's
# error, a crash of pytest and a complaint of ruff each count as failed; above it stand each stack's
# numbers and the reasons for what was skipped, and after each stack its 15 slowest tests.
# Without a Python for the ascend stack the main stack runs alone; with CI=true that is a failure.
# Where a Python 3.7 is found, frozen graphs are run on TensorFlow 1.15 as well, and the zoo on
# TensorFlow 2.6.5 there.
set -euo pipefail

here="${BASH_SOURCE[0]%/*}"
[ "$here" != "${BASH_SOURCE[0]}" ] || here=.
root="$(CDPATH='' cd -- "$here/.." && pwd -P)"
cd "$root"
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-3}"
work="$(mktemp -d)"
end() { # also the stack that runs in the background
  local job
  for job in $(jobs -p); do pkill -TERM -P "$job" 2>/dev/null || true; done
  rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

passed=0 failed=0 skipped=0 lines=() quick=0 choice=()
if [ "${1:-}" = --quick ]; then
  quick=1 choice=(-m "not process and not slow")
  shift
fi

check_style() { # interpreter
  echo "== ruff"
  if "$1" -m ruff check --no-cache .; then
    lines+=("ruff: clean")
  else
    lines+=("ruff: complaints (above)")
    failed=$((failed + 1))
  fi
}

run_stack() { # name, interpreter, that of the other stack, [pytest arguments]
  local name="$1" python="$2" other="$3" status=0 counts seconds=$SECONDS
  shift 3
  echo "== $name: $("$python" -c 'import platform; print("Python", platform.python_version())') ($python)"
  # Tests that carry files from one stack to the other run the other's interpreter.
  SR_ZOO_OTHER_PYTHON="$other" "$python" -m pytest --durations=15 ${choice[@]+"${choice[@]}"} "$@" \
    --junit-xml="$work/$name.xml" || status=$?
  # The status of pytest: 0 all passed, 1 some failed, 5 nothing selected. Others mean that it broke off.
  counts="$("$python" - "$work/$name.xml" "$status" "$work/$name.skipped" <<'PY'
import sys
from collections import Counter
from xml.etree import ElementTree

passed = failed = skipped = 0
reasons = Counter()
try:
    for suite in ElementTree.parse(sys.argv[1]).iter("testsuite"):
        for case in suite.iter("testcase"):
            if case.find("failure") is not None or case.find("error") is not None:
                failed += 1
            elif case.find("skipped") is not None:
                skipped += 1
                reasons[" ".join(case.find("skipped").get("message", "no reason").split())] += 1
            else:
                passed += 1
except (OSError, ElementTree.ParseError):
    pass
if sys.argv[2] not in ("0", "5") and not failed:
    failed = 1
with open(sys.argv[3], "w") as file:
    file.writelines(f"  {count} skipped: {reason}\n" for reason, count in reasons.most_common())
print(passed, failed, skipped)
PY
)"
  echo "$counts $((SECONDS - seconds)) $status" >"$work/$name.counts"
}

count() { # name: what run_stack left
  local p=0 f=1 s=0 seconds=0 status="none: it broke off"
  ! [ -f "$work/$1.counts" ] || read -r p f s seconds status <"$work/$1.counts"
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
  lines+=("$1: $p passed, $f failed, $s skipped in $seconds s (pytest's status: $status)")
  ! [ -s "$work/$1.skipped" ] || lines+=("$(<"$work/$1.skipped")")
}

main_python="$(bash scripts/setup.sh --stack main --test --python)"
ascend_python=""
if [ "$quick" = 0 ] && bash scripts/setup.sh --stack ascend --test --find >/dev/null 2>"$work/ascend"; then
  ascend_python="$(bash scripts/setup.sh --stack ascend --test --python)"
fi

for stack in tf1 ascend37; do
  python=""
  if [ "$quick" = 1 ]; then
    : # no test asks for it
  elif bash scripts/setup.sh --stack "$stack" --find >/dev/null 2>"$work/$stack"; then
    python="$(bash scripts/setup.sh --stack "$stack" --python)" ||
      lines+=("$stack: the environment could not be made (above)") # its tests fail with CI=true, else are skipped
  else
    lines+=("$stack: not run: $(sed -n 's/^error: //p' "$work/$stack")")
  fi
  export "SR_ZOO_$(tr '[:lower:]' '[:upper:]' <<<"$stack")_PYTHON=$python"
done

check_style "$main_python"
# The stacks run side by side, as each leaves a core idle half of the time; the output of ascend's
# comes when main's is through.
if [ -n "$ascend_python" ]; then
  run_stack ascend "$ascend_python" "$main_python" "$@" >"$work/ascend.log" 2>&1 &
fi
run_stack main "$main_python" "$ascend_python" "$@"
count main
if [ -n "$ascend_python" ]; then
  wait $! || true
  cat "$work/ascend.log"
  count ascend
elif [ "$quick" = 0 ]; then
  lines+=("ascend: not run: $(sed -n 's/^error: //p' "$work/ascend")")
  [ "${CI:-}" != true ] || failed=$((failed + 1))
fi

echo "== summary, $SECONDS s"
printf '%s\n' "${lines[@]}"
if [ $((passed + failed)) = 0 ]; then
  echo "no test ran" >&2
  failed=1
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
