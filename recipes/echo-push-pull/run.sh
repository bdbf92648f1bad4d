#!/bin/sh
# The two halves of Echo as processes of their own: a host that trains, and samplers of different speed that take its newest
# weights when they can. Ends when the run does; then trains it again from what was accepted, which must give the same bits.
#
#   recipes/echo-push-pull/run.sh [waggle run options, e.g. --set sampling.swap=keep_kv]
#
# Environment: WAGGLE (the program, default ./waggle), OUT (folder of the run, default runs/echo-push-pull-swarm), SAMPLERS (3).
set -eu
here=$(dirname "$0")
waggle=${WAGGLE:-./waggle}
out=${OUT:-runs/echo-push-pull-swarm}
pids=
cleanup() { for pid in $pids; do kill "$pid" 2>/dev/null || true; done; }
trap cleanup EXIT
"$waggle" run "$here" --out "$out" --listen 127.0.0.1:0 "$@" &
host=$!
pids=$host
until [ -s "$out/invite.txt" ]; do
  kill -0 $host || exit 1
  sleep 0.2
done
for i in $(seq "${SAMPLERS:-3}"); do
  # Each is half as keen as the one before.
  nice -n $((5 * (i - 1))) "$waggle" join "$(cat "$out/invite.txt")" --key "$out/sampler-$i.key" --threads 1 >"$out/sampler-$i.log" 2>&1 &
  pids="$pids $!"
done
wait $host
"$waggle" replay "$out"
