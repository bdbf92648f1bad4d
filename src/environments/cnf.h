// Formulas in conjunctive normal form: DIMACS text, models, checking, and a small complete search.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace waggle {

// Literal v is variable v (1-based), -v its negation.
struct Cnf {
  std::uint32_t variables = 0;
  std::vector<std::vector<std::int32_t>> clauses;
  bool operator==(const Cnf&) const = default;
};

struct CnfLimits {
  std::uint32_t variables_max = 1u << 20;
  std::size_t literals_max = 1u << 22;
};

// DIMACS, with SATLIB's closing "%" line. Refuses literals beyond the declared variables and a
// wrong number of clauses.
Result<Cnf> ParseDimacs(std::string_view text, const CnfLimits& limits = {});

// assignment[v - 1] is variable v. REQUIRES assignment.size() == variables.
bool Satisfies(const Cnf& cnf, const std::vector<bool>& assignment);
double SatisfiedShare(const Cnf& cnf,
                      const std::vector<bool>& assignment);  // of the clauses; 1 for none

// "v 1 -2 3 0" lines (the "v" optional; "s", "c" lines skipped), possibly partial: missing
// variables are false. nullopt for literals out of range or a variable with both signs.
std::optional<std::vector<bool>> ParseModel(std::string_view text, std::uint32_t variables);

// The lexicographically smallest model (false before true). decisions_max bounds the search:
// kUnknown beyond it.
enum class Satisfiability : std::uint8_t { kSat, kUnsat, kUnknown };
struct SearchResult {
  Satisfiability status = Satisfiability::kUnknown;
  std::vector<bool> model;  // if kSat
};
SearchResult SolveCnf(const Cnf& cnf, std::uint64_t decisions_max = 100000);

}  // namespace waggle
