#!/usr/bin/env bash
# `waggle ledger` as people use it: a scenario becomes a ledger, balances add up, proofs and logs are checked and tampering is named.
# Usage: ledger_cli_test.sh WAGGLE SOURCE_DIR
set -euo pipefail
waggle=$(realpath "$1") source=$(realpath "$2") failures=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
fail() { echo "FAILED: $*"; failures=1; }
expect() {  # expect TEXT COMMAND...: exit 0, and TEXT among what is printed
  local text=$1; shift
  "$@" > log 2>&1 || { cat log; fail "$*"; return 0; }
  grep -qF -- "$text" log || { cat log; fail "$*: no '$text'"; }
}
refuse() {  # refuse TEXT COMMAND...: exit 2 (or 1 where a log is to blame), and TEXT
  local text=$1 code=0; shift
  "$@" > log 2>&1 || code=$?
  if [ "$code" -eq 0 ] || ! grep -qF -- "$text" log; then cat log; fail "$*: exit code $code, wanted '$text'"; fi
}

# Every scenario holds; one becomes a ledger.
"$waggle" ledger scenario "$source"/tests/ledger/*.scenario > all || { cat all; fail "scenarios"; }
[ "$(grep -c 'expectations hold' all)" -ge 25 ] || fail "fewer than 25 scenarios"
expect "expectations hold" "$waggle" ledger scenario "$source/tests/ledger/accusation_guilty.scenario" --out run.db
refuse "holds entries already" "$waggle" ledger scenario "$source/tests/ledger/accusation_guilty.scenario" --out run.db

# Eve had 20, accused with a bond of 10, got it back and 3 of the slash.
expect "all of it 10620" "$waggle" ledger balances run.db
eve=$(grep -E ' 23 +0 +0 +3$' log | cut -d' ' -f1)
[[ $eve =~ ^wgl1 ]] || fail "no account with 23"
expect "bounty" "$waggle" ledger statement run.db "$eve"
[ "$(grep -E ' (deposited|accused|bond-returned|bounty) ' log | wc -l)" -eq 4 ] || { cat log; fail "statement"; }
grep -qE "bounty +3 +23 " log || { cat log; fail "the statement's last balance"; }
expect "bounty" "$waggle" ledger statement run.db "${eve:0:16}"
expect "91.42857" "$waggle" ledger epochs run.db
refuse "0 accounts begin so" "$waggle" ledger statement run.db wgl1zzzz

# Yuma: the worked example to the unit, as a table and as JSON; mistakes by line; a ledger's verdicts beside what it paid.
expect "expectations hold" "$waggle" ledger yuma "$source/tests/ledger/example.yuma"
grep -qE "^a +0\.00000 +0\.500000 +0\.454545 .* 227272727 " log || { cat log; fail "the worked example"; }
"$waggle" ledger yuma "$source/tests/ledger/commit_reveal.yuma" --json > yuma.json || fail "yuma as JSON"
python3 -c 'import json; r = json.load(open("yuma.json")); assert len(r["epochs"]) == 4 and r["epochs"][1]["neurons"][2]["incentive"] == 0.75, r' || fail "yuma as JSON"
printf 'miner m\nweights m\nfly\n' > bad.yuma
refuse "bad.yuma:3: the request before this line was refused: weights are committed to first here" "$waggle" ledger yuma bad.yuma
printf 'fly\033[2J\n' > bad.yuma
refuse "'fly\x1b[2J'" "$waggle" ledger yuma bad.yuma # what it quotes does nothing to a terminal
expect "expectations hold" "$waggle" ledger scenario "$source/tests/ledger/honest_epoch.scenario" --out honest.db
expect "(burnt)" "$waggle" ledger yuma honest.db
"$waggle" ledger export honest.db > honest.jsonl
"$waggle" ledger yuma honest.db --json > one.json && "$waggle" ledger yuma honest.jsonl --json > two.json && cmp one.json two.json || fail "yuma of an exported log"
python3 - <<'PYTHON' || fail "yuma splits what the ledger paid"
import json
for epoch in json.load(open("one.json"))["epochs"]:
    paid = sum(n["ledger_paid_worker"] + n["ledger_paid_validator"] for n in epoch["nodes"])
    assert paid > 0 and paid == epoch["emission_left"] + sum(n["emission_miner"] + n["emission_validator"] for n in epoch["nodes"]), epoch
PYTHON

# A run's folder is a place too.
mkdir runs && cp run.db runs/ledger.db
expect "entries" "$waggle" ledger verify runs

# Export, verify, and every kind of tampering.
"$waggle" ledger export run.db > log.jsonl
expect "20 entries" "$waggle" ledger verify log.jsonl
expect "20 entries" "$waggle" ledger verify run.db
sed '5d' log.jsonl > cut.jsonl
refuse "entry 4" "$waggle" ledger verify cut.jsonl
sed '5s/"entry":"0x\(.\{40\}\)./"entry":"0x\1f/' log.jsonl > changed.jsonl
refuse "entry 4" "$waggle" ledger verify changed.jsonl
echo '{"entry":"0xzz"}' >> log.jsonl
refuse "log.jsonl:22" "$waggle" ledger verify log.jsonl
: > empty.jsonl
refuse "is empty" "$waggle" ledger verify empty.jsonl
refuse "no ledger is there" "$waggle" ledger verify nowhere.db

# A proof needs nothing but itself. Trainer: 9.142857 at the head with the settlement's root.
tom=$("$waggle" ledger balances run.db | grep -E ' 9.142857 +0 +0 +9.142857$' | cut -d' ' -f1)
"$waggle" ledger proof run.db "$tom" > proof.json
expect "had 9.142857 after entry 19" "$waggle" ledger check-proof proof.json
"$waggle" ledger proof run.db "$tom" --of earned > earned.json
expect "had earned 9.142857" "$waggle" ledger check-proof earned.json
sed 's/"amount": 9142857/"amount": 9142858/' proof.json > more.json
refuse "do not lead" "$waggle" ledger check-proof more.json
sed 's/"sequence": 19/"sequence": 18/' proof.json > later.json
refuse "did not sign" "$waggle" ledger check-proof later.json
echo '[]' > no.json
refuse "proves nothing" "$waggle" ledger check-proof no.json

# Plans: the sheet's figures, both ways.
expect "44.463158" "$waggle" ledger plan --detection 0.95
expect "10.51 %" "$waggle" ledger plan --detection 0.95 --stake 500
expect "15.77 %" "$waggle" ledger plan --detection 0.95 --stake 500 --plot
expect "226.358" "$waggle" ledger plan --detection 0.95 --audit-rate 0.2
expect "64 bad items" "$waggle" ledger plan --detection 0.95 --audit-rate 0.2
refuse "audited" "$waggle" ledger plan --items 4 --audited 5
refuse "detection" "$waggle" ledger plan --detection 0
refuse "balances" "$waggle" ledger dance

# Requests by hand (rollout_dispute_test.sh has a good one): files that are none, places that take none, keys that are not there.
echo 00ff > junk.request
refuse "no signed request" "$waggle" ledger submit run.db junk.request --key none.key
head -c 100000 /dev/zero > zeros.request
refuse "zeros.request" "$waggle" ledger submit run.db zeros.request --key none.key
: > empty.request
refuse "no hexadecimal text" "$waggle" ledger submit run.db empty.request --key none.key
"$waggle" ledger export run.db | sed -n '3s/.*"entry":"0x.\{32\}\([0-9a-f]*\)".*/\1/p' > taken.request
refuse "no key is there" "$waggle" ledger submit run.db taken.request --key none.key
refuse "read only" "$waggle" ledger submit log.jsonl taken.request --key none.key
refuse "PLACE FILE" "$waggle" ledger submit run.db
[ ! -e none.key ] || fail "a key was made up"
printf 'waggle-key 1\naddress wgl1asq3qzapnf2tanumed0sh3ue6v7m7mycy4k8448aww9zt3jttqfqwd47yx\nseed bbfd49e3fd3b0993d3c61dd046598ccc04886408cd9a00862d436761b5ba33c9\n' > sequencer.key
chmod 600 sequencer.key
expect "is already entry 2" "$waggle" ledger submit run.db taken.request --key sequencer.key
expect "is already entry 2" "$waggle" ledger submit runs taken.request --key sequencer.key
refuse "no ledger is there" "$waggle" ledger submit nowhere.db taken.request --key sequencer.key
[ ! -e nowhere.db ] || fail "a ledger was made up"
expect "20 entries" "$waggle" ledger verify run.db
exit "$failures"
