#!/bin/sh
# What a group costs whom, with desks and without: a host over a PostgreSQL of its own, DESKS desks, and one load_bench for each of
# them (without desks: for the host). Processor time, since there may be fewer cores than processes.
# Usage: bench/desk_load_test.sh [DESKS] [WORKERS] [SECONDS] [SAMPLING_MS]     (needs `./waggle bench` to have been built)
set -eu
desks=${1:-2}
workers=${2:-1000}
seconds=${3:-20}
sampling_ms=${4:-2000}
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/tests/run/postgres.sh"
waggle=$root/build/release/bin/waggle
dir=$(mktemp -d)
pids=
end() {
  for pid in $pids; do kill -9 "$pid" 2>/dev/null || true; done
  database_end
  rm -rf "$dir"
}
trap end EXIT
export XDG_CACHE_HOME="$dir/cache" XDG_CONFIG_HOME="$dir/config"
pg_fsync=on
database_begin
room=$((workers + workers / 16 + 16))
until_there() { # until_there FILE PID LOG
  until [ -s "$1" ]; do
    kill -0 "$2" 2>/dev/null || { cat "$3"; exit 1; }
    sleep 0.2
  done
}
# Waves so large that none is ever complete: the trainer is not what is measured.
"$waggle" run "$root/tests/run/tiny.toml" --set orchestrator.groups_per_step=65536 --set orchestrator.steps=8 \
  --set orchestrator.ahead=4 --set evaluation.tasks=0 --out "$dir/run" --listen 127.0.0.1:0 --key "$dir/key" --threads 1 \
  --store "$store" --volunteers $room --per-address $room >"$dir/host.log" 2>&1 &
host=$!
pids=$host
until_there "$dir/run/invite.txt" $host "$dir/host.log"
i=0
while [ $i -lt "$desks" ]; do
  i=$((i + 1))
  "$waggle" desk "$(cat "$dir/run/invite.txt")" --store "$store" --listen 127.0.0.1:0 --key "$dir/key$i" --folder "$dir/place$i" \
    --volunteers $room --per-address $room >"$dir/desk$i.log" 2>&1 &
  eval "desk$i=$!"
  pids="$pids $!"
  until_there "$dir/place$i/invite.txt" $! "$dir/desk$i.log"
done
[ "$desks" -gt 0 ] || { mkdir "$dir/place1" && cp "$dir/run/invite.txt" "$dir/place1/"; }
crews=$((desks > 0 ? desks : 1))
i=0
while [ $i -lt $crews ]; do
  i=$((i + 1))
  "$root/build/release/bin/load_bench" "$(cat "$dir/place$i/invite.txt")" $((workers / crews)) $((seconds + 10)) "$sampling_ms" >"$dir/load$i.log" &
  load=$!
  pids="$pids $load"
done
i=0
while [ $i -lt $crews ]; do
  i=$((i + 1))
  until grep -qs "^measuring" "$dir/load$i.log"; do kill -0 $load || exit 1; sleep 0.2; done
done
ms_of() { awk -v hz="$(getconf CLK_TCK)" '{print int(($14 + $15) * 1000 / hz)}' "/proc/$1/stat"; }
server_ms() { # of the database, all of its processes; those that ended count with their parent
  for pid in $(pgrep -P "$postmaster"); do cat "/proc/$pid/stat" 2>/dev/null || true; done |
    awk -v hz="$(getconf CLK_TCK)" -v ended="$(cut -d ' ' -f 16,17 "/proc/$postmaster/stat" | tr ' ' '+')" \
      'BEGIN {split(ended, both, "+"); sum = both[1] + both[2]} {sum += $14 + $15} END {print int(sum * 1000 / hz)}'
}
postmaster=$(head -1 "$pg/data/postmaster.pid")
groups() { ask_database "SELECT count(*) FROM accepted_groups"; }
desks_ms() {
  sum=0 i=0
  while [ $i -lt "$desks" ]; do
    i=$((i + 1))
    eval "sum=\$((sum + \$(ms_of \$desk$i)))"
  done
  echo $sum
}
g=$(groups) h=$(ms_of $host) d=$(desks_ms) s=$(server_ms)
sleep "$seconds"
g=$(($(groups) - g)) h=$(($(ms_of $host) - h)) d=$(($(desks_ms) - d)) s=$(($(server_ms) - s))
per() { awk -v ms="$1" -v groups="$g" 'BEGIN {printf "%.3f", ms / groups}'; }
echo "$desks desks, $workers workers: $((g / seconds)) groups/s; ms a group: host $(per $h), desks together $(per $d), database $(per $s)"
sed -n 's/^measured/load_bench: measured/p' "$dir"/load*.log
