#!/bin/sh
# A host whose line is narrow, a relay, and volunteers who give to one another: what the swarm carries, the host need not. A
# volunteer for whom BitTorrent is blocked works on without it. The weights end as those of the local run.
# Usage: swarm_test.sh WAGGLE SOURCE_DIR
set -eu
. "$(dirname "$0")/lib.sh"
# Large enough for a swarm (0.8 MB), and few steps.
settings="--set orchestrator.steps=12 --set model.hidden=96 --set model.intermediate=256"
taken() { sed -n 's/^swarm     \([0-9]*\) bytes from other nodes.*/\1/p' "$dir/$1.log"; }
given() { sed -n 's/^swarm .* nodes, \([0-9]*\) given.*/\1/p' "$dir/$1.log"; }

local_run $settings
host run "$source/tests/run/tiny.toml" $settings --out "$dir/run" --swarm 127.0.0.1:0 --swarm-upload 400KB
invite_of "$dir/run"
snapshot=$(wc -c <"$dir/run/policies/full-0/payload.bin")
[ "$snapshot" -gt 500000 ] || fail "a snapshot of $snapshot bytes is too small to mean anything"

start relay "$waggle" relay "$invite" --listen 127.0.0.1:0 --folder "$dir/relay" --swarm 127.0.0.1:0 --key "$dir/relay.key"
wait_for "$dir/relay.log" 30 "relay on port"
for name in one two three; do volunteer $name $name --swarm 127.0.0.1:0; done
for name in one two three; do wait_for "$dir/$name.log" 120 "sampling, from version"; done
# Nothing comes to this one by BitTorrent: its own node cannot open the port.
volunteer blocked blocked --swarm 203.0.113.1:7
volunteer without without --no-swarm
for name in blocked without; do wait_for "$dir/$name.log" 120 "sampling, from version"; done
wait "$host_pid" || fail "the host"
for pid in $pids; do [ "$pid" = "$host_pid" ] || wait "$pid" || fail "a volunteer"; done
[ "$(hash_of "$dir/run")" = "$expected" ] || fail "weights $(hash_of "$dir/run"), the local run's are $expected"
sum=0
for name in one two three; do
  [ "$(taken $name)" -ge "$snapshot" ] || fail "$name took $(taken $name) bytes from the swarm, a snapshot is $snapshot"
  [ "$(from_host $name)" -lt "$snapshot" ] || fail "$name had its snapshot from the host"
  sum=$((sum + $(given $name)))
done
[ "$sum" -gt "$snapshot" ] || fail "volunteers gave $sum bytes to one another"
for name in blocked without; do
  [ "$(taken $name)" -eq 0 ] || fail "$name took part"
  [ "$(from_host $name)" -ge "$snapshot" ] || fail "$name had its policies from nowhere"
done
grep -q "^swarm    [0-9]* bytes taken, [1-9][0-9]* given" "$dir/relay.log" || fail "the relay gave nothing to the swarm"
grep -q "without the swarm: " "$dir/blocked.log" || fail "the blocked one did not say so"
echo "same weights: $expected; volunteers gave $sum bytes, a snapshot is $snapshot, the host: $(sed -n 's/.*swarm: \([0-9]*\) bytes given.*/\1/p' "$dir/host.log")"
