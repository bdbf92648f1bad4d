#!/bin/sh
# Canaries, over real sockets: a host that hides one in every epoch, honest volunteers, a validator that looks and one that calls
# everything good without looking. The first finds them and is paid; the second is shut out; nobody honest is accused; the
# weights are the local run's. Then the same as processes: what the host says of it in its metrics.
# Usage: canary_test.sh WAGGLE SOURCE_DIR
set -eu
. "$(dirname "$0")/lib.sh"

local_run --set orchestrator.steps=24
trust="--set trust.audits=true --set trust.epoch_versions=4 --set trust.window_seconds=1 --set trust.sign_seconds=3 --set trust.canary_every=1"

# shellcheck disable=SC2086
"$waggle" party "$source/tests/run/tiny.toml" --set orchestrator.steps=24 $trust --set trust.auditors=2 --set trust.spot_checks=0 \
  --volunteers 2 --validators 1 --lazy 1 --threads 1 --json --out "$dir/party" >"$dir/party.json" 2>"$dir/party.log" ||
  fail "the party: $(cat "$dir/party.json")"
grep -q "\"weight_hash\":\"$expected\"" "$dir/party.json" || fail "a canary changed the weights: $(cat "$dir/party.json")"
node() { grep -o "{\"name\":\"$1\"[^}]*}" "$dir/party.json"; }
node validator-1 | grep -q '"batches_rejected":[1-9]' || fail "the validator found no canary: $(node validator-1)"
node validator-1 | grep -q '"earned":"0\.0*"' && fail "the validator earned nothing: $(node validator-1)"
node lazy-1 | grep -q '"batches_accepted":[1-9]' || fail "the lazy one said nothing: $(node lazy-1)"
node lazy-1 | grep -q 'banished.*canary' || fail "the lazy one was not shut out: $(node lazy-1)"
for volunteer in volunteer-1 volunteer-2; do
  node "$volunteer" | grep -q 'banished' && fail "an honest volunteer was shut out: $(node "$volunteer")"
done
"$waggle" ledger verify "$dir/party/ledger.db" >"$dir/ledger" || fail "the ledger does not replay: $(cat "$dir/ledger")"
"$waggle" ledger export "$dir/party/ledger.db" >"$dir/log.jsonl"

# A host and its guests as processes. Two volunteers, a validator: it finds the canaries, and the metrics count them.
# shellcheck disable=SC2086
host run "$source/tests/run/tiny.toml" --set orchestrator.steps=24 $trust --out "$dir/run" --http 127.0.0.1:0
invite_of "$dir/run"
start vera "$waggle" validate "$invite" --key "$dir/vera.key" --threads 1 --evidence "$dir/vera.evidence"
vera=$started
volunteer anna anna
anna=$volunteer_pid
start relay "$waggle" relay "$invite" --listen 127.0.0.1:0 --folder "$dir/relay" --key "$dir/relay.key"
http() { sed -n 's/.*"http": *"\([^"]*\)".*/\1/p' "$dir/run/control.json"; }
metrics() { # the newest that could be read
  curl -s "http://$(http)/metrics" >"$dir/metrics.new" 2>/dev/null && [ -s "$dir/metrics.new" ] && cp "$dir/metrics.new" "$dir/metrics" || true
}
ended() {
  metrics
  [ -f "$dir/run/result.json" ]
}
until_true 120 "the run did not end" ended
wait "$host_pid" || fail "the host"
for pid in "$anna" "$vera"; do wait "$pid" || fail "a node ended badly"; done
[ "$(hash_of "$dir/run")" = "$expected" ] || fail "weights $(hash_of "$dir/run"), the local run's are $expected"
grep -q "[1-9][0-9]* rejected" "$dir/vera.log" || fail "vera found no canary"
[ -n "$(ls "$dir/vera.evidence")" ] || fail "vera kept no evidence"
if grep -q "^out: \|banished" "$dir/host.log" "$dir/anna.log" "$dir/vera.log"; then fail "somebody honest was sent away"; fi
for evidence in "$dir/vera.evidence"/*.wglevid; do
  "$waggle" verify "$evidence" --inputs "$dir/run" >"$dir/verified" || fail "evidence about a canary: $(cat "$dir/verified")"
done

# Who has only the file, and the address of something that serves the relay's folder now that the run is over, can decide it.
if command -v python3 >/dev/null; then
  wait_for "$dir/relay.log" 30 "the run is over"
  start pages python3 -u -m http.server --bind 127.0.0.1 --directory "$dir/relay" 0
  wait_for "$dir/pages.log" 30 "Serving HTTP"
  relay=http://127.0.0.1:$(sed -n 's/.*port \([0-9]*\).*/\1/p' "$dir/pages.log" | head -n 1)
  for evidence in "$dir/vera.evidence"/*.wglevid; do
    "$waggle" verify "$evidence" --inputs "$relay" >"$dir/verified" 2>&1 || fail "evidence, policies from a relay: $(cat "$dir/verified")"
    # A reward is graded without weights; of tokens and log-probs nothing can be told without.
    grep -q "wrong reward" "$dir/verified" && continue
    code=0
    "$waggle" verify "$evidence" >"$dir/verified" 2>&1 || code=$?
    [ $code -eq 2 ] || fail "decided without the policy: $(cat "$dir/verified")"
  done
fi
if command -v curl >/dev/null; then
  value() { sed -n "s/^$1 //p" "$dir/metrics"; }
  [ "$(value waggle_canaries_found_total)" -ge 1 ] || fail "metrics: $(grep waggle_canar "$dir/metrics")"
  [ "$(value waggle_canaries_missed_total)" -eq 0 ] || fail "metrics: $(grep waggle_canar "$dir/metrics")"
  grep -q '^waggle_verdicts_total{finding="wrong"} [1-9]' "$dir/metrics" || fail "metrics: $(grep verdicts "$dir/metrics")"
  grep -q '^waggle_seal_to_verdict_seconds_count [1-9]' "$dir/metrics" || fail "metrics: no times of verdicts"
fi

echo "canaries found by who looks, missed by who does not, and the same weights: $expected"
