#!/usr/bin/env bash
# Refereed delegation over real sockets: honest trainers agree at once; one that scales a gradient at a step is named, with step,
# node and tile, and the evidence convinces whoever was not there; who dies in the middle loses by the deadline; a referee that is
# killed goes on where it stood; what disputes do not know is refused.
# Usage: verde_test.sh WAGGLE SOURCE_DIR CHEATING_TRAINER
. "$(dirname "$0")/lib.sh"
set -euo pipefail
cheat=$3
cd "$source"
recipe=$dir/recipe.toml
sed 's/^steps = .*/steps = 12/; s/^checkpoint_every = .*/checkpoint_every = 5/' recipes/verde/recipe.toml > "$recipe"

. tests/run/disputes.sh # liar NAME STEP SLOW_MS DIE_AT

# Two honest trainers, on different thread counts, one of them stopped in between; a third of another machine's kernels.
for name in alice bob; do
  "$waggle" sft --recipe "$recipe" --out "$dir/$name" --threads 1 --quiet --stop-after $([ $name = bob ] && echo 7 || echo 0) >/dev/null
done
"$waggle" sft --recipe "$recipe" --out "$dir/bob" --threads 2 --quiet >/dev/null
cmp "$dir/alice/commitment.log" "$dir/bob/commitment.log" || fail "two honest trainers commit to two things"
[ "$(stat -c %s "$dir/alice/commitment.log")" -eq $((12 * 170)) ] || fail "not a record for every step"
answer alice 1
answer bob 1
referee agree "$invite_alice" "$invite_bob"
[ $code -eq 0 ] || { cat "$out.err"; fail "exit code $code of two that agree"; }
grep -q '"disputes": \[\]' "$out/result.json" || fail "two that agree had a dispute"
[ "$(grep -c '^stands' "$out.log")" -eq 2 ] || fail "not both stand"

# A third one scales a gradient at step 7.
liar mallory 7 0 0
referee caught "$invite_alice" "$invite_mallory" "$invite_bob"
[ $code -eq 0 ] || { cat "$out.err"; fail "exit code $code of a dispute that is settled"; }
read -r step node <"$dir/mallory/lie.txt"
result=$out/result.json
[ "$(field "$result" step)" = "$step" ] || fail "step $(field "$result" step), the lie was at $step"
[ "$(field "$result" node)" = "$node" ] || fail "node $(field "$result" node), the lie was at $node"
[ "$(field "$result" case)" = output ] || fail "case $(field "$result" case)"
[ "$(field "$result" a_loses) $(field "$result" b_loses)" = "false true" ] || fail "who lost"
[ "$(grep -c '^stands' "$out.log")" -eq 2 ] && [ "$(grep -c '^fell' "$out.log")" -eq 1 ] || fail "who stands"
cp "$out.log" "$dir/transcript"

# Whoever was not there is convinced by the file alone; a changed one convinces nobody.
evidence=$(ls "$out"/*.wgldisp)
cp "$evidence" "$dir/case.wgldisp"
(cd "$dir" && "$waggle" verify case.wgldisp >verified) || fail "the evidence does not verify"
grep -q "^proved" "$dir/verified" && grep -q "step 7, node $node: outer" "$dir/verified" || { cat "$dir/verified"; fail "what it proves"; }
size=$(stat -c %s "$evidence")
for at in 100 $((size / 2)) $((size - 40)); do
  cp "$evidence" "$dir/forged.wgldisp"
  printf '\x5a\xa5\x5a' | dd of="$dir/forged.wgldisp" bs=1 seek="$at" conv=notrunc status=none
  code=0
  "$waggle" verify "$dir/forged.wgldisp" >/dev/null || code=$?
  [ $code -eq 1 ] || fail "exit code $code of a file with other bytes at $at"
done

# Asked again, it is not played again. Folders on this machine are parties too.
referee caught "$invite_alice" "$invite_mallory" "$invite_bob"
grep -q "decided in an earlier call" "$out.log" || fail "a decided dispute was played again"
referee local "$dir/alice" "$invite_mallory" --threads 1
[ $code -eq 0 ] && [ "$(field "$out/result.json" step)" = "$step" ] || { cat "$out.err"; fail "a folder as a party"; }

# A commitment that was changed by hand, in the state after step 3: nothing leads to it.
cp -r "$dir/alice" "$dir/eve"
printf '\x00\x01\x02' | dd of="$dir/eve/commitment.log" bs=1 seek=$((3 * 170 + 150)) conv=notrunc status=none
referee changed "$invite_bob" "$dir/eve" --threads 1
[ "$(field "$out/result.json" step)" = 3 ] && [ "$(field "$out/result.json" case)" = inconsistent ] || { cat "$out.log" "$out.err"; fail "a changed commitment"; }
grep -q "^fell .*/eve " "$out.log" && grep -q "^stands" "$out.log" || { cat "$out.log"; fail "who fell with a changed commitment"; }

# The referee is killed in the middle of a slow dispute, and goes on where it stood.
liar slow 7 150 0
start killed "$waggle" referee --recipe "$recipe" --out "$dir/again" --key "$dir/referee.key" "$invite_alice" "$invite_slow"
until_true 60 "no journal of 5 words" sh -c "[ \$(stat -c %s $dir/again/*.journal) -gt 4000 ]"
kill -9 "$started"
wait "$started" 2>/dev/null || true
referee again "$invite_alice" "$invite_slow"
[ $code -eq 0 ] || { cat "$out.err"; fail "exit code $code of a referee that went on"; }
grep -q "gone on with" "$out.log" || { cat "$out.log"; fail "it did not go on with what it kept"; }
[ "$(field "$out/result.json" step)" = "$step" ] || fail "another step after a crash"
[ "$(ls "$out" | grep -c 'wgldisp\|journal')" -eq 1 ] || fail "more than one dispute is left"
"$waggle" verify "$out"/*.wgldisp >/dev/null || fail "evidence of a resumed dispute"

# An honest one that dies at the fourth question loses by the deadline; that rests on the referee's clock, and verify says so.
liar dying 99 0 4
referee silence "$invite_dying" "$invite_mallory" --deadline 2 --work-deadline 2 --extensions 0
[ "$(field "$out/result.json" case)" = silent ] || { cat "$out.log" "$out.err"; fail "case $(field "$out/result.json" case)"; }
[ "$(field "$out/result.json" a_loses) $(field "$out/result.json" b_loses)" = "true false" ] || fail "who was silent"
code=0
"$waggle" verify "$out"/*.wgldisp >/dev/null || code=$?
[ $code -eq 2 ] || fail "exit code $code of evidence that rests on a clock"

# Nobody there; another program; what graphs do not hold.
referee absent "$invite_alice" "$invite_dying" --deadline 2
[ $code -eq 0 ] && grep -q '^absent' "$out.log" || fail "who is not there"
referee other "$invite_alice" "$invite_bob" --set data.seed=2
[ $code -eq 1 ] && [ "$(grep -c '^other program' "$out.log")" -eq 2 ] || { cat "$out.log"; fail "another program"; }
for setting in trainer.lora.rank=4 trainer.optimizer.kind=muon model.weights=int8; do
  code=0
  "$waggle" sft --recipe "$recipe" --out "$dir/refused" --set "$setting" --quiet >/dev/null 2>"$dir/refused.err" || code=$?
  [ $code -eq 2 ] || { cat "$dir/refused.err"; fail "exit code $code with $setting"; }
  [ ! -e "$dir/refused" ] || fail "a refused run left a folder"
done
cat "$dir/transcript"
