#!/usr/bin/env bash
# kill -9 at many moments, resume each time: the run ends with the weights of an undisturbed one, and its logs hold every step once.
# Usage: kill_resume_test.sh WAGGLE SOURCE_DIR
set -euo pipefail
waggle=$1 recipe=$2/tests/run/tiny.toml
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export XDG_CACHE_HOME=$scratch/cache
larger=(--set orchestrator.groups_per_step=96 --set warmup.batch=192)  # long enough to be killed many times

hash_of() { sed -n 's/.*"weight_hash": "\([0-9a-f]*\)".*/\1/p' "$1/result.json"; }

"$waggle" run "$recipe" "${larger[@]}" --out "$scratch/straight" --quiet > /dev/null
expected=$(hash_of "$scratch/straight")
[ -n "$expected" ] || { echo "FAILED: the undisturbed run left no result"; exit 1; }

kills=0
run="$scratch/killed"
for round in $(seq 1 60); do
  if [ -f "$run/recipe.toml" ]; then
    "$waggle" resume "$run" --quiet > "$scratch/log" 2>&1 &
  else
    rm -rf "$run"
    "$waggle" run "$recipe" "${larger[@]}" --out "$run" --quiet > "$scratch/log" 2>&1 &
  fi
  pid=$!
  sleep "0.$(printf '%02d' $((3 + (round * 37) % 23)))"
  if kill -9 "$pid" 2> /dev/null; then kills=$((kills + 1)); fi
  code=0
  wait "$pid" 2> /dev/null || code=$?
  [ "$code" -eq 0 ] && break
  if [ "$code" -ne 137 ]; then cat "$scratch/log"; echo "FAILED: exit code $code after a kill"; exit 1; fi
done
[ -f "$run/result.json" ] || "$waggle" resume "$run" --quiet > /dev/null
if [ "$(hash_of "$run")" != "$expected" ]; then echo "FAILED: $(hash_of "$run") after $kills kills, expected $expected"; exit 1; fi
steps=$(grep -o '^{"step":[0-9]*' "$run/metrics.jsonl" | grep -o '[0-9]*$' | tr '\n' ' ')
if [ "$steps" != "1 2 3 4 5 6 7 8 9 10 11 12 " ]; then echo "FAILED: steps in metrics.jsonl: $steps"; exit 1; fi
if [ "$kills" -eq 0 ]; then echo "FAILED: the run was too fast to be killed"; exit 1; fi
echo "same weights after $kills kills: $expected"
