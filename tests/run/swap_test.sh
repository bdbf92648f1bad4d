#!/bin/sh
# Asynchronous push-pull with new weights in the middle of responses, as real processes: whatever the timing did, the run
# trained again from its accepted groups (whose tokens say under which version each was sampled) ends in the same bits.
# Usage: swap_test.sh WAGGLE SOURCE_DIR
set -eu
waggle=$1
source=$2
dir=$(mktemp -d)
pids=
cleanup() {
  for pid in $pids; do kill -9 "$pid" 2>/dev/null || true; done
  rm -rf "$dir"
}
trap cleanup EXIT
fail() {
  echo "FAILED: $*"
  tail -n 20 "$dir"/*.log
  exit 1
}
export XDG_CACHE_HOME="$dir/cache" XDG_CONFIG_HOME="$dir/config"
for swap in recompute keep_kv; do
  run=$dir/$swap
  "$waggle" run "$source/tests/run/tiny.toml" --out "$run" --listen 127.0.0.1:0 --key "$dir/host.key" --threads 1 \
    --set orchestrator.ahead=4 --set orchestrator.stale=withhold --set sampling.swap=$swap >"$dir/$swap-host.log" 2>&1 &
  host=$!
  pids="$pids $host"
  tries=0
  until [ -s "$run/invite.txt" ]; do
    tries=$((tries + 1))
    [ $tries -le 600 ] || fail "$swap: no invite"
    sleep 0.1
  done
  for name in one two; do
    "$waggle" join "$(cat "$run/invite.txt")" --key "$dir/$name.key" --threads 1 >"$dir/$swap-$name.log" 2>&1 &
    pids="$pids $!"
  done
  wait $host || fail "$swap: the host"
  grep -q "versions old" "$dir/$swap-host.log" || fail "$swap: the host does not say how old its tokens were"
  "$waggle" replay "$run" --threads 1 >"$dir/$swap-replay.log" 2>&1 || fail "$swap: replay"
  grep -q "the same bits" "$dir/$swap-replay.log" || fail "$swap: replay says something else"
done
echo "swap_test: ok"
