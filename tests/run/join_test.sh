#!/bin/sh
# A host and volunteers as real processes over TLS on this machine: one volunteer is killed, one is stopped for a while, the
# host is killed and resumed. The weights end as those of the local run.
# Usage: join_test.sh WAGGLE SOURCE_DIR
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
volunteer() {
  start "worker$1" "$waggle" join "$invite" --key "$dir/worker$1.key" --threads 1 --rollouts 16 --memory 16
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

"$waggle" run "$source/tests/run/tiny.toml" --set orchestrator.steps=40 --out "$dir/local" --quiet --threads 1 >/dev/null
expected=$(hash_of "$dir/local")

# An invite that nobody could follow is not made.
if "$waggle" run "$source/tests/run/tiny.toml" --out "$dir/nowhere" --listen 0.0.0.0:0 --key "$dir/host.key" >"$dir/nowhere.log" 2>&1; then
  fail "an invite to 0.0.0.0"
fi
grep -q -- "--host" "$dir/nowhere.log" || fail "no word about --host"

port=0
host run "$source/tests/run/tiny.toml" --set orchestrator.steps=40 --out "$dir/run"
wait_for "$dir/run/invite.txt" 60
invite=$(cat "$dir/run/invite.txt")
port=$(echo "$invite" | sed 's/.*:\([0-9]*\)\/.*/\1/')
[ "$("$waggle" invite "$dir/run")" = "$invite" ] || fail "waggle invite prints something else"

# A stranger with a wrong pin gets nowhere, and says why.
wrong=$(echo "$invite" | sed 's/.$/q/; t')
if "$waggle" join "$wrong" --key "$dir/wrong.key" >"$dir/wrong.log" 2>&1; then fail "a damaged invite was taken"; fi
grep -q "invite" "$dir/wrong.log" || fail "no word about the damaged invite"

volunteer 1
first=$volunteer_pid
volunteer 2
second=$volunteer_pid
n=0
until "$waggle" outcomes "$dir/run" 2>/dev/null | grep -q accepted; do
  n=$((n + 1))
  [ $n -gt 600 ] && fail "nothing was accepted after 60 s"
  sleep 0.1
done
kill -9 "$first"
volunteer 3
third=$volunteer_pid
wait_for "$dir/worker3.log" 60 "sampling, from version"
wait_for "$dir/run/metrics.jsonl" 60
kill -9 "$host_pid"
"$waggle" backup "$dir/run" "$dir/backup" >/dev/null || fail "backup"
sleep 0.5
host resume "$dir/run"
wait "$host_pid" || fail "the host"
[ "$(hash_of "$dir/run")" = "$expected" ] || fail "weights $(hash_of "$dir/run"), the local run's are $expected"
# They hear that the run is over.
wait "$second" || fail "volunteer 2"
wait "$third" || fail "volunteer 3"
grep -q "the run is over" "$dir/worker2.log" || fail "volunteer 2 does not know that the run is over"
# Every grant has one end, and the accepted groups alone give the same weights: of the run, and of its backup gone on with.
"$waggle" outcomes "$dir/run" >"$dir/outcomes"
accepted=$(grep -c '"outcome":"accepted"' "$dir/outcomes")
[ "$(grep '"outcome":"accepted"' "$dir/outcomes" | sed 's/.*"lease":"\([0-9a-f]*\)".*/\1/' | sort -u | wc -l)" = "$accepted" ] || fail "a lease was accepted twice"
"$waggle" replay "$dir/run" --quiet >"$dir/replay" || fail "replay"
grep -q "$expected" "$dir/replay" || fail "replay: $(cat "$dir/replay")"
"$waggle" restore "$dir/backup" "$dir/restored" >/dev/null || fail "restore"
"$waggle" resume "$dir/restored" --quiet --threads 1 >/dev/null
[ "$(hash_of "$dir/restored")" = "$expected" ] || fail "the restored backup ends elsewhere"

echo "same weights with volunteers that come and go: $expected"
