#!/usr/bin/env bash
# A whole run of reinforcement learning over real sockets: honest parties agree at once, whatever their threads and however often they
# were killed; who changes an answer, a gradient, a reward or the weights that it begins with is named with batch or step and place;
# the evidence convinces whoever was not there; what cannot be delegated is refused by name.
# Usage: run_dispute_test.sh WAGGLE SOURCE_DIR CHEATING_RUNNER
. "$(dirname "$0")/lib.sh"
set -euo pipefail
cheat=$3
cd "$source"
recipe=$dir/run.toml

. tests/run/disputes.sh # liar NAME LIE BATCH SEQUENCE SLOW_MS DIE_AT

# The policy that `recipes/verde` ends with learns on; one does it with one thread, one with two.
"$waggle" sft --recipe recipes/verde --out "$dir/trained" --threads 1 --quiet >/dev/null
sed "s|^path = .*|path = \"$dir/trained/model\"|" recipes/verde/run.toml >"$recipe"
answer alice 1 --recipe "$recipe"
answer bob 2 --recipe "$recipe"
for log in responses.log batches.log commitment.log; do
  cmp "$dir/alice/$log" "$dir/bob/$log" || fail "two honest parties, two of $log"
done
# What a kill in the fifth batch leaves behind, and the same command again.
cp -r "$dir/bob" "$dir/carol"
rm "$dir"/carol/answer.*
rm -r "$dir/carol/checkpoints/step-6" "$dir/carol/checkpoints/step-8"
truncate -s $((4 * 170 + 9)) "$dir/carol/commitment.log"
truncate -s $((5 * 42)) "$dir/carol/batches.log"
truncate -s $(($(stat -c %s "$dir/carol/responses.log") / 2 + 3)) "$dir/carol/responses.log"
answer carol 1
for log in responses.log batches.log commitment.log; do
  cmp "$dir/alice/$log" "$dir/carol/$log" || fail "who was killed has other $log"
done
# One that is killed for real, at some moment of its run.
start killed "$waggle" answer "$dir/dave" --recipe "$recipe" --listen 127.0.0.1:0 --key "$dir/dave.key" --threads 1 --quiet
until_true 60 "no batch" test -s "$dir/dave/batches.log"
kill -9 "$started"
wait "$started" 2>/dev/null || true
answer dave 1
referee agree "$invite_alice" "$invite_bob" "$invite_carol" "$invite_dave"
[ $code -eq 0 ] || { cat "$out.err"; fail "exit code $code of four that agree"; }
grep -q '"disputes": \[\]' "$out/result.json" || fail "four that agree had a dispute"
[ "$(grep -c '^stands' "$out.log")" -eq 4 ] || fail "not all stand"
grep -q "8 steps, each on 64 responses of its own" "$dir/answer-alice.log" || fail "what the program is"

caught() { # caught NAME CASE UNIT INDEX
  eval "referee caught-$1 \"\$invite_alice\" \"\$invite_$1\" \"\$invite_bob\""
  [ $code -eq 0 ] || { cat "$out.err" "$out.log"; fail "$1: exit code $code of a dispute that is settled"; }
  result=$out/result.json
  [ "$(field "$result" case)" = "$2" ] || { cat "$out.log"; fail "$1: case $(field "$result" case)"; }
  [ "$(field "$result" unit) $(field "$result" step)" = "$3 $4" ] || { cat "$out.log"; fail "$1: where"; }
  [ "$(field "$result" a_loses) $(field "$result" b_loses)" = "false true" ] || fail "$1: who lost"
  [ "$(grep -c '^stands' "$out.log")" -eq 2 ] && [ "$(grep -c '^fell' "$out.log")" -eq 1 ] || fail "$1: who stands"
  [ "$(field "$result" bytes_in)" -lt 2000000 ] || fail "$1: $(field "$result" bytes_in) bytes"
  (cd "$dir" && cp "$out"/*.wgldisp "case-$1.wgldisp" && "$waggle" verify "case-$1.wgldisp" >verified) || { cat "$dir/verified"; fail "$1: the evidence does not verify"; }
  grep -q "^proved" "$dir/verified" && grep -q "lost ($2): $3 $4" "$dir/verified" || { cat "$dir/verified"; fail "what it proves"; }
  sed -n '/^dispute/,/^  *evidence/p' "$out.log" >>"$dir/transcript"
}
liar token token 3 9 0 0
liar gradient gradient 5 0 0 0
liar reward reward 4 0 0 0
liar secret secret 4 0 0 0
liar start start 0 0 0 0
caught token output batch 3
caught gradient output step 5
caught reward data step 4
caught secret input step 4
caught start state batch 0

# A changed file convinces nobody.
size=$(stat -c %s "$dir/case-gradient.wgldisp")
for at in 100 $((size / 2)) $((size - 40)); do
  cp "$dir/case-gradient.wgldisp" "$dir/forged.wgldisp"
  printf '\x5a\xa5\x5a' | dd of="$dir/forged.wgldisp" bs=1 seek="$at" conv=notrunc status=none
  code=0
  "$waggle" verify "$dir/forged.wgldisp" >/dev/null || code=$?
  [ $code -eq 1 ] || fail "exit code $code of a file with other bytes at $at"
done

# A tournament, with a folder of this machine among the parties.
referee three "$invite_token" "$invite_gradient" "$dir/alice" --threads 1
[ $code -eq 0 ] && [ "$(grep -c '^fell' "$out.log")" -eq 2 ] && grep -q "^stands *$dir/alice" "$out.log" || { cat "$out.log" "$out.err"; fail "who won the tournament"; }

# An honest one that dies at the sixth question loses by the deadline, and verify says that this rests on the referee's clock.
liar dying none 0 0 0 6
referee silence "$invite_dying" "$invite_token" --deadline 2 --work-deadline 2 --extensions 0
[ "$(field "$out/result.json" case)" = silent ] || { cat "$out.log" "$out.err"; fail "case $(field "$out/result.json" case)"; }
code=0
"$waggle" verify "$out"/*.wgldisp >/dev/null || code=$?
[ $code -eq 2 ] || fail "exit code $code of evidence that rests on a clock"

# Another program; what disputes do not know; a folder that was meddled with.
referee other "$invite_alice" "$invite_bob" --set seed=8
[ $code -eq 1 ] && [ "$(grep -c '^other program' "$out.log")" -eq 2 ] || { cat "$out.log"; fail "another program"; }
refused() { # refused WORDS SETTING
  code=0
  "$waggle" answer "$dir/refused" --listen 127.0.0.1:0 --key "$dir/alice.key" --recipe "$recipe" --set "$2" >"$dir/refused.log" 2>&1 || code=$?
  [ $code -eq 2 ] && grep -qF -- "$1" "$dir/refused.log" || { cat "$dir/refused.log"; fail "exit code $code, wanted '$1'"; }
  [ ! -e "$dir/refused/responses.log" ] || fail "something refused was run"
}
refused "orchestrator.ahead" orchestrator.ahead=1
refused "trainer.passes" trainer.passes=2
refused "adapters" trainer.lora.rank=4
printf '\x07' | dd of="$dir/carol/responses.log" bs=1 seek=6 conv=notrunc status=none
code=0
"$waggle" answer "$dir/carol" --listen 127.0.0.1:0 --key "$dir/carol.key" --quiet >"$dir/meddled.log" 2>&1 || code=$?
[ $code -ne 0 ] && grep -q "cannot be relied on" "$dir/meddled.log" || { cat "$dir/meddled.log"; fail "responses that were changed by hand"; }
cat "$dir/transcript"
