#!/bin/sh
# A host and volunteers as real processes over TLS on this machine: one volunteer is killed, one is stopped for a while, the
# host is killed and resumed. The weights end as those of the local run.
# Usage: join_test.sh WAGGLE SOURCE_DIR
set -eu
. "$(dirname "$0")/lib.sh"

local_run --set orchestrator.steps=40

# An invite that nobody could follow is not made.
if "$waggle" run "$source/tests/run/tiny.toml" --out "$dir/nowhere" --listen 0.0.0.0:0 --key "$dir/host.key" >"$dir/nowhere.log" 2>&1; then
  fail "an invite to 0.0.0.0"
fi
grep -q -- "--host" "$dir/nowhere.log" || fail "no word about --host"

host run "$source/tests/run/tiny.toml" --set orchestrator.steps=40 --out "$dir/run"
invite_of "$dir/run"
[ "$("$waggle" invite "$dir/run")" = "$invite" ] || fail "waggle invite prints something else"

# A stranger with a wrong pin gets nowhere, and says why.
wrong=$(echo "$invite" | sed 's/.$/q/; t')
if "$waggle" join "$wrong" --key "$dir/wrong.key" >"$dir/wrong.log" 2>&1; then fail "a damaged invite was taken"; fi
grep -q "invite" "$dir/wrong.log" || fail "no word about the damaged invite"

volunteer worker1 worker1
first=$volunteer_pid
volunteer worker2 worker2
second=$volunteer_pid
accepted_any() { "$waggle" outcomes "$dir/run" | grep -q accepted; }
until_true 60 "nothing was accepted" accepted_any
kill -9 "$first"
volunteer worker3 worker3
third=$volunteer_pid
wait_for "$dir/worker3.log" 60 "sampling, from version"
wait_for "$dir/run/metrics.jsonl" 60
kill -9 "$host_pid"
"$waggle" backup "$dir/run" "$dir/backup" >/dev/null || fail "backup"
# Nobody is there at the moment: a newcomer tries again as long as it has patience (0.02 minutes).
if "$waggle" join "$invite" --key "$dir/early.key" --patience 0.02 >"$dir/early.log" 2>&1; then fail "joined a host that is dead"; fi
grep -q "trying again" "$dir/early.log" || fail "a newcomer gave up at once: $(cat "$dir/early.log")"
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
