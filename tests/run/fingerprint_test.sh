#!/bin/sh
# A run of a fingerprint tier as real processes: a host, a volunteer with another engine, a canonical one, a validator. Both are paid,
# nobody is accused, the ledger replays; an exact run takes no other engine.
# Usage: fingerprint_test.sh WAGGLE SOURCE_DIR
set -eu
. "$(dirname "$0")/lib.sh"

trust="--set trust.audits=true --set trust.epoch_versions=4 --set trust.window_seconds=1 --set trust.sign_seconds=3 --set trust.canary_every=0"
limits="--set trust.fingerprint_limits=dense=0.06,race=0.5/0.3,log-probs=30/0.05"
# shellcheck disable=SC2086
host run "$source/tests/run/tiny.toml" $trust --set trust.tier=dense $limits --out "$dir/run"
invite_of "$dir/run"
start vera "$waggle" validate "$invite" --key "$dir/vera.key" --threads 1 --evidence "$dir/vera.evidence"
vera=$started
volunteer fanny fanny --engine fast-bf16
fanny=$volunteer_pid
volunteer anna anna
anna=$volunteer_pid
wait "$host_pid" || fail "the host"
for pid in "$fanny" "$anna" "$vera"; do wait "$pid" || fail "a node ended badly"; done
"$waggle" ledger verify "$dir/run/ledger.db" >"$dir/ledger" || fail "the ledger does not replay: $(cat "$dir/ledger")"
[ -z "$(ls "$dir/run/audits/evidence")" ] || fail "somebody was accused"
grep -q "batches   [1-9][0-9]* accepted, 0 rejected" "$dir/vera.log" || fail "vera: $(tail -n 5 "$dir/vera.log")"
"$waggle" ledger balances "$dir/run/ledger.db" >"$dir/balances" || fail "balances"
for node in fanny anna; do
  address=$("$waggle" key show --file "$dir/$node.key" | grep -o 'wgl1[0-9a-z]*' | head -n 1)
  grep "$address" "$dir/balances" | grep -q "[1-9]" || fail "$node was not paid: $(cat "$dir/balances")"
done

# A run that replays bit for bit says so to who comes with another engine.
host run "$source/tests/run/tiny.toml" --set orchestrator.steps=2 --out "$dir/exact"
invite_of "$dir/exact"
if "$waggle" join "$invite" --engine fast-tiles --key "$dir/fanny.key" --quiet >"$dir/refused.log" 2>&1; then fail "an exact run took another engine"; fi
grep -q 'trust.tier = "exact"' "$dir/refused.log" || fail "refused otherwise: $(cat "$dir/refused.log")"
if "$waggle" join "$invite" --engine fast-nothing --quiet >"$dir/refused.log" 2>&1; then fail "an engine that is none"; fi
grep -q "there are fast-splitk, fast-tiles, fast-bf16" "$dir/refused.log" || fail "no list of engines"
kill "$host_pid"

echo "another engine, paid"
