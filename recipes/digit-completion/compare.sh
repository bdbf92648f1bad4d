#!/bin/sh
# Trains digit-completion once per algorithm and seed, everything else equal, and prints a Markdown table: the first step
# whose batch mean passes the published bar, the best batch, and the mean of the last twenty batches.
#
#   recipes/digit-completion/compare.sh [waggle run options, e.g. --threads 1 --set orchestrator.steps=400]
#
# Environment: WAGGLE (the program, default ./waggle), OUT (folder for the runs, default runs/compare), BAR (default 0.2),
# ALGORITHMS, SEEDS (both space-separated). A run whose folder is already complete is not repeated.
set -eu
here=$(dirname "$0")
waggle=${WAGGLE:-./waggle}
out=${OUT:-runs/compare}
algorithms=${ALGORITHMS:-grpo dr-grpo rloo reinforce reinforce++ rf++-baseline ppo-rlhf dapo gspo cispo liteppo gpg passk}
mkdir -p "$out"
echo "| algorithm | seed | steps | first batch above ${BAR:-0.2} | best batch (step) | mean of the last 20 | weight hash |"
echo "|---|---|---|---|---|---|---|"
for algorithm in $algorithms; do
  # A row's own defaults stay, but for four that this benchmark gives other values: no KL penalty (the starting policy is
  # noise), a critic as fast as the policy, and length bounds that fit a budget of 32 tokens.
  extra=""
  case $algorithm in
    dr-grpo) extra="--set trainer.algorithm.length_max=32" ;;
    ppo-rlhf) extra="--set trainer.algorithm.critic.lr=1e-4" ;;
    dapo) extra="--set trainer.algorithm.shaping.overlong_tokens=32 --set trainer.algorithm.shaping.overlong_buffer=8" ;;
  esac
  for seed in ${SEEDS:-1}; do
    run=$out/$algorithm-$seed
    if [ ! -f "$run/result.json" ]; then
      rm -rf "$run"
      # $extra is a list of words.
      # shellcheck disable=SC2086
      "$waggle" run "$here" --out "$run" --set seed="$seed" --set model.seed="$seed" \
        --set trainer.algorithm.name="$algorithm" --set trainer.algorithm.kl.mode=none $extra "$@" >"$run.log" 2>&1 || {
        echo "| $algorithm | $seed | failed: see $run.log |"
        continue
      }
    fi
    # One JSON object a line; only two of its numbers matter.
    sed -n 's/^{"step":\([0-9]*\),.*"reward\/mean":\([^,]*\),.*/\1 \2/p' "$run/metrics.jsonl" |
      awk -v bar="${BAR:-0.2}" -v name="$algorithm" -v seed="$seed" \
        -v hash="$(sed -n 's/.*"weight_hash": *"\(............\).*/\1/p' "$run/result.json")" '
        { r[NR] = $2; if ($2 > bar && !first) first = $1; if (NR == 1 || $2 > best) { best = $2; at = $1 } }
        END {
          from = NR > 20 ? NR - 19 : 1
          for (i = from; i <= NR; ++i) sum += r[i]
          printf "| %s | %s | %d | %s | %.3f (%d) | %.3f | %s |\n", name, seed, NR, first ? first : "none", best, at,
            NR ? sum / (NR - from + 1) : 0, hash
        }'
  done
done
