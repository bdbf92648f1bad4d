// Boolean satisfiability: find values that satisfy every clause. Checking is linear, cannot be
// argued with, and gives a certificate: there is nothing to hack.
#pragma once

#include <memory>

#include "base/config.h"
#include "environments/cnf.h"
#include "environments/environment.h"

namespace waggle {

struct SatConfig {
  std::string style = "letters", law = "sized";
  std::uint32_t variables_min = 3, variables_max = 5, clauses_percent = 250;
  bool satisfiable_only = true, law_seeds = false;
  double format_weight = 0.1, clauses_weight = 0;

  template <class V>
  void Visit(V&& v) {
    v("style", style, OneOf{"letters", "compact", "tags"},
      "letters: \"5 Ebd Dga=\" (capital: negated) answered by \"01101\"; compact: signed numbers; "
      "tags: English, the answer in <SOLUTION> tags.");
    v("law", law, OneOf{"sized", "network"},
      "sized: the sizes below; network: the instance law of a deployed network, 5 to 11 "
      "variables.");
    v("variables_min", variables_min, Range<std::uint32_t>{3, 40}, "Fewest variables (law sized).");
    v("variables_max", variables_max, Range<std::uint32_t>{3, 40}, "Most variables (law sized).");
    v("clauses_percent", clauses_percent, Range<std::uint32_t>{50, 500},
      "Clauses per 100 variables (law sized); hardest near 430.");
    v("satisfiable_only", satisfiable_only, Any{}, "Leave out formulas without a solution.");
    v("law_seeds", law_seeds, Any{},
      "The task seed is the law's own seed, unfiltered: for exchange with that network; held-out "
      "tasks use seeds above 2^32.");
    v("format_weight", format_weight, Range<double>{0, 0.5},
      "Part of the reward given for one value per variable (styles letters and compact).");
    v("clauses_weight", clauses_weight, Range<double>{0, 0.5},
      "Part of the reward given for the share of satisfied clauses (same styles).");
  }
};

// Reward components, styles letters and compact: correct, format, clauses (weights add up to 1).
// Style tags: the network's own sheet: correct 1.0 x {1, 0, -0.2 malformed}, strict_format 0.15 x
// 0.3, soft_format 0.10 x 0.2, shape 0.15 x 0.3, no_trailing 0.10 x max(0, 0.2 - 0.001 characters),
// characters 0.05 x 0.1; at most 1.135.
Result<std::unique_ptr<Environment>> MakeSat(const SatConfig& config);

// The instance law of spec grail.md 1.3, exactly.
Cnf NetworkSatInstance(std::uint64_t seed);

}  // namespace waggle
