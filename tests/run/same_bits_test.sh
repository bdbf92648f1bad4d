#!/usr/bin/env bash
# One recipe, every instruction set and thread count of this machine: one weight hash.
# Usage: same_bits_test.sh WAGGLE SOURCE_DIR
set -euo pipefail
waggle=$1 recipe=$2/tests/run/tiny.toml
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
kernels=$("$waggle" kat --list)
expected=""
for isa in $kernels; do
  for threads in 1 2 3; do
    [ "$isa" = reference ] && [ "$threads" -ne 2 ] && continue
    export XDG_CACHE_HOME=$scratch/cache-$isa-$threads  # the base model is made anew by each
    run=$scratch/$isa-$threads
    "$waggle" run "$recipe" --out "$run" --isa "$isa" --threads "$threads" --quiet --set sampling.step_tokens=$((threads * 40)) > /dev/null
    hash=$(sed -n 's/.*"weight_hash": "\([0-9a-f]*\)".*/\1/p' "$run/result.json")
    expected=${expected:-$hash}
    if grep -q '"train/gradient_norm":0.0,' "$run/metrics.jsonl"; then echo "FAILED: a step without a gradient compares nothing"; exit 1; fi
    echo "$isa, $threads thread(s): $hash"
    if [ -z "$hash" ] || [ "$hash" != "$expected" ]; then echo "FAILED: expected $expected"; exit 1; fi
  done
done
