#!/usr/bin/env bash
# kill -9 at many moments, the making of the base model and the writing of checkpoints included, and resume each time: the run
# ends with the weights of an undisturbed one, and its logs hold every step once. A damaged checkpoint is named and the one
# before it is used.
# Usage: kill_resume_test.sh WAGGLE SOURCE_DIR [FACTOR]   FACTOR makes the run that much longer
set -euo pipefail
waggle=$1 recipe=$2/tests/run/tiny.toml factor=${3:-1}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fail() { echo "FAILED: $*"; exit 1; }
hash_of() { sed -n 's/.*"weight_hash": "\([0-9a-f]*\)".*/\1/p' "$1/result.json"; }
steps_of() { grep -o '^{"step":[0-9]*' "$1/metrics.jsonl" | grep -o '[0-9]*$' | tr '\n' ' '; }
all_steps="1 2 3 4 5 6 7 8 9 10 11 12 "

# Long enough to be killed many times.
larger=(--set orchestrator.groups_per_step=$((48 * factor)) --set warmup.batch=96)
XDG_CACHE_HOME=$scratch/cache "$waggle" run "$recipe" "${larger[@]}" --out "$scratch/straight" --quiet > /dev/null
expected=$(hash_of "$scratch/straight")
[ -n "$expected" ] || fail "the undisturbed run left no result"

# Steps that move nothing would make every comparison below empty.
still=$(grep -c '"train/gradient_norm":0.0,' "$scratch/straight/metrics.jsonl" || true)
[ "$still" -eq 0 ] || fail "$still steps without a gradient"

export XDG_CACHE_HOME=$scratch/cache-killed  # its base model is made, and cached, under kills too
kills=0
run="$scratch/killed"
for round in $(seq 1 $((25 * factor))); do
  if [ -f "$run/recipe.toml" ]; then
    "$waggle" resume "$run" --quiet > "$scratch/log" 2>&1 &
  else
    "$waggle" run "$recipe" "${larger[@]}" --out "$run" --quiet > "$scratch/log" 2>&1 &
  fi
  pid=$!
  # 30 to 250 ms at first; longer later, so that a slow machine gets on as well.
  milliseconds=$(((30 + (round * 37) % 220) * (1 + round / 12)))
  sleep "$((milliseconds / 1000)).$(printf '%03d' $((milliseconds % 1000)))"
  if kill -9 "$pid" 2> /dev/null; then kills=$((kills + 1)); fi
  code=0
  wait "$pid" 2> /dev/null || code=$?
  [ "$code" -eq 0 ] && break
  if [ "$code" -ne 137 ]; then cat "$scratch/log"; fail "exit code $code after a kill"; fi
done
if [ ! -f "$run/recipe.toml" ]; then "$waggle" run "$recipe" "${larger[@]}" --out "$run" --quiet > /dev/null; fi
[ -f "$run/result.json" ] || "$waggle" resume "$run" --quiet > /dev/null
[ "$(hash_of "$run")" = "$expected" ] || fail "$(hash_of "$run") after $kills kills, expected $expected"
[ "$(steps_of "$run")" = "$all_steps" ] || fail "steps in metrics.jsonl: $(steps_of "$run")"
[ "$kills" -gt 0 ] || fail "the run was too fast to be killed"
echo "same weights after $kills kills: $expected"

# Damage: the newest of two checkpoints has a cut, a changed or a missing file.
"$waggle" run "$recipe" --out "$scratch/whole" --quiet > /dev/null
expected=$(hash_of "$scratch/whole")
"$waggle" run "$recipe" --out "$scratch/half" --quiet --stop-after 6 > /dev/null
rm "$scratch/half/result.json"
damage() {  # NAME FILE COMMAND...: runs COMMAND on that file of the newest checkpoint of a copy, then resumes
  local name=$1 copy="$scratch/$1" file
  cp -r "$scratch/half" "$copy"
  file=$(ls -d "$copy"/checkpoints/step-* | tail -1)/$2
  shift 2
  [ -f "$file" ] || fail "$name: no $file"
  "$@" "$file"
  printf '{"step":7,"reward' >> "$copy/metrics.jsonl"  # what a kill leaves of a line
  "$waggle" resume "$copy" --quiet > /dev/null 2> "$scratch/log" || { cat "$scratch/log"; fail "$name: resume"; }
  grep -q "checkpoint 6 skipped: .*" "$scratch/log" || { cat "$scratch/log"; fail "$name: damage was not reported"; }
  [ "$(hash_of "$copy")" = "$expected" ] || fail "$name: $(hash_of "$copy"), expected $expected"
  [ "$(steps_of "$copy")" = "$all_steps" ] || fail "$name: steps in metrics.jsonl: $(steps_of "$copy")"
}
flip_byte() { printf '\x5a' | dd of="$1" bs=1 seek=$(($(stat -c %s "$1") - 9)) conv=notrunc status=none; }
damage cut trainer/masters.safetensors truncate -s -100
damage changed trainer/v.safetensors flip_byte
damage changed_state orchestrator.json flip_byte
damage missing trainer/manifest.json rm
echo "damaged checkpoints are skipped: $expected"
