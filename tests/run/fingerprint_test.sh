#!/bin/sh
# Runs of the fingerprint tiers. As real processes: a host, a volunteer with another engine, a canonical one, a validator: both are
# paid, nobody is accused, the ledger replays. Then the recipes, with cheats: what each tier finds, and what the published ones let by.
# Usage: fingerprint_test.sh WAGGLE SOURCE_DIR
set -eu
. "$(dirname "$0")/lib.sh"

trust="--set trust.audits=true --set trust.epoch_versions=4 --set trust.window_seconds=1 --set trust.sign_seconds=3"
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

# The recipes, shortened. party RECIPE PROFILE CHEAT... prints accepted and rejected groups of the cheats, and checks the honest.
short="--set warmup.steps=60 --set orchestrator.steps=3 --set orchestrator.groups_per_step=6 --set evaluation.tasks=4 --set trust.epoch_versions=1"
party() {
  recipe=$1 profile=$2 cheats=$3
  shift 3
  # shellcheck disable=SC2086
  "$waggle" party "$source/recipes/$recipe" ${profile:+--profile "$profile"} $short --volunteers 2 --engines fast-splitk,canonical \
    --cheats 1 --cheat "$cheats" --validators 1 --set trust.newcomer_groups=1000000 "$@" --out "$dir/$recipe-$profile-$cheats" \
    --threads 1 --json --quiet >"$dir/party.json" 2>"$dir/party.log" || fail "$recipe $profile $cheats"
  python3 - "$dir/party.json" <<'PYTHON' || fail "$recipe $profile $cheats: $(cat "$dir/party.json")"
import json, sys
nodes = {n["name"]: n for n in json.load(open(sys.argv[1]))["nodes"]}
for name, node in nodes.items():
    if name.startswith("volunteer"):
        assert node["rejected"] == 0, node
cheat = next(n for name, n in nodes.items() if name.startswith("cheat"))
print("caught" if cheat["rejected"] > 0 and cheat["accepted"] == 0 else "passes" if cheat["rejected"] == 0 and cheat["accepted"] > 0 else "both")
PYTHON
}
expect() { # expect WORD RECIPE PROFILE CHEAT [OPTION...]
  word=$1
  shift
  said=$(party "$@") || { echo "$said"; exit 1; }
  [ "$said" = "$word" ] || fail "$*: the cheat $said, expected: $word"
}
expect passes grail compat zeros
expect caught grail dense zeros
expect caught toploc "" weights --set trust.fingerprint_limits=sampling=-/-/1
expect caught toploc plus weights
echo "fingerprint tiers: fine"
