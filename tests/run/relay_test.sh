#!/bin/sh
# A host, a relay and volunteers as real processes: what the relay gives, the host need not; a volunteer that comes back
# goes on from its disk; a host that comes back publishes what it had published; a relay that is killed costs nobody a bit.
# The weights end as those of the local run.
# Usage: relay_test.sh WAGGLE SOURCE_DIR
set -eu
. "$(dirname "$0")/lib.sh"
steps=orchestrator.steps=48
stepped() { [ "$(wc -l <"$dir/run/metrics.jsonl")" -ge "$1" ]; }
wait_for_step() { until_true 120 "no step $1" stepped "$1"; } # at least this many policy steps

local_run --set $steps

host run "$source/tests/run/tiny.toml" --set $steps --out "$dir/run"
invite_of "$dir/run"
start relay "$waggle" relay "$invite" --listen 127.0.0.1:0 --disk 50MB --folder "$dir/relay" --key "$dir/relay.key"
relay_pid=$started
wait_for "$dir/relay.log" 30 "relay on port"
relay=http://127.0.0.1:$(sed -n 's/^relay on port \([0-9]*\),.*/\1/p' "$dir/relay.log")
snapshot=$(wc -c <"$dir/run/policies/full-0/payload.bin")

# The first volunteer knows of the relay by its own option, and of a machine that is not there.
volunteer first one --relay "$relay" --relay http://127.0.0.1:9
wait_for "$dir/first.log" 60 "sampling, from version"
wait_for_step 6
kill -TERM "$volunteer_pid"
wait "$volunteer_pid" || fail "the first volunteer"
[ "$(from_mirrors first)" -gt 0 ] || fail "nothing came from the relay"
[ "$(from_host first)" -lt "$(from_mirrors first)" ] || fail "the host gave more than the relay: it should give what is missing"

# What newcomers begin from is at the relay too, although the relay was there before it.
newest_snapshot() { ls -d "$dir"/run/policies/full-* | sed 's/.*-//' | sort -n | tail -n 1; }
relay_has_newest() { [ -s "$dir/relay/blob/$(sha256sum "$dir/run/policies/full-$(newest_snapshot)/manifest.bin" | cut -d' ' -f1)" ]; }
[ "$(newest_snapshot)" -gt 0 ] || fail "no snapshot after the first: this test is too short"
until_true 30 "the relay has not got the newest snapshot" relay_has_newest

# It comes back with its replica: no snapshot is fetched again, from anybody.
volunteer again one --relay "$relay"
wait_for "$dir/again.log" 60 "sampling, from version"
wait_for_step 10
kill -TERM "$volunteer_pid"
wait "$volunteer_pid" || fail "the volunteer that came back"
# Steps that it took part in cost an update each, whoever gave it; the first thing it did cost less than a snapshot.
first_bytes=$(sed -n 's/^sampling, from version .* after \([0-9]*\) bytes.*/\1/p' "$dir/again.log")
[ "$first_bytes" -lt "$snapshot" ] || fail "$first_bytes bytes before it could sample, a snapshot is $snapshot"

# The host is killed; resumed, it names the relay in its announcements.
manifests() { (cd "$dir/run/policies" && sha256sum */manifest.bin) | awk '{print $2, $1}' | sort; }
manifests >"$dir/before"
kill -9 "$host_pid"
sleep 0.5
rm "$dir/run/invite.txt"
host resume "$dir/run" --mirror "$relay"
wait_for "$dir/run/invite.txt" 60
# What lay beyond the checkpoint is gone, unless it was trained again; a version that was there is there as it was.
manifests >"$dir/after"
join "$dir/before" "$dir/after" >"$dir/both"
[ -s "$dir/both" ] || fail "the policies did not outlive the host"
awk '$2 != $3 {exit 1}' "$dir/both" || fail "other manifests after a restart: $(cat "$dir/both")"
volunteer second two
second=$volunteer_pid
wait_for "$dir/second.log" 60 "sampling, from version"
volunteer last one
last=$volunteer_pid
wait_for_step 16
kill -9 "$relay_pid"
wait "$host_pid" || fail "the host"
[ "$(hash_of "$dir/run")" = "$expected" ] || fail "weights $(hash_of "$dir/run"), the local run's are $expected"
wait "$second" || fail "the second volunteer"
wait "$last" || fail "the last volunteer"
[ "$(from_mirrors second)" -gt 0 ] || fail "the second volunteer did not hear of the relay"
[ "$(from_host second)" -gt 0 ] || fail "nothing came from the host after the relay had died"
grep -q ", 0 lies" "$dir/second.log" || fail "an honest relay is said to have lied"
echo "same weights: $expected; the relay gave $(from_mirrors first) and $(from_mirrors second) bytes, the host $(from_host first) and $(from_host second)"
