// Search over all ways to combine the numbers, two at a time.
#include <algorithm>

#include "environments/countdown.h"

namespace waggle {
namespace {

struct Term {
  Rational value;
  std::string text;
  int strength = 2;  // 2: number, 1: product or quotient, 0: sum or difference
};

std::string Wrapped(const Term& term, int weakest) {
  return term.strength < weakest ? "(" + term.text + ")" : term.text;
}

std::optional<Term> Combine(char operation, const Term& a, const Term& b) {
  const auto value = Apply(operation, a.value, b.value);
  if (!value) return std::nullopt;
  switch (operation) {
    case '+':
      return Term{*value, a.text + "+" + b.text, 0};
    case '-':
      return Term{*value, a.text + "-" + Wrapped(b, 1), 0};
    case '*':
      return Term{*value, Wrapped(a, 1) + "*" + Wrapped(b, 1), 1};
    default:
      return Term{*value, Wrapped(a, 1) + "/" + Wrapped(b, 2), 1};
  }
}

std::optional<std::string> Search(const std::vector<Term>& terms, const Rational& target) {
  if (terms.size() == 1)
    return terms[0].value == target ? std::optional(terms[0].text) : std::nullopt;
  for (std::size_t i = 0; i < terms.size(); ++i) {
    for (std::size_t j = 0; j < terms.size(); ++j) {
      if (i == j) continue;
      for (const char operation : {'+', '-', '*', '/'}) {
        if (i > j && (operation == '+' || operation == '*')) continue;  // commutative
        auto combined = Combine(operation, terms[i], terms[j]);
        if (!combined) continue;
        std::vector<Term> rest = {std::move(*combined)};
        for (std::size_t k = 0; k < terms.size(); ++k) {
          if (k != i && k != j) rest.push_back(terms[k]);
        }
        if (auto found = Search(rest, target)) return found;
      }
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> SolveCountdown(std::span<const std::int64_t> numbers,
                                          std::int64_t target) {
  if (numbers.empty() || numbers.size() > 6) return std::nullopt;
  std::vector<Term> terms;
  for (const std::int64_t number : numbers)
    terms.push_back({{number, 1}, std::to_string(number), 2});
  return Search(terms, {target, 1});
}

}  // namespace waggle
