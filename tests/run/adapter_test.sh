#!/bin/sh
# Adapters over the whole channel: the base weights travel once, updates touch adapter tensors only and say so, and the
# weights are those of the local run.
# Usage: adapter_test.sh WAGGLE SOURCE_DIR
set -eu
. "$(dirname "$0")/lib.sh"

local_run --set trainer.lora.rank=4
host run "$source/tests/run/tiny.toml" --set trainer.lora.rank=4 --out "$dir/run"
invite_of "$dir/run"
volunteer worker worker
wait "$host_pid" || fail "the host"
wait "$volunteer_pid" || fail "the volunteer"
[ "$(hash_of "$dir/run")" = "$expected" ] || fail "weights $(hash_of "$dir/run"), the local run's are $expected"

full=$(cat "$dir"/run/policies/full-*/payload.bin | wc -c)
snapshots=$(ls -d "$dir"/run/policies/full-* | wc -l)
updates=0
for update in "$dir"/run/policies/patch-*; do
  od -An -v -tx1 "$update/manifest.bin" | tr -d ' \n' | grep -q '030100000003' || fail "$update is no update of adapters"
  # The first step moves B alone: before it, A has no gradient.
  case $update in */patch-0-1) factors='lora_B' ;; *) factors='lora_A lora_B' ;; esac
  for factor in $factors; do
    grep -q "$factor" "$update/payload.bin" || fail "no $factor in $update"
  done
  [ $(($(wc -c <"$update/payload.bin") * 3)) -lt $((full / snapshots)) ] || fail "$update is not much smaller than a snapshot"
  updates=$((updates + 1))
done
[ $updates -gt 0 ] || fail "no update"
echo "same weights: $expected, $updates updates of adapters"
