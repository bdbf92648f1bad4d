// What each cell of the matrix has to be. The letters are Letter()'s, in the order of ZooTiers():
// arrival, exact; toploc, toploc+, grail-v4, grail-v5, sketch-quorum, dense, verillm; race,
// log-probs, sampling, grail-distribution; ledger, step, monitors. docs/security.md says why.
#include <map>
#include <string>

#include "base/check.h"
#include "zoo/matrix.h"

namespace waggle {
namespace {

// A space between groups of tiers, for the eye.
const std::map<std::string_view, std::string_view>& Table() {
  static const std::map<std::string_view, std::string_view> table = {
      // arrival exact, states, tokens, ledger step monitors
      // workers: weights
      {"wrong-model", "CC CCCCCCC CCp- C--"},
      {"nearby-weights", "CC CCCCpCC pCp- C--"},
      {"int8-weights", "CC CCCCCCC pCp- C--"},
      {"int4-weights", "CC CCCCCCC CCp- C--"},
      {"lora-removed", "CC CCCCCCC CCp- C--"},
      {"stale-relabelled", "CC CCCCCCC CCp- C--"},
      {"neighbour-version", "pp bbbbbbb bbb- $--"},
      {"draft-then-prefill", "pC bbbbbbb Cbp- C--"},
      // workers: sampling
      {"temperature-changed", "pC bbbbbbb Cbp- C--"},
      {"greedy", "pC bbbbbbb Cbp- C--"},
      {"replaced-seed", "pC bbbbbbb Cbb- C--"},
      {"best-of-n", "pC bbbbbbb Cbb- C--"},
      {"version-shopping", "pp bbbbbbb bbb- $--"},
      {"span-shopping", "CC bbbbbbb bbb- $--"},
      {"truncated-thinking", "pC bbbbbbb CbC- C--"},
      {"cut-short", "CC bbbbbbb bbC- C--"},
      {"prompt-injected", "CC CCCCCCC CCp- C--"},
      {"easy-task", "CC bbbbbbb Cbb- C--"},
      // workers: copies and forgeries
      {"copied-verbatim", "Cp bbbbbbb bbb- ---"},
      {"copied-relabelled", "CC bbbbbbb Cbb- C--"},
      {"copied-from-itself", "pC bbbbbbb Cbb- C--"},
      {"re-ordered", "pC bbbbbbb Cbb- C--"},
      {"forged-logps", "CC bbbbbbb bCb- C--"},
      {"forged-reward", "pC bbbbbbb bbb- C--"},
      {"masked-tokens", "CC bbbbbbb bbb- C--"},
      {"poisoned-rollout", "pC bbbbbbb CbC- C--"},
      {"constant-toploc", "-- CCCCCCC bbb- C--"},
      {"zero-sketch", "-- CCCCCCC bbb- C--"},
      {"unrelated-states", "-- CCCCCCC bbb- C--"},
      // workers' conduct
      {"occasional", "-- ------- ---- C--"},
      {"equivocation", "-- ------- ---- C--"},
      {"withheld-data", "-- ------- ---- C--"},
      {"late-upload", "-- ------- ---- C--"},
      {"sybil-split", "-- ------- ---- C--"},
      // validators
      {"lazy-validator", "-C ------- ---- C--"},
      {"false-accuser", "-C ------- ---- C--"},
      {"colluding-third", "-C ------- ---- p--"},
      {"colluding-two-drawn", "-C ------- ---- C--"},
      {"beacon-withholder", "-- ------- ---- C--"},
      // trainers
      {"skipped-samples", "-- ------- ---- -C-"},
      {"scaled-gradient", "-- ------- ---- -C-"},
      {"swapped-data", "-- ------- ---- -C-"},
      {"chosen-batch", "-- ------- ---- -C-"},
      // policies
      {"hack-format", "-- ------- ---- --C"},
      {"hack-length", "-- ------- ---- --C"},
      {"hack-repetition", "-- ------- ---- --C"},
      {"hack-shared-hole", "-- ------- ---- --p"},
  };
  return table;
}

}  // namespace

std::string_view ExpectedOf(std::string_view adversary) {
  static const std::map<std::string_view, std::string> letters = [] {
    std::map<std::string_view, std::string> packed;
    for (const auto& [name, text] : Table()) {
      for (const char c : text) {
        if (c != ' ') packed[name] += c;
      }
    }
    return packed;
  }();
  const auto found = letters.find(adversary);
  return found == letters.end() ? std::string_view("????????????????") : found->second;
}

}  // namespace waggle
