#!/usr/bin/env bash
# Documentation that is true: the generated pages are what the program prints today, the commands that README and --help show
# exist, the cheap ones run, and what a run writes for people can be read by others.
# Usage: docs_test.sh WAGGLE SOURCE_DIR [--update]
set -euo pipefail
waggle=$(realpath "$1") source=$2 failures=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export XDG_CACHE_HOME=$scratch/cache
fail() { echo "FAILED: $*"; failures=1; }

for page in cli settings metrics logs; do
  if [ "${3:-}" = "--update" ]; then "$waggle" docs "$page" > "$source/docs/$page.md"; fi
  # Which kernels --isa offers depends on the processor.
  any_cpu() { sed 's/Kernels to use: [a-z0-9, -]*\./Kernels to use: (those of this CPU)./'; }
  diff -u <(any_cpu < "$source/docs/$page.md") <("$waggle" docs "$page" | any_cpu) \
    || fail "docs/$page.md is stale: waggle docs $page > docs/$page.md"
done

# A run to look at, and the model that README's and the help's examples need.
cp -r "$source/recipes" "$scratch/recipes"
cd "$scratch"
"$waggle" run "$source/tests/run/tiny.toml" --out runs/demo --quiet > /dev/null
ln -s "$waggle" waggle

# Every command README names exists with those options; those below need no network, no big model and little time.
commands=$(sed -n 's/^\(\.\/waggle [^#]*\).*/\1/p' "$source/README.md"; grep -o '`\./waggle [^`]*`' "$source/README.md" | tr -d '`')
checked=0
while read -r line; do
  [ -n "$line" ] || continue
  line=${line//PATH/runs/demo/model} line=${line//DIR/runs/demo/model}
  name=$(echo "$line" | cut -d' ' -f2)
  case "$name" in
    env | score | kat | tokenize | inspect | generate)
      eval "$line" > log 2>&1 < /dev/null || { cat log; fail "README: $line"; } ;;
    test | --dry-run) [ -x "$source/waggle" ] || fail "README: $line" ;;
    *)
      "$waggle" "$name" --help > log 2>&1 || fail "README: $line: there is no such command"
      for option in $(echo "$line" | grep -oE -- ' --[a-z-]+' || true); do grep -q -- "$option" log || fail "README: $line: no option $option"; done
      recipe=$(echo "$line" | grep -oE 'recipes/[a-z0-9-]+' || true)
      if [ -n "$recipe" ] && [ ! -f "$recipe/recipe.toml" ]; then fail "README: $line: there is no $recipe"; fi ;;
  esac
  checked=$((checked + 1))
done <<< "$commands"
[ "$checked" -ge 5 ] || fail "only $checked commands were found in README.md"

# Looking at things works and says something.
expect() {  # expect TEXT COMMAND...: exit 0, and TEXT among what is printed
  local text=$1; shift
  "$@" > log 2>&1 || { cat log; fail "$*"; return 0; }
  grep -qF -- "$text" log || { cat log; fail "$*: no '$text'"; }
}
expect "version 12 of 12" ./waggle inspect runs/demo
expect "samples of the last evaluation" ./waggle inspect runs/demo --samples
expect "LlamaForCausalLM" ./waggle inspect runs/demo/model
expect "checkpoint" ./waggle inspect runs/demo/checkpoints/step-00000012
expect "8 groups, 32 rollouts" ./waggle inspect runs/demo/rollouts/step-00000012.bin
for name in $(./waggle env list | cut -d' ' -f1); do
  expect "$name" ./waggle env show "$name"
  case "$name" in gsm8k) continue ;; esac  # needs the user's file
  expect "fit for training" ./waggle env check "$name" --count 50
  ./waggle env sample "$name" > log 2>&1 || { cat log; fail "env sample $name"; }
done

# Mistakes get exit code 2 and a sentence that names the mistake and the way on.
refuse() {  # refuse TEXT COMMAND...
  local text=$1 code=0; shift
  "$@" > log 2>&1 || code=$?
  if [ "$code" -ne 2 ] || ! grep -qF -- "$text" log; then cat log; fail "$*: exit code $code, wanted 2 and '$text'"; fi
}
refuse "did you mean 'orchestrator.steps'?" ./waggle run recipes/demo --set orchestrator.step=5 --out none
refuse "recipes/dmo" ./waggle run recipes/dmo --out none
refuse "waggle resume" ./waggle run recipes/demo --out runs/demo
refuse "waggle env list" ./waggle env show sorting
refuse "did you mean" ./waggle env sample sort --set lenght_max=3
refuse "config.json" ./waggle inspect recipes/demo/..
refuse "outside the vocabulary" ./waggle score --model runs/demo/model --ids 1,99999
[ ! -e none ] || fail "a refused run left a folder"

# The report is one file that asks for nothing; TensorBoard's format is read by an independent reader.
if grep -nE '<(script|link|img|iframe)|https?://|url\(|@import' runs/demo/report.html; then fail "the report is not self-contained"; fi
if command -v python3 > /dev/null; then
  python3 "$source/tests/run/tensorboard_reader.py" runs/demo/events.out.tfevents.* > events || fail "TensorBoard file"
  [ "$(grep -c 'reward/mean' events)" -eq 12 ] || fail "TensorBoard file: not every step is there"
  python3 - runs/demo/metrics.jsonl events <<'PYTHON' || fail "TensorBoard file and metrics.jsonl differ"
import json, struct, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
wanted = {(row["step"], key): value for row in rows for key, value in row.items() if key != "step"}
for line in open(sys.argv[2]):
    step, tag, value = line.split()
    if tag.startswith("eval/"): continue
    exact = struct.unpack("<f", struct.pack("<f", wanted.pop((int(step), tag))))[0]
    assert float(value) == exact, line
assert not wanted, wanted
PYTHON
fi
exit "$failures"
