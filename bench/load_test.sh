#!/bin/sh
# How many volunteers one host bears, on one core: a real host, and load_bench on another core.
# Usage: bench/load_test.sh [WORKERS] [SECONDS] [SAMPLING_MS]     (needs `./waggle bench` to have been built)
# Prints what load_bench measured, and what the host's process spent meanwhile. Needs WORKERS + a quarter open files (ulimit -Hn).
set -eu
workers=${1:-10000}
seconds=${2:-20}
sampling_ms=${3:-4700}
root=$(cd "$(dirname "$0")/.." && pwd)
waggle=$root/build/release/bin/waggle
dir=$(mktemp -d)
host=
trap 'kill -9 $host 2>/dev/null || true; rm -rf "$dir"' EXIT
export XDG_CACHE_HOME="$dir/cache" XDG_CONFIG_HOME="$dir/config"
# Waves so large that none is complete before it is over (65536 groups: 20 s at 2,000 a second, and the warm-up): the trainer is
# not what is measured.
taskset -c 0 "$waggle" run "$root/tests/run/tiny.toml" --set orchestrator.groups_per_step=65536 --set orchestrator.steps=8 \
  --set orchestrator.ahead=4 --set evaluation.tasks=0 --out "$dir/run" --listen 127.0.0.1:0 --key "$dir/key" --threads 1 \
  --volunteers $((workers + workers / 16 + 16)) --per-address $((workers + workers / 16 + 16)) >"$dir/host.log" 2>&1 &
host=$!
until [ -s "$dir/run/invite.txt" ]; do
  kill -0 $host 2>/dev/null || { cat "$dir/host.log"; exit 1; }
  sleep 0.2
done
ticks() { awk '{print $14 + $15}' /proc/$host/stat; }
taskset -c 1 "$root/build/release/bin/load_bench" "$(cat "$dir/run/invite.txt")" "$workers" "$seconds" "$sampling_ms" |
  while read -r line; do
    echo "$line"
    case $line in
      measuring) ticks >"$dir/before" ;;
      measured*) echo "host: $(( ($(ticks) - $(cat "$dir/before")) * 1000 / $(getconf CLK_TCK) )) ms of one core, $(awk '/VmRSS/ {print int($2 / 1024)}' /proc/$host/status) MiB resident" ;;
    esac
  done
