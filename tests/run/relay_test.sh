#!/bin/sh
# A host, a relay and volunteers as real processes: what the relay gives, the host need not; a volunteer that comes back
# goes on from its disk; a host that comes back publishes what it had published; a relay that is killed costs nobody a bit.
# The weights end as those of the local run.
# Usage: relay_test.sh WAGGLE SOURCE_DIR
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
steps=orchestrator.steps=48
hash_of() { sed -n 's/.*"weight_hash": *"\([0-9a-f]*\)".*/\1/p' "$1/result.json"; }
start() { # start NAME COMMAND...: in the background, its output in NAME.log
  name=$1
  shift
  "$@" >>"$dir/$name.log" 2>&1 &
  pids="$pids $!"
}
host() { # host ACTION WHAT [OPTION...]
  start host "$waggle" "$@" --listen "127.0.0.1:$port" --key "$dir/host.key" --threads 1
  host_pid=$!
}
volunteer() { # volunteer NAME KEY [OPTION...]
  name=$1 key=$2
  shift 2
  start "$name" "$waggle" join "$invite" --key "$dir/$key.key" --threads 1 --rollouts 16 --memory 16 "$@"
  volunteer_pid=$!
}
wait_for() { # wait_for FILE SECONDS [WORDS in it]
  n=0
  until [ -s "$1" ] && grep -q "${3:-.}" "$1"; do
    n=$((n + 1))
    [ $n -gt $(($2 * 10)) ] && fail "no '${3:-anything}' in $1 after $2 s"
    sleep 0.1
  done
}
wait_for_step() { # at least this many policy steps
  n=0
  until [ "$(wc -l 2>/dev/null <"$dir/run/metrics.jsonl" || echo 0)" -ge "$1" ]; do
    n=$((n + 1))
    [ $n -gt 1200 ] && fail "no step $1"
    sleep 0.1
  done
}
from_host() { sed -n 's/^policies  \([0-9]*\) bytes from the host.*/\1/p' "$dir/$1.log"; }
from_mirrors() { sed -n 's/^policies .* host, \([0-9]*\) from mirrors.*/\1/p' "$dir/$1.log"; }

"$waggle" run "$source/tests/run/tiny.toml" --set $steps --out "$dir/local" --quiet --threads 1 >/dev/null
expected=$(hash_of "$dir/local")

port=0
host run "$source/tests/run/tiny.toml" --set $steps --out "$dir/run"
wait_for "$dir/run/invite.txt" 60
invite=$(cat "$dir/run/invite.txt")
port=$(echo "$invite" | sed 's/.*:\([0-9]*\)\/.*/\1/')
start relay "$waggle" relay "$invite" --listen 127.0.0.1:0 --disk 50MB --folder "$dir/relay" --key "$dir/relay.key"
relay_pid=$!
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
(cd "$dir/run/policies" && sha256sum */manifest.bin) >"$dir/before"
kill -9 "$host_pid"
sleep 0.5
rm "$dir/run/invite.txt"
host resume "$dir/run" --mirror "$relay"
wait_for "$dir/run/invite.txt" 60
# What lay beyond the checkpoint may be gone, a batch that was complete when it died may be trained on; the rest is as it was.
(cd "$dir/run/policies" && sha256sum */manifest.bin) >"$dir/after"
grep -q -x -F -f "$dir/before" "$dir/after" || fail "the policies did not outlive the host"
awk 'NR == FNR { was[$2] = $1; next } ($2 in was) && was[$2] != $1' "$dir/before" "$dir/after" >"$dir/other"
if [ -s "$dir/other" ]; then fail "other manifests after a restart: $(cat "$dir/other")"; fi
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
