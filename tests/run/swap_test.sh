#!/bin/sh
# Asynchronous push-pull with new weights in the middle of responses, as real processes: whatever the timing did, the run
# trained again from its accepted groups (whose tokens say under which version each was sampled) ends in the same bits.
# Usage: swap_test.sh WAGGLE SOURCE_DIR
set -eu
. "$(dirname "$0")/lib.sh"

for swap in recompute keep_kv; do
  run=$dir/$swap
  port=0
  rm -f "$dir/host.log"
  host run "$source/tests/run/tiny.toml" --out "$run" \
    --set orchestrator.ahead=4 --set orchestrator.stale=withhold --set sampling.swap=$swap
  invite_of "$run"
  volunteer $swap-one one
  volunteer $swap-two two
  wait "$host_pid" || fail "$swap: the host"
  grep -q "versions old" "$dir/host.log" || fail "$swap: the host does not say how old its tokens were"
  "$waggle" replay "$run" --threads 1 >"$dir/$swap-replay.log" 2>&1 || fail "$swap: replay"
  grep -q "the same bits" "$dir/$swap-replay.log" || fail "$swap: replay says something else"
done
echo "swap_test: ok"
