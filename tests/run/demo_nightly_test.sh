#!/usr/bin/env bash
# The demo learns, a coin instead of the grader does not, and the thread count changes no bit.
# Usage: demo_nightly_test.sh WAGGLE SOURCE_DIR
set -euo pipefail
waggle=$1 recipe=$2/recipes/demo
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export XDG_CACHE_HOME=$scratch/cache

hash_of() { sed -n 's/.*"weight_hash": "\([0-9a-f]*\)".*/\1/p' "$1/result.json"; }
percent() { sed -n "${2}p" "$1/evaluations.jsonl" | sed 's/.*"accuracy":\([0-9.]*\).*/\1/' | awk '{printf "%d", $1 * 100}'; }
fail() { echo "FAILED: $1"; exit 1; }

"$waggle" run "$recipe" --out "$scratch/two" --threads 2 --quiet > /dev/null
"$waggle" run "$recipe" --out "$scratch/one" --threads 1 --quiet > /dev/null
[ -n "$(hash_of "$scratch/one")" ] || fail "no result"
[ "$(hash_of "$scratch/one")" = "$(hash_of "$scratch/two")" ] || fail "one and two threads end in different weights"
before=$(percent "$scratch/one" 1) after=$(percent "$scratch/one" '$')
echo "held-out accuracy $before % -> $after %"
[ "$after" -ge 85 ] || fail "the demo ends below 85 %"
[ $((after - before)) -ge 40 ] || fail "the demo rises by less than 40 points"

"$waggle" run "$recipe" --out "$scratch/coin" --set orchestrator.reward=random --quiet > /dev/null
coin=$(percent "$scratch/coin" '$')
echo "with a coin for a reward: $before % -> $coin %"
[ "$coin" -le $((before + 10)) ] || fail "a random reward must not teach the task"
