#!/usr/bin/env bash
# train-tokenizer and sft: text and JSON lines, stop and go on, damage, adapters, and a numeric fault that replays.
# Usage: sft_test.sh WAGGLE SOURCE_DIR
set -euo pipefail
waggle=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
fail() { echo "FAILED: $*"; exit 1; }
hash_of() { sed -n 's/^weight hash *//p' "$1"; }

for n in $(seq 1 60); do
  printf 'The %d. cat sat on the mat and the dog sat on the log.\n' "$n"
done > pets.txt
for n in $(seq 1 40); do
  printf '{"prompt": "Who sat on mat %d? ", "completion": "The cat."}\n' "$n"
done > pets.jsonl
printf '{"text": "The dog sat."}\n\n' >> pets.jsonl

"$waggle" train-tokenizer pets.txt --vocab 300 --out tok.json > tok.log
grep -q "300 tokens" tok.log || { cat tok.log; fail "the tokenizer's size"; }
"$waggle" train-tokenizer pets.txt --vocab 300 --out again.json > /dev/null
cmp tok.json again.json || fail "another tokenizer from the same texts"

shape=(--tokenizer tok.json --set model.hidden=32 --set model.intermediate=64 --set data.separator=$'\n'
       --set data.batch_tokens=300 --set data.epochs=3 --set trainer.schedule.kind=cosine
       --set trainer.optimizer.lr=1e-2 --set checkpoint_every=2)
"$waggle" sft pets.txt "${shape[@]}" --out straight --threads 2 > straight.log 2> straight.err
expected=$(hash_of straight.log)
[ -n "$expected" ] || fail "no weight hash"
first=$(grep -o 'loss [0-9.]*' straight.err | head -1) last=$(grep -o 'loss [0-9.]*' straight.err | tail -1)
awk -v a="${first#loss }" -v b="${last#loss }" 'BEGIN { exit !(b < 0.7 * a) }' || fail "from $first to $last"
"$waggle" generate --model straight/model --prompt "The " --n 1 > /dev/null || fail "the model does not load"

# Stopped, then gone on with on another thread count; and with the newest checkpoint damaged.
"$waggle" sft pets.txt "${shape[@]}" --out parts --stop-after 5 --threads 1 --quiet > /dev/null
[ ! -e parts/model ] || fail "a stopped run has no model yet"
cp -r parts damaged
"$waggle" sft pets.txt "${shape[@]}" --out parts --threads 3 --quiet > parts.log
[ "$(hash_of parts.log)" = "$expected" ] || fail "$(hash_of parts.log) after a stop, expected $expected"
cmp straight/model/model.safetensors parts/model/model.safetensors || fail "the models differ"
truncate -s -50 damaged/checkpoints/step-5/masters.safetensors
"$waggle" sft pets.txt "${shape[@]}" --out damaged --quiet > damaged.log 2> damaged.err
grep -q "checkpoint skipped: .*masters.safetensors" damaged.err || fail "damage was not reported"
[ "$(hash_of damaged.log)" = "$expected" ] || fail "$(hash_of damaged.log) after damage, expected $expected"
if "$waggle" sft pets.jsonl "${shape[@]}" --out parts --quiet 2> other.err; then fail "other texts in the same folder"; fi
grep -q "other settings, texts or weights" other.err || { cat other.err; fail "the reason"; }

# Adapters on that model; JSON lines.
"$waggle" sft pets.jsonl --model straight/model --out adapted --set trainer.lora.rank=4 --quiet > adapted.log
[ -f adapted/model/model.safetensors ] || fail "no adapted model"
cmp -s straight/model/model.safetensors adapted/model/model.safetensors && fail "the adapters changed nothing"
printf '{"prompt": "no completion"}\n' > bad.jsonl
if "$waggle" sft bad.jsonl --model straight/model --out bad --quiet 2> bad.err; then fail "a bad line was taken"; fi
grep -q "bad.jsonl:1: " bad.err || { cat bad.err; fail "the bad line is not named"; }

# Weights that overflow: the step is refused, its dump shows the same fault again.
code=0
"$waggle" sft pets.txt "${shape[@]}" --out broken --quiet --set trainer.optimizer.lr=1e3 \
  --set trainer.optimizer.weight_decay=1e3 --set checkpoint_every=1 > /dev/null 2> broken.err || code=$?
[ "$code" -eq 1 ] || { cat broken.err; fail "exit code $code of a run that overflows"; }
dump=$(ls broken/faults/fault-step-*.json)
"$waggle" inspect "$dump" > inspect.log || { cat inspect.log; fail "inspect"; }
grep -q "the same fault" inspect.log || { cat inspect.log; fail "the fault did not replay"; }
echo "same weights whole and in parts: $expected"
