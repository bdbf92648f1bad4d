#!/bin/sh
# recipes/toploc and recipes/grail, shortened, over real sockets, everything replayed on arrival: what each profile finds of a cheat, and
# what the published checks let by; no strict profile refuses an honest group, and nobody is accused.
# Usage: fingerprint_recipes_test.sh WAGGLE SOURCE_DIR
set -eu
. "$(dirname "$0")/lib.sh"

# expect caught|passes RECIPE PROFILE CHEAT: "caught" also says that no honest group was refused
expect() {
  word=$1 recipe=$2 profile=$3 cheat=$4
  out="$dir/$recipe-$profile-$cheat"
  timeout 300 "$waggle" party "$source/recipes/$recipe" ${profile:+--profile "$profile"} --set orchestrator.steps=3 \
    --set orchestrator.groups_per_step=8 --set evaluation.tasks=4 --set trust.epoch_versions=1 --set trust.newcomer_groups=1000000 --set trust.canary_every=0 \
    --volunteers 3 --engines fast-bf16,fast-splitk,canonical --cheats 1 --cheat "$cheat" --validators 1 \
    --out "$out" --threads 1 --json >"$dir/party.json" 2>"$dir/party.log" || fail "$recipe $profile $cheat"
  [ -z "$(ls "$out/audits/evidence")" ] || fail "$recipe $profile $cheat: somebody was accused"
  "$waggle" ledger verify "$out/ledger.db" >"$dir/ledger" || fail "the ledger does not replay: $(cat "$dir/ledger")"
  python3 - "$dir/party.json" "$word" <<'PYTHON' || fail "$recipe $profile $cheat is not $word: $(cat "$dir/party.json")"
import json, sys
nodes = json.load(open(sys.argv[1]))["nodes"]
honest = [n for n in nodes if n["name"].startswith("volunteer")]
cheat = next(n for n in nodes if n["name"].startswith("cheat"))
if sys.argv[2] == "caught":
    assert cheat["rejected"] > 0 and cheat["accepted"] == 0
    assert all(n["rejected"] == 0 for n in honest) and sum(n["accepted"] for n in honest) > 0
else:
    assert cheat["accepted"] > 2 * cheat["rejected"]
PYTHON
}
expect passes grail compat zeros
expect caught grail dense zeros
expect passes toploc "" draft
expect caught toploc plus weights
echo "what passes, passes; what is caught, is caught"
