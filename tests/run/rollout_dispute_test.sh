#!/usr/bin/env bash
# Delegated rollouts over real sockets: honest samplers agree at once, whatever their threads; who samples from other weights, changes
# a token or one bit of a log-prob is named with prompt, response, token, node and tile, and the evidence convinces whoever was not
# there; who dies in the middle loses by the deadline; a referee that is killed goes on; the client needs no weights.
# Usage: rollout_dispute_test.sh WAGGLE SOURCE_DIR CHEATING_SAMPLER
. "$(dirname "$0")/lib.sh"
set -euo pipefail
cheat=$3
cd "$source"
recipe=$dir/rollouts.toml policy=$dir/trained/model

. tests/run/disputes.sh # liar NAME LIE SEQUENCE TOKEN SLOW_MS DIE_AT

# The policy that `recipes/verde` ends with, and two who sample it: one with one thread, one with two that was stopped in between.
"$waggle" sft --recipe recipes/verde --out "$dir/trained" --threads 1 --quiet >/dev/null
sed "s|^path = .*|path = \"$policy\"|" recipes/verde/rollouts.toml >"$recipe"
answer alice 1 --recipe "$recipe"
answer bob 2 --recipe "$recipe"
cmp "$dir/alice/responses.log" "$dir/bob/responses.log" || fail "two honest samplers, two lists of responses"
[ "$(stat -c %s "$dir/alice/commitment.log")" -eq $((16 * 4 * 38)) ] || fail "not a record for every response"
cp -r "$dir/bob" "$dir/carol"
rm "$dir"/carol/answer.*
truncate -s 500 "$dir/carol/responses.log"
truncate -s 600 "$dir/carol/commitment.log"
answer carol 1
cmp "$dir/alice/responses.log" "$dir/carol/responses.log" || fail "a sampler that went on has other responses"
cmp "$dir/alice/commitment.log" "$dir/carol/commitment.log" || fail "a sampler that went on commits to something else"
referee agree "$invite_alice" "$invite_bob" "$invite_carol"
[ $code -eq 0 ] || { cat "$out.err"; fail "exit code $code of three that agree"; }
grep -q '"disputes": \[\]' "$out/result.json" || fail "three that agree had a dispute"
[ "$(grep -c '^stands' "$out.log")" -eq 3 ] || fail "not all stand"

# What was accepted is the client's, by text and by bits; whoever does not stand is not asked.
[ "$(wc -l <"$out/responses.jsonl")" -eq 64 ] && grep -q '^{"prompt":15,"response":3,"text":"' "$out/responses.jsonl" || fail "the responses that were accepted"

# The client needs no weights: shape, tokenizer and the root of the policy give the same program.
mkdir "$dir/shape"
cp "$policy"/*.json "$dir/shape"
root=$(sed -n 's/^from *//p' "$dir/answer-alice.log")
referee weightless "$invite_alice" "$invite_bob" --set model.path="$dir/shape" --set policy="$root"
[ $code -eq 0 ] || { cat "$out.err"; fail "exit code $code of a client without weights"; }
[ "$(field "$out/result.json" program)" = "$(field "$dir/agree/result.json" program)" ] || fail "another program without weights"
cmp "$out/responses.jsonl" "$dir/agree/responses.jsonl" || fail "other responses without weights"

# Liars, each against an honest one; every dispute ends at the place of the first lie.
caught() { # caught NAME CASE
  read -r sequence token <"$dir/$1/lie.txt"
  [ "$sequence" -lt 64 ] || fail "$1 did not lie"
  eval "referee caught-$1 \"\$invite_alice\" \"\$invite_$1\" \"\$invite_bob\""
  [ $code -eq 0 ] || { cat "$out.err"; fail "exit code $code of a dispute that is settled"; }
  cmp "$out/responses.jsonl" "$dir/agree/responses.jsonl" || fail "$1: a liar's responses were taken"
  result=$out/result.json
  [ "$(field "$result" prompt) $(field "$result" response) $(field "$result" token)" = "$((sequence / 4)) $((sequence % 4)) $token" ] || { cat "$out.log"; fail "$1: where"; }
  [ "$(field "$result" case)" = "$2" ] || { cat "$out.log"; fail "$1: case $(field "$result" case)"; }
  [ "$(field "$result" a_loses) $(field "$result" b_loses)" = "false true" ] || fail "$1: who lost"
  [ "$(grep -c '^stands' "$out.log")" -eq 2 ] && [ "$(grep -c '^fell' "$out.log")" -eq 1 ] || fail "$1: who stands"
  (cd "$dir" && cp "$out"/*.wgldisp "case-$1.wgldisp" && "$waggle" verify "case-$1.wgldisp" >verified) || { cat "$dir/verified"; fail "$1: the evidence does not verify"; }
  grep -q "^proved" "$dir/verified" && grep -q "batch $((sequence / 4)), sequence $((sequence % 4)), token $token, node" "$dir/verified" || { cat "$dir/verified"; fail "what it proves"; }
  sed -n '/^dispute/,/^  *evidence/p' "$out.log" >>"$dir/transcript"
}
liar weights weights 0 0 0 0
liar token token 21 1 0 0
liar logp logp 42 0 0 0
caught weights input
caught token output
caught logp output

# The worker's batch in a ledger is its commitment here: the referee's word about it goes into that ledger, once, by hand of whoever
# sequences it. Keys of scenarios are known to everybody (docs/ledger.md).
scenario_key() { # scenario_key FILE ADDRESS SEED
  printf 'waggle-key 1\naddress %s\nseed %s\n' "$2" "$3" >"$1"
  chmod 600 "$1"
}
scenario_key "$dir/rita.key" wgl15qdkt7d8gnwwfzkllgfzvz0zk2ltr9xgx8xwy5ycap70j6ne20aszl6fsp dbc0c0a4431930474f1348a7d5e24191d71ba7cec4e710531dabb069a12fce15
scenario_key "$dir/sequencer.key" wgl1asq3qzapnf2tanumed0sh3ue6v7m7mycy4k8448aww9zt3jttqfqwd47yx bbfd49e3fd3b0993d3c61dd046598ccc04886408cd9a00862d436761b5ba33c9
mkdir "$dir/will"
scenario_key "$dir/will/node.key" wgl19u4ua53ksvhttxvhcc3zv7uk55z9cm6gxwm26kgucntx7ta8dmxqp8x4g0 afa2ccbcbced8c2722682ad03cafd753ddf444717d1f69f0313c4024cb11d7ab
liar will logp 42 0 0 0
referee will "$invite_alice" "$invite_will"
root=$(sed -n "/\"name\": \"${invite_will:9:15}/,/}/s/.*\"answer\": \"\([0-9a-f]*\)\".*/\1/p" "$out/result.json")
[ ${#root} -eq 64 ] || { cat "$out/result.json"; fail "what will committed to"; }
cat >"$dir/accused.scenario" <<END
terms short orchestrator=orla trainer=tom referees=rita quorum=1 dispute_epochs=1 dispute_ms=0 vesting_epochs=0
give sue 10000
give val 500
sue open-run run=r terms=short
sue lock-budget run=r amount=5000
val stake run=r amount=500
val join-validators run=r
give eve 20
give will 100
will stake run=r amount=100
val beacon-commit run=r epoch=0 secret=dice0
orla commit-batch run=r epoch=0 worker=will root=0x$root items=64
orla seal-epoch run=r epoch=0
eve accuse run=r epoch=0 worker=will root=0x$root evidence=ev
END
"$waggle" ledger scenario "$dir/accused.scenario" --out "$dir/ledger.db" >/dev/null
referee_key=rita
referee settled "$invite_alice" "$invite_will" --ledger "$dir/ledger.db" --ledger-dispute 1
[ $code -eq 0 ] && grep -q "dispute 1: guilty" "$out.log" || { cat "$out.log" "$out.err"; fail "the ledger's dispute"; }
referee_key=referee
submit() { # submit FILE [OPTION...]: sets code
  code=0
  "$waggle" ledger submit "$dir/ledger.db" "$@" >"$dir/submit.log" 2>&1 || code=$?
}
request=$out/resolve.request
submit "$request" --key "$dir/rita.key"
[ $code -eq 2 ] && grep -q "is sequenced by" "$dir/submit.log" || { cat "$dir/submit.log"; fail "a key that sequences nothing"; }
flock "$dir/ledger.db.lock" "$waggle" ledger submit "$dir/ledger.db" "$request" --key "$dir/sequencer.key" >"$dir/submit.log" 2>&1 && fail "beside a writer"
grep -q "waggle resume" "$dir/submit.log" || { cat "$dir/submit.log"; fail "what to do beside a host that runs"; }
sed 's/.\{8\}$/00000000/' "$request" >"$dir/forged.request"
submit "$dir/forged.request" --key "$dir/sequencer.key"
[ $code -eq 1 ] && grep -q "refused (bad-signature)" "$dir/submit.log" || { cat "$dir/submit.log"; fail "a forged request"; }
submit "$request" --key "$dir/sequencer.key"
[ $code -eq 0 ] && grep -q "became entry 14: resolve" "$dir/submit.log" && grep -q "found-guilty" "$dir/submit.log" || { cat "$dir/submit.log"; fail "a request that is good"; }
submit "$request" --key "$dir/sequencer.key"
[ $code -eq 0 ] && grep -q "is already entry 14" "$dir/submit.log" || { cat "$dir/submit.log"; fail "a request twice"; }
"$waggle" ledger verify "$dir/ledger.db" | grep -q "14 entries" || fail "the ledger after it"

# A changed file convinces nobody.
size=$(stat -c %s "$dir/case-logp.wgldisp")
for at in 100 $((size / 2)) $((size - 40)); do
  cp "$dir/case-logp.wgldisp" "$dir/forged.wgldisp"
  printf '\x5a\xa5\x5a' | dd of="$dir/forged.wgldisp" bs=1 seek="$at" conv=notrunc status=none
  code=0
  "$waggle" verify "$dir/forged.wgldisp" >/dev/null || code=$?
  [ $code -eq 1 ] || fail "exit code $code of a file with other bytes at $at"
done

# Three answers: a tournament; the two liars fall to the one who says the truth, folders of this machine are parties too.
referee three "$invite_token" "$invite_logp" "$dir/alice" --threads 1
[ $code -eq 0 ] || { cat "$out.err"; fail "exit code $code of a tournament"; }
[ "$(grep -c '^fell' "$out.log")" -eq 2 ] && grep -q "^stands *$dir/alice" "$out.log" || { cat "$out.log"; fail "who won the tournament"; }

# Killed in the middle of a slow dispute, the referee goes on where it stood.
liar slow logp 42 0 150 0
start killed "$waggle" referee --recipe "$recipe" --out "$dir/again" --key "$dir/referee.key" "$invite_alice" "$invite_slow"
until_true 60 "no journal of 5 words" sh -c "[ \$(stat -c %s $dir/again/*.journal) -gt 4000 ]"
kill -9 "$started"
wait "$started" 2>/dev/null || true
referee again "$invite_alice" "$invite_slow"
[ $code -eq 0 ] && grep -q "gone on with" "$out.log" || { cat "$out.log" "$out.err"; fail "it did not go on"; }
[ "$(ls "$out" | grep -c 'wgldisp\|journal')" -eq 1 ] || fail "more than one dispute is left"

# An honest one that dies at the sixth question loses by the deadline; that rests on the referee's clock, and verify says so.
liar dying none 0 0 0 6
referee silence "$invite_dying" "$invite_token" --deadline 2 --work-deadline 2 --extensions 0
[ "$(field "$out/result.json" case)" = silent ] || { cat "$out.log" "$out.err"; fail "case $(field "$out/result.json" case)"; }
[ "$(field "$out/result.json" a_loses) $(field "$out/result.json" b_loses)" = "true false" ] || fail "who was silent"
code=0
"$waggle" verify "$out"/*.wgldisp >/dev/null || code=$?
[ $code -eq 2 ] || fail "exit code $code of evidence that rests on a clock"

# Another program; what disputes do not know; recipes of something else; a folder that was meddled with.
referee other "$invite_alice" "$invite_bob" --set prompts.seed=8
[ $code -eq 1 ] && [ "$(grep -c '^other program' "$out.log")" -eq 2 ] || { cat "$out.log"; fail "another program"; }
refused() { # refused WORDS OPTION...: of `waggle answer` in a new folder
  words=$1 code=0
  shift
  "$waggle" answer "$dir/refused" --listen 127.0.0.1:0 --key "$dir/alice.key" --recipe "$@" >"$dir/refused.log" 2>&1 || code=$?
  [ $code -eq 2 ] && grep -qF -- "$words" "$dir/refused.log" || { cat "$dir/refused.log"; fail "exit code $code, wanted '$words'"; }
  [ ! -e "$dir/refused/responses.log" ] || fail "something refused was sampled"
}
refused "numerics that disputes do not know" "$recipe" --set model.weights=int8
refused "past the model's" "$recipe" --set sampling.tokens_max=64
refused "no JSON object" "$recipe" --set prompts.files=README.md
refused "the weights here have root" "$recipe" --set policy="$(printf 'a%.0s' $(seq 64))"
refused "a recipe of \`waggle run\` that cannot be delegated: warmup.steps" recipes/countdown
refused "is a recipe of \`waggle sft\`" recipes/verde
code=0
"$waggle" referee --recipe recipes/countdown --out "$dir/none" --key "$dir/referee.key" a b >"$dir/none.log" 2>&1 || code=$?
[ $code -eq 2 ] && grep -q "What can be delegated" "$dir/none.log" || fail "what the referee says of a recipe of a run"
printf '\x07' | dd of="$dir/carol/responses.log" bs=1 seek=6 conv=notrunc status=none
code=0
"$waggle" answer "$dir/carol" --listen 127.0.0.1:0 --key "$dir/carol.key" --quiet >"$dir/meddled.log" 2>&1 || code=$?
[ $code -ne 0 ] && grep -q "cannot be relied on" "$dir/meddled.log" || { cat "$dir/meddled.log"; fail "responses that were changed by hand"; }
cat "$dir/transcript"
