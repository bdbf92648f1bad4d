#!/usr/bin/env bash
# export: a folder made and checked by a reader of its own (model_folder.py) keeps every bit, field and file.
# Usage: export_test.sh WAGGLE SOURCE_DIR
set -euo pipefail
waggle=$1
folders=$2/tests/run/model_folder.py
command -v python3 > /dev/null || { echo "not run: no python3"; exit 77; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
fail() { echo "FAILED: $*"; exit 1; }

printf 'The cat sat on the mat. The dog sat on the log.\n%.0s' $(seq 40) > text
"$waggle" train-tokenizer text --vocab 300 --out tokenizer.json > /dev/null
python3 "$folders" make source tokenizer.json

score() { "$waggle" score --model "$1" --ids 5,17,99,42,7 --format json "${@:2}" | grep -o '"logprobs".*'; }
for format in bf16 f32; do
  "$waggle" export source --out "$format" --format "$format" > /dev/null
  python3 "$folders" check source "$format" "$format" || fail "an export as $format"
  [ "$(score source)" = "$(score "$format")" ] || fail "the export as $format scores otherwise"
done
# From an export again: nothing more changes.
"$waggle" export f32 --out again --format bf16 > /dev/null
diff -r bf16 again || fail "an export of an export"
# Working weights of bf16 hold every bit of a bf16 file.
[ "$(score source)" = "$(score source --weights bf16)" ] || fail "bf16 working weights of a bf16 file"

# A run's checkpoints: the last is what the run ended with, the one before is another, others are not there.
"$waggle" run "$2/tests/run/tiny.toml" --out run --quiet > /dev/null
"$waggle" export run --out end > /dev/null
"$waggle" export run --step 12 --out last > /dev/null
"$waggle" export run --step 11 --out before > /dev/null
diff -r end last || fail "the last checkpoint is not the end"
if diff -rq end before > /dev/null; then fail "the checkpoint before the last is the last"; fi
if "$waggle" export run --step 3 --out none 2> log; then fail "a checkpoint that was not kept"; fi
grep -q "it has 11, 12" log || { cat log; fail "the error does not say which checkpoints there are"; }

# A damaged shard is one line that names the file, not a crash.
truncate -s -1 source/model-00002-of-00002.safetensors
if "$waggle" export source --out broken > log 2>&1; then fail "a cut shard was exported"; fi
grep -q "model-00002-of-00002.safetensors: safetensors: " log || { cat log; fail "the error of a cut shard"; }
[ ! -e broken/config.json ] || fail "a broken export looks whole"
echo "export: two formats, three round trips, one damaged file, three checkpoints"
