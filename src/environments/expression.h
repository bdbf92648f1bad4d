// Arithmetic expressions over whole numbers, evaluated exactly: + - * / and parentheses, nothing
// else. For text that a policy wrote, so every form of abuse (depth, length, overflow, division by
// zero) is a refusal, never a surprise.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace waggle {

// A fraction in lowest terms, denominator > 0.
struct Rational {
  std::int64_t numerator = 0, denominator = 1;
  bool operator==(const Rational&) const = default;
  bool IsInteger() const { return denominator == 1; }
  std::string Text() const;  // "3", "-7/2"
};

// Exact results; Fail where it does not fit 64 bits, and for x / 0.
Result<Rational> Add(const Rational& a, const Rational& b);
Result<Rational> Subtract(const Rational& a, const Rational& b);
Result<Rational> Multiply(const Rational& a, const Rational& b);
Result<Rational> Divide(const Rational& a, const Rational& b);
Result<Rational> Apply(char operation, const Rational& a, const Rational& b);

struct ExpressionLimits {
  std::size_t characters_max = 512;
  std::size_t depth_max = 32;
  bool unary_minus = false;
};

struct Evaluated {
  Rational value;
  std::vector<std::int64_t> numbers;  // the literals, in order
};

// Grammar: sum = product {(+|-) product}; product = atom {(*|/) atom}; atom = digits | ( sum ) | -
// atom (if allowed). ASCII spaces are skipped between symbols. Literals below 10^15. Blame::kPeer
// on every refusal.
Result<Evaluated> EvaluateExpression(std::string_view text, const ExpressionLimits& limits = {});

}  // namespace waggle
