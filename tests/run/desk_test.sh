#!/bin/sh
# A host and two desks over one PostgreSQL, as real processes. The host has no volunteers of its own, each desk has one. A desk
# is killed and comes back, another is stopped for so long that the host closes it, the host is killed and resumed, the
# database crashes. The weights end as those of the local run, and every lease was accepted exactly once.
# Usage: desk_test.sh WAGGLE SOURCE_DIR
set -eu
. "$(dirname "$0")/postgres.sh"
. "$(dirname "$0")/lib.sh"
steps=orchestrator.steps=160
end() {
  database_end
  cleanup
}
trap end EXIT
database_begin
steps_done() { wc -l <"$dir/run/metrics.jsonl"; }
stepped() { [ "$(steps_done)" -ge "$1" ]; }
more_steps() { until_true 120 "no $1 steps more" stepped $(($(steps_done) + $1)); }
status_of() { "$waggle" status "$1" --json; }
accepts() { status_of "$1" | grep -q '"outcomes":{[^}]*"accepted":[1-9]'; } # a desk, since it last began
desk() { # desk NUMBER ADDRESS: sets desk_pid
  start "desk$1" "$waggle" desk "$invite" --store "$store" --listen "$2" --key "$dir/desk$1.key" --folder "$dir/desk$1"
  desk_pid=$started
}
volunteer_of() { # volunteer_of DESK NAME
  wait_for "$dir/desk$1/invite.txt" 60
  start "$2" "$waggle" join "$(cat "$dir/desk$1/invite.txt")" --key "$dir/$2.key" --threads 1 --rollouts 16 --memory 16
  volunteer_pid=$started
}
address_of() { sed 's/.*waggle:\/\/\([^\/]*\)\/.*/\1/' "$dir/desk$1/invite.txt"; }

local_run --set $steps

if "$waggle" desk "waggle://127.0.0.1:1/x" --store "$store" --listen 127.0.0.1:0 --key "$dir/no.key" 2>"$dir/no.log"; then fail "no invite"; fi

host run "$source/tests/run/tiny.toml" --set $steps --out "$dir/run" --store "$store"
invite_of "$dir/run"
desk 1 127.0.0.1:0
first_desk=$desk_pid
volunteer_of 1 one
one=$volunteer_pid
desk 2 127.0.0.1:0
second_desk=$desk_pid
volunteer_of 2 two
two=$volunteer_pid
until_true 60 "nothing was accepted at desk 1" accepts "$dir/desk1"
until_true 60 "nothing was accepted at desk 2" accepts "$dir/desk2"
status_of "$dir/run" | grep -q '"workers":0' || fail "the host has volunteers of its own"
"$waggle" status "$dir/run" --once >"$dir/table.log"
[ "$(grep -c "^desk " "$dir/table.log")" = 2 ] || fail "status does not show two desks"

# A desk is killed and comes back: its registration goes on, and so does its volunteer.
address=$(address_of 1)
kill -9 "$first_desk"
sleep 1
desk 1 "$address"
first_desk=$desk_pid
until_true 60 "nothing was accepted at desk 1 after its death" accepts "$dir/desk1"
[ "$(grep -c "^desk 1 of the run" "$dir/desk1.log")" = 2 ] || fail "the desk that came back is another one"

# The host is killed: desks and their volunteers wait for it.
more_steps 6
kill -9 "$host_pid"
sleep 1
rm "$dir/run/invite.txt"
host resume "$dir/run"
wait_for "$dir/run/invite.txt" 60
more_steps 6

# The database crashes.
database restart
more_steps 6

# The host is drained while desks hold leases, and goes on.
"$waggle" drain "$dir/run" >/dev/null || fail "drain"
wait "$host_pid" || fail "the drained host"
grep -q "drained and saved" "$dir/host.log" || fail "the host does not say that it was drained"
[ "$(ask_database "SELECT count(*) FROM delegated")" = 0 ] || fail "drained, and desks hold leases"
host resume "$dir/run"
more_steps 6

# A desk is stopped for longer than anybody waits: what it holds goes to the other, and it begins anew when it wakes up.
kill -STOP "$second_desk"
wait_for "$dir/host.log" 60 "desk 2 was silent"
more_steps 6
kill -STOP "$one" # or the run is over before the other is back
kill -CONT "$second_desk"
wait_for "$dir/desk2.log" 30 "desk 3 of the run"
until_true 60 "nothing was accepted at desk 3" accepts "$dir/desk2"
kill -CONT "$one"

# One leaves in peace.
kill -TERM "$first_desk"
wait "$first_desk" || fail "the desk that was asked to leave"
grep -q "asked to leave" "$dir/desk1.log" || fail "desk 1 does not know why it left"
kill "$one"
wait "$host_pid" || fail "the host"
wait "$second_desk" || fail "the desk that stayed"
wait "$two" || fail "the volunteer that stayed"
[ "$(hash_of "$dir/run")" = "$expected" ] || fail "weights $(hash_of "$dir/run"), the local run's are $expected"

# Every lease once, every grant ended, and nobody is accused.
"$waggle" outcomes "$dir/run" >"$dir/outcomes"
accepted=$(grep -c '"outcome":"accepted"' "$dir/outcomes")
leases=$(grep '"outcome":"accepted"' "$dir/outcomes" | sed 's/.*"lease":"\([0-9a-f]*\)".*/\1/' | sort -u | wc -l)
[ "$accepted" = "$leases" ] || fail "$accepted acceptances of $leases leases"
groups=$(ask_database "SELECT count(*) FROM accepted_groups")
[ "$accepted" = "$groups" ] || fail "$accepted acceptances, $groups groups"
open=$(ask_database "SELECT count(*) FROM grants WHERE ended IS NULL")
[ "$open" = 0 ] || fail "$open grants never ended"
if grep -q '"outcome":"rejected"' "$dir/outcomes"; then fail "somebody honest was rejected: $(grep rejected "$dir/outcomes" | head -3)"; fi
"$waggle" replay "$dir/run" --quiet >"$dir/replay.log" || fail "the replay"
grep -q "$expected" "$dir/replay.log" || fail "the replay has other weights"
echo "same weights: $expected; $accepted leases at $(grep '"accepted"' "$dir/outcomes" | sed 's/.*"worker":"\([^"]*\)".*/\1/' | sort -u | wc -l) volunteers of two desks"

# Another run in the same database, batches by arrival, volunteers at the host and at a desk, the host killed: the order is on record.
port=0
host run "$source/tests/run/tiny.toml" --set orchestrator.steps=20 --set orchestrator.ahead=1 --set orchestrator.lag_versions_max=2 \
  --set orchestrator.stale=withhold --set orchestrator.batches=arrival --out "$dir/arrival" --store "$store"
invite_of "$dir/arrival"
desk 9 127.0.0.1:0
volunteer_of 9 nine
volunteer own own
until_true 60 "no 6 steps by arrival" sh -c "[ \$(wc -l <'$dir/arrival/metrics.jsonl') -ge 6 ]"
kill -9 "$host_pid"
sleep 1
host resume "$dir/arrival"
wait "$host_pid" || fail "the host of the second run"
"$waggle" replay "$dir/arrival" --quiet >"$dir/replay.log" || fail "the replay by arrival"
grep -q "$(hash_of "$dir/arrival")" "$dir/replay.log" || fail "the replay by arrival has other weights"
echo "by arrival: $(hash_of "$dir/arrival"), and so the replay"
