#!/bin/sh
# Asynchronous push-pull as real processes, with new weights in the middle of responses, and with batches of what came first and
# a host that is killed: whatever the timing did, the run trained again from its accepted groups ends in the same bits.
# Usage: swap_test.sh WAGGLE SOURCE_DIR
set -eu
. "$(dirname "$0")/lib.sh"

for kind in recompute keep_kv arrival; do
  run=$dir/$kind
  how=sampling.swap=$kind
  [ $kind = arrival ] && how=orchestrator.batches=arrival
  port=0
  rm -f "$dir/host.log"
  host run "$source/tests/run/tiny.toml" --out "$run" \
    --set orchestrator.ahead=4 --set orchestrator.stale=withhold --set $how
  invite_of "$run"
  volunteer $kind-one one
  volunteer $kind-two two
  if [ $kind = arrival ]; then
    wait_for "$run/metrics.jsonl" 60
    kill -9 "$host_pid"
    sleep 0.3
    host resume "$run"
  fi
  wait "$host_pid" || fail "$kind: the host"
  grep -q "versions old" "$dir/host.log" || fail "$kind: the host does not say how old its tokens were"
  "$waggle" replay "$run" --threads 1 >"$dir/$kind-replay.log" 2>&1 || fail "$kind: replay"
  grep -q "the same bits" "$dir/$kind-replay.log" || fail "$kind: replay says something else"
done
echo "swap_test: ok"
