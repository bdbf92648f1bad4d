#include "environments/cnf.h"

#include <charconv>

#include "base/check.h"

namespace waggle {
namespace {

// Whitespace-separated words of one line.
std::vector<std::string_view> WordsOf(std::string_view line) {
  std::vector<std::string_view> words;
  constexpr std::string_view kSpace = " \t\r";
  for (std::size_t at = line.find_first_not_of(kSpace); at != std::string_view::npos;
       at = line.find_first_not_of(kSpace, at)) {
    const std::size_t end = std::min(line.find_first_of(kSpace, at), line.size());
    words.push_back(line.substr(at, end - at));
    at = end;
  }
  return words;
}

template <class Integer>
bool ReadInteger(std::string_view word, Integer& value) {
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  return error == std::errc{} && end == word.data() + word.size();
}

std::size_t VariableOf(std::int32_t literal) {
  return static_cast<std::size_t>(literal < 0 ? -literal : literal) - 1;
}

// Depth-first search in variable order with unit propagation over whole passes; formulas here are
// small.
class Search {
 public:
  Search(const Cnf& cnf, std::uint64_t decisions_max)
      : cnf_(cnf), budget_(decisions_max), value_(cnf.variables, kOpen) {}

  SearchResult Run() {
    struct Decision {
      std::size_t variable;
      std::size_t trail;
    };
    std::vector<Decision> decisions;
    for (;;) {
      if (Propagate()) {
        std::size_t next = 0;
        while (next < value_.size() && value_[next] != kOpen) ++next;
        if (next == value_.size()) return {Satisfiability::kSat, Model()};
        if (budget_-- == 0) return {};
        decisions.push_back({next, trail_.size()});
        Set(next, kFalse);
        continue;
      }
      // Conflict: the latest decision that was "false" becomes "true", as a consequence of those
      // before it.
      if (decisions.empty()) return {Satisfiability::kUnsat, {}};
      while (trail_.size() > decisions.back().trail) {
        value_[trail_.back()] = kOpen;
        trail_.pop_back();
      }
      const std::size_t variable = decisions.back().variable;
      decisions.pop_back();
      Set(variable, kTrue);
    }
  }

 private:
  enum : std::uint8_t { kFalse, kTrue, kOpen };

  void Set(std::size_t variable, std::uint8_t value) {
    value_[variable] = value;
    trail_.push_back(variable);
  }
  // False on a conflict.
  bool Propagate() {
    for (bool changed = true; changed;) {
      changed = false;
      for (const auto& clause : cnf_.clauses) {
        std::int32_t unit = 0;
        int open = 0;
        bool satisfied = false;
        for (const std::int32_t literal : clause) {
          const std::uint8_t value = value_[VariableOf(literal)];
          satisfied = satisfied || value == (literal > 0 ? kTrue : kFalse);
          if (value == kOpen && literal != unit) {
            ++open;
            unit = literal;
          }
        }
        if (satisfied || open > 1) continue;
        if (open == 0) return false;
        Set(VariableOf(unit), unit > 0 ? kTrue : kFalse);
        changed = true;
      }
    }
    return true;
  }
  std::vector<bool> Model() const {
    std::vector<bool> model;
    for (const std::uint8_t value : value_) model.push_back(value == kTrue);
    return model;
  }

  const Cnf& cnf_;
  std::uint64_t budget_;
  std::vector<std::uint8_t> value_;
  std::vector<std::size_t> trail_;
};

}  // namespace

Result<Cnf> ParseDimacs(std::string_view text, const CnfLimits& limits) {
  Cnf cnf;
  bool header = false;
  std::size_t declared = 0, literals = 0, line_number = 0;
  std::vector<std::int32_t> clause;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const auto words = WordsOf(text.substr(at, end - at));
    at = end + 1;
    ++line_number;
    if (words.empty() || words[0].starts_with('c')) continue;
    if (words[0] == "%") break;
    if (words[0] == "p") {
      if (header || words.size() != 4 || words[1] != "cnf" ||
          !ReadInteger(words[2], cnf.variables) || !ReadInteger(words[3], declared)) {
        return Fail(Blame::kPeer, "line {}: expected one line 'p cnf VARIABLES CLAUSES'",
                    line_number);
      }
      if (cnf.variables > limits.variables_max)
        return Fail(Blame::kPeer, "line {}: {} variables, limit {}", line_number, cnf.variables,
                    limits.variables_max);
      header = true;
      continue;
    }
    if (!header)
      return Fail(Blame::kPeer, "line {}: a clause before the 'p cnf' line", line_number);
    for (const std::string_view word : words) {
      std::int32_t literal = 0;
      const auto max = static_cast<std::int32_t>(cnf.variables);
      if (!ReadInteger(word, literal) || literal > max || literal < -max) {
        return Fail(Blame::kPeer, "line {}: '{}' is no literal", line_number, word.substr(0, 20));
      }
      if (++literals > limits.literals_max)
        return Fail(Blame::kPeer, "line {}: more than {} literals", line_number,
                    limits.literals_max);
      if (literal != 0) {
        clause.push_back(literal);
      } else {
        cnf.clauses.push_back(std::move(clause));
        clause.clear();
      }
    }
  }
  if (!header) return Fail(Blame::kPeer, "no 'p cnf' line");
  if (!clause.empty()) cnf.clauses.push_back(std::move(clause));
  if (cnf.clauses.size() != declared)
    return Fail(Blame::kPeer, "{} clauses, {} declared", cnf.clauses.size(), declared);
  return cnf;
}

double SatisfiedShare(const Cnf& cnf, const std::vector<bool>& assignment) {
  Check(assignment.size() == cnf.variables, "an assignment has a value for every variable");
  std::size_t satisfied = 0;
  for (const auto& clause : cnf.clauses) {
    for (const std::int32_t literal : clause) {
      if (assignment[VariableOf(literal)] != (literal > 0)) continue;
      ++satisfied;
      break;
    }
  }
  if (cnf.clauses.empty()) return 1.0;
  return static_cast<double>(satisfied) / static_cast<double>(cnf.clauses.size());
}

bool Satisfies(const Cnf& cnf, const std::vector<bool>& assignment) {
  return SatisfiedShare(cnf, assignment) == 1.0;
}

std::optional<std::vector<bool>> ParseModel(std::string_view text, std::uint32_t variables) {
  std::vector<bool> model(variables, false), seen(variables, false);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const auto words = WordsOf(text.substr(at, end - at));
    at = end + 1;
    if (words.empty() || words[0] == "s" || words[0] == "c") continue;
    for (const std::string_view word : words) {
      if (word == "v" || word == "0") continue;
      std::int32_t literal = 0;
      if (!ReadInteger(word, literal) || literal == 0 || literal == INT32_MIN) return std::nullopt;
      const std::size_t variable = VariableOf(literal);
      if (variable >= variables || (seen[variable] && model[variable] != (literal > 0)))
        return std::nullopt;
      seen[variable] = true;
      model[variable] = literal > 0;
    }
  }
  return model;
}

SearchResult SolveCnf(const Cnf& cnf, std::uint64_t decisions_max) {
  return Search(cnf, decisions_max).Run();
}

}  // namespace waggle
