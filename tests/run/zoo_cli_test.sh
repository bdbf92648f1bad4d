#!/usr/bin/env bash
# waggle zoo as people use it: names, a part of the matrix, JSON, exit codes. The whole matrix is zoo_test's (src/zoo).
# Usage: zoo_cli_test.sh WAGGLE SOURCE_DIR
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$dir"

"$waggle" zoo --list > list.log
[ "$(wc -l < list.log)" -ge 30 ] || fail "fewer than 30 adversaries"

"$waggle" zoo --tier ledger --only equivocation,beacon-withholder > text.log 2> said.log || fail "two conducts"
grep -q "^equivocation .*caught.*expelled" text.log || fail "an equivocation that nobody saw"

"$waggle" zoo --tier monitors --only hack-format --json > zoo.json 2> said.log || fail "a policy that hacks"
python3 - zoo.json <<'PYTHON' || fail "what the JSON says"
import json, sys
zoo = json.load(open(sys.argv[1]))
assert zoo["adversaries"][0]["cells"]["monitors"]["outcome"] == "caught", zoo
assert zoo["unexpected"] == [], zoo
PYTHON

if "$waggle" zoo --only nobody 2> said.log; then fail "an adversary that is none"; fi
grep -q "no adversary 'nobody'" said.log || fail "nobody is not named"
