#!/usr/bin/env bash
# waggle sim as its users type it: one seed is one trace, a failure is one command that fails again, mistakes are said.
# Usage: sim_cli_test.sh WAGGLE SOURCE_DIR
set -euo pipefail
waggle=$(realpath "$1") scenarios=$(realpath "$2")/tests/sim/fast
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
fail() { cat log; echo "FAILED: $*"; exit 1; }
expect() {  # expect CODE TEXT COMMAND...
  local wanted=$1 text=$2 code=0; shift 2
  "$@" > log 2>&1 || code=$?
  [ "$code" -eq "$wanted" ] || fail "$*: exit code $code, wanted $wanted"
  grep -qF -- "$text" log || fail "$*: no '$text'"
}

expect 0 "leases" "$waggle" sim "$scenarios/chaos.toml" --seed 5
digest=$(grep digest log)
expect 0 "$digest" "$waggle" sim "$scenarios/chaos.toml" --seed 5
expect 0 "all promises held for 3 seeds" "$waggle" sim "$scenarios/calm.toml" --seeds 3 --jobs 2
expect 0 "fault 0: kill host at=4" "$waggle" sim "$scenarios/host_dies.toml" --show
expect 0 "ack-before-store" "$waggle" sim --plant list
expect 2 "did you mean 'run.steps'?" "$waggle" sim "$scenarios/calm.toml" --set run.step=3
expect 2 "--plant list" "$waggle" sim "$scenarios/calm.toml" --plant nothing
expect 2 "indices below" "$waggle" sim "$scenarios/host_dies.toml" --only-faults 99

# A failure, and the two commands that it prints: both fail in the same way.
expect 1 "shrunk to" "$waggle" sim "$scenarios/chaos.toml" --seed 3 --plant forget-link-closed
promise=$(sed -n 's/^seed 3: \([a-z ]*\).*/\1/p' log)
[ -n "$promise" ] || fail "no promise is named"
for line in reproduce shrunk; do
  "$waggle" sim "$scenarios/chaos.toml" --seed 3 --plant forget-link-closed > log 2>&1 || true
  command=$(sed -n "s/^$line: waggle //p" log)
  [ -n "$command" ] || fail "no command after $line:"
  # shellcheck disable=SC2086
  eval "expect 1 \"$promise\" \"$waggle\" $command --no-shrink"
done
