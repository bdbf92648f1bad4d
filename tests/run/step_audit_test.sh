#!/bin/sh
# Training steps that validators take again, as real processes: the host keeps two checkpoints and what audits need beside them.
# One validator is there from the start, is killed and comes back; another joins late. Every step that they drew holds, nothing
# was withheld, no batch was beyond them, and a flipped window or step in the host's folder is seen.
# Usage: step_audit_test.sh WAGGLE SOURCE_DIR
set -eu
. "$(dirname "$0")/lib.sh"

local_run --set orchestrator.steps=24
trust="--set trust.audits=true --set trust.epoch_versions=4 --set trust.window_seconds=4 --set trust.sign_seconds=3 --set trust.canary_every=0"

# shellcheck disable=SC2086
host run "$source/tests/run/tiny.toml" --set orchestrator.steps=24 --set checkpoints_kept=2 --set checkpoint_every=3 $trust --out "$dir/run"
invite_of "$dir/run"
validator() { # NAME
  start "$1" "$waggle" validate "$invite" --key "$dir/$1.key" --threads 1 --evidence "$dir/$1.evidence" --metrics 127.0.0.1:0 \
    --price-cpu-hour 2
  validator_pid=$started
}
validator vera
vera=$validator_pid
volunteer anna anna
anna=$volunteer_pid
volunteer ben ben
ben=$volunteer_pid

# Killed once it has taken a step; what it took it does not take again.
wait_for "$dir/vera.log" 120 "^step from version [0-9]*: holds"
first=$(sed -n 's/^step from version \([0-9]*\): holds.*/\1/p' "$dir/vera.log" | head -n 1)
kill -9 "$vera"
validator vera
vera=$validator_pid
# Late: epochs have passed, and what they need is announced no more.
passed() { [ "$(wc -l <"$dir/run/metrics.jsonl")" -ge 10 ]; }
until_true 120 "no ten steps" passed
validator vito
vito=$validator_pid
metrics() {
  at=$(sed -n 's/^metrics on port \([0-9]*\)$/\1/p' "$dir/vera.log" | tail -n 1)
  curl -s "http://127.0.0.1:$at/metrics" | grep -q '^waggle_validator_cpu_seconds_per_1000_tokens [0-9]'
}
if command -v curl >/dev/null; then until_true 60 "no metrics" metrics; fi
wait "$host_pid" || fail "the host"
for pid in "$anna" "$ben" "$vera" "$vito"; do wait "$pid" || fail "a node ended badly"; done

[ "$(hash_of "$dir/run")" = "$expected" ] || fail "weights $(hash_of "$dir/run"), the local run's are $expected"
for name in vera vito; do
  grep -q "^steps .* [1-9][0-9]* hold, 0 withheld, 0 not to be told" "$dir/$name.log" || fail "$name: steps"
  grep -q "^batches .* 0 rejected (0 of them only unlikely), 0 not to be told" "$dir/$name.log" || fail "$name: batches"
  grep -q "^verified  [1-9]" "$dir/$name.log" || fail "$name: cost"
  [ ! -d "$dir/$name.evidence" ] || [ -z "$(ls "$dir/$name.evidence")" ] || fail "$name accused somebody"
done
[ "$(grep -c "^step from version $first: holds" "$dir/vera.log")" = 1 ] || fail "vera took step $first twice"
"$waggle" verify "$dir/run" --from 21 >"$dir/steps" 2>"$dir/steps.log" || fail "a step does not hold: $(cat "$dir/steps")"
grep -q "^holds" "$dir/steps" || fail "steps: $(cat "$dir/steps")"
[ "$(find "$dir/run/checkpoints" -name 'step-*' | wc -l)" -le 12 ] || fail "checkpoints are not pruned"

# A group that was accepted and is taken out of its window.
cp -r "$dir/run" "$dir/forged"
printf '\377' | dd of="$dir/forged/windows.log" bs=1 seek=230 conv=notrunc 2>/dev/null
if "$waggle" verify "$dir/forged" --from 21 >"$dir/forged.out" 2>&1; then fail "a forged window holds"; fi

echo "steps taken again hold, late or not: $expected"
