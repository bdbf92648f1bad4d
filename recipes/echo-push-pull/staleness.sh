#!/bin/sh
# How much staleness learning bears: trains echo-pull with batches that are A versions old, everything else equal, and
# prints a Markdown table of the held-out accuracy at the end and at its best. A = 0 is the synchronous run (echo-pull).
#
#   recipes/echo-push-pull/staleness.sh [waggle run options, e.g. --threads 1]
#
# Environment: WAGGLE (the program, default ./waggle), OUT (folder for the runs, default runs/staleness), AHEAD, SEEDS, RATES
# (space-separated). A run whose folder is already complete is not repeated.
set -eu
here=$(dirname "$0")
waggle=${WAGGLE:-./waggle}
out=${OUT:-runs/staleness}
mkdir -p "$out"
echo "| learning rate | versions old | seed | start | best | end | weight hash |"
echo "|---|---|---|---|---|---|---|"
for rate in ${RATES:-1e-4 1e-3}; do
  for ahead in ${AHEAD:-0 4 11}; do
    for seed in ${SEEDS:-1 2 3}; do
      run=$out/lr$rate-a$ahead-s$seed
      if [ ! -f "$run/result.json" ]; then
        rm -rf "$run"
        "$waggle" run "$here/../echo-pull" --out "$run" --quiet --set seed="$seed" --set trainer.optimizer.lr="$rate" \
          --set orchestrator.ahead="$ahead" --set orchestrator.lag_versions_max=32 "$@" >"$run.log" 2>&1 || {
          echo "| $rate | $ahead | $seed | failed: see $run.log |"
          continue
        }
      fi
      sed -n 's/.*"accuracy":\([0-9.e-]*\),.*/\1/p' "$run/evaluations.jsonl" |
        awk -v rate="$rate" -v ahead="$ahead" -v seed="$seed" \
          -v hash="$(sed -n 's/.*"weight_hash": *"\(............\).*/\1/p' "$run/result.json")" '
          { a[NR] = 100 * $1; if (a[NR] > best) best = a[NR] }
          END { printf "| %s | %s | %s | %.1f %% | %.1f %% | %.1f %% | %s |\n", rate, ahead, seed, a[1], best, a[NR], hash }'
    done
  done
done
