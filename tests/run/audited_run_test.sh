#!/bin/sh
# A run that audits, as real processes: two volunteers, two validators; one volunteer is killed and comes back, the host is
# killed and resumed. The weights are the local run's, the ledger replays from its first entry, every step holds, everybody
# was paid, and nobody was accused.
# Usage: audited_run_test.sh WAGGLE SOURCE_DIR
set -eu
. "$(dirname "$0")/lib.sh"

local_run --set orchestrator.steps=24
trust="--set trust.audits=true --set trust.epoch_versions=4 --set trust.window_seconds=1 --set trust.sign_seconds=3 --set trust.canary_every=0"

# shellcheck disable=SC2086
host run "$source/tests/run/tiny.toml" --set orchestrator.steps=24 --set checkpoints_kept=30 $trust --out "$dir/run"
invite_of "$dir/run"
validator() { # NAME
  start "$1" "$waggle" validate "$invite" --key "$dir/$1.key" --threads 1 --evidence "$dir/$1.evidence"
  validator_pid=$started
}
validator vera
vera=$validator_pid
validator vito
vito=$validator_pid
volunteer anna anna
anna=$volunteer_pid
volunteer ben ben
ben=$volunteer_pid
accepted_any() { "$waggle" outcomes "$dir/run" | grep -q accepted; }
until_true 60 "nothing was accepted" accepted_any
kill -9 "$anna"
volunteer anna anna
anna=$volunteer_pid
wait_for "$dir/run/metrics.jsonl" 60
kill -9 "$host_pid"
host resume "$dir/run"
wait "$host_pid" || fail "the host"
[ "$(hash_of "$dir/run")" = "$expected" ] || fail "weights $(hash_of "$dir/run"), the local run's are $expected"
for pid in "$anna" "$ben" "$vera" "$vito"; do wait "$pid" || fail "a node ended badly"; done

"$waggle" ledger verify "$dir/run/ledger.db" >"$dir/ledger" || fail "the ledger does not replay: $(cat "$dir/ledger")"
"$waggle" verify "$dir/run" --from 5 --to 12 >"$dir/steps" 2>"$dir/steps.log" || fail "a step does not hold: $(cat "$dir/steps")"
grep -q "^holds *7 steps" "$dir/steps" || fail "steps: $(cat "$dir/steps")"
[ -z "$(ls "$dir/run/audits/evidence")" ] || fail "an honest node was accused"
grep -q "batches   [1-9]" "$dir/vera.log" "$dir/vito.log" || fail "nobody audited anything"
grep -q "0 rejected" "$dir/vera.log" || fail "vera rejected something"
"$waggle" ledger balances "$dir/run/ledger.db" >"$dir/balances" || fail "balances"
for node in anna ben; do
  address=$("$waggle" key show --file "$dir/$node.key" | grep -o 'wgl1[0-9a-z]*' | head -n 1)
  grep "$address" "$dir/balances" | grep -q "[1-9]" || fail "$node was not paid: $(cat "$dir/balances")"
done

# A flipped bit anywhere in the signed steps is seen.
cp -r "$dir/run" "$dir/forged"
printf '\377' | dd of="$dir/forged/steps.log" bs=1 seek=150 conv=notrunc 2>/dev/null
if "$waggle" verify "$dir/forged" >"$dir/forged.out" 2>&1; then fail "forged steps hold"; fi

echo "audited, paid, and the same weights: $expected"
