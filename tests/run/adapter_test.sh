#!/bin/sh
# Adapters over the whole channel: the base weights travel once, updates touch adapter tensors only and say so, and the
# weights are those of the local run.
# Usage: adapter_test.sh WAGGLE SOURCE_DIR
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
hash_of() { sed -n 's/.*"weight_hash": *"\([0-9a-f]*\)".*/\1/p' "$1/result.json"; }

"$waggle" run "$source/tests/run/tiny.toml" --set trainer.lora.rank=4 --out "$dir/local" --quiet --threads 1 >/dev/null
"$waggle" run "$source/tests/run/tiny.toml" --set trainer.lora.rank=4 --out "$dir/run" --listen 127.0.0.1:0 \
  --key "$dir/host.key" --threads 1 >"$dir/host.log" 2>&1 &
host_pid=$!
pids=$host_pid
n=0
until [ -s "$dir/run/invite.txt" ]; do
  n=$((n + 1))
  [ $n -gt 600 ] && fail "no invite"
  sleep 0.1
done
"$waggle" join "$(cat "$dir/run/invite.txt")" --key "$dir/worker.key" --threads 1 --rollouts 16 --memory 16 >"$dir/worker.log" 2>&1 &
pids="$pids $!"
worker_pid=$!
wait "$host_pid" || fail "the host"
wait "$worker_pid" || fail "the volunteer"
[ "$(hash_of "$dir/run")" = "$(hash_of "$dir/local")" ] || fail "weights $(hash_of "$dir/run"), the local run's are $(hash_of "$dir/local")"

full=$(cat "$dir"/run/policies/full-*/payload.bin | wc -c)
snapshots=$(ls -d "$dir"/run/policies/full-* | wc -l)
updates=0
for update in "$dir"/run/policies/patch-*; do
  od -An -v -tx1 "$update/manifest.bin" | tr -d ' \n' | grep -q '030100000003' || fail "$update is no update of adapters"
  # The first step moves B alone: before it, A has no gradient.
  grep -q 'lora_B' "$update/payload.bin" || fail "no adapter in $update"
  [ $(($(wc -c <"$update/payload.bin") * 3)) -lt $((full / snapshots)) ] || fail "$update is not much smaller than a snapshot"
  updates=$((updates + 1))
done
[ $updates -gt 0 ] || fail "no update"
echo "same weights: $(hash_of "$dir/run"), $updates updates of adapters"
