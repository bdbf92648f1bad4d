#include "environments/expression.h"

#include <limits>
#include <numeric>

namespace waggle {
namespace {

using Wide = __int128;

Result<Rational> Reduced(Wide numerator, Wide denominator) {
  if (denominator < 0) {
    numerator = -numerator;
    denominator = -denominator;
  }
  Wide a = numerator < 0 ? -numerator : numerator, b = denominator;
  while (b != 0) {
    const Wide rest = a % b;
    a = b;
    b = rest;
  }
  numerator /= a;
  denominator /= a;
  // Symmetric, so that negation never overflows either.
  constexpr Wide kMax = std::numeric_limits<std::int64_t>::max();
  if (numerator > kMax || numerator < -kMax || denominator > kMax) {
    return Fail(Blame::kPeer, "the value does not fit 64 bits");
  }
  return Rational{static_cast<std::int64_t>(numerator), static_cast<std::int64_t>(denominator)};
}

class Parser {
 public:
  Parser(std::string_view text, const ExpressionLimits& limits) : text_(text), limits_(limits) {}

  Result<Evaluated> Run() {
    WG_ASSIGN(const Rational value, Sum(0));
    if (Peek() != '\0') return Unexpected();
    return Evaluated{value, std::move(numbers_)};
  }

 private:
  Result<Rational> Sum(std::size_t depth) {
    WG_ASSIGN(Rational value, Product(depth));
    while (Peek() == '+' || Peek() == '-') {
      const char operation = text_[at_++];
      WG_ASSIGN(const Rational right, Product(depth));
      WG_ASSIGN(value, Apply(operation, value, right));
    }
    return value;
  }
  Result<Rational> Product(std::size_t depth) {
    WG_ASSIGN(Rational value, Atom(depth));
    while (Peek() == '*' || Peek() == '/') {
      const char operation = text_[at_++];
      WG_ASSIGN(const Rational right, Atom(depth));
      WG_ASSIGN(value, Apply(operation, value, right));
    }
    return value;
  }
  Result<Rational> Atom(std::size_t depth) {
    if (depth > limits_.depth_max)
      return Fail(Blame::kPeer, "character {}: nested deeper than {}", at_, limits_.depth_max);
    const char next = Peek();
    if (next == '(') {
      ++at_;
      WG_ASSIGN(const Rational value, Sum(depth + 1));
      if (Peek() != ')') return Unexpected();
      ++at_;
      return value;
    }
    if (next == '-' && limits_.unary_minus) {
      ++at_;
      WG_ASSIGN(const Rational value, Atom(depth + 1));
      return Rational{-value.numerator, value.denominator};
    }
    if (next < '0' || next > '9') return Unexpected();
    return Literal();
  }
  Result<Rational> Literal() {
    const std::size_t begin = at_;
    std::int64_t value = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      if (at_ - begin >= 15)
        return Fail(Blame::kPeer, "character {}: a number of more than 15 digits", begin);
      value = value * 10 + (text_[at_] - '0');
    }
    numbers_.push_back(value);
    return Rational{value, 1};
  }

  // The next symbol, '\0' at the end. A NUL byte in the text is no symbol: it becomes '?', which no
  // rule accepts.
  char Peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
    if (at_ == text_.size()) return '\0';
    return text_[at_] == '\0' ? '?' : text_[at_];
  }
  tl::unexpected<Error> Unexpected() {
    if (Peek() == '\0') return Fail(Blame::kPeer, "the expression ends too early");
    return Fail(Blame::kPeer, "character {}: byte {:#04x} was not expected", at_,
                static_cast<unsigned char>(text_[at_]));
  }

  std::string_view text_;
  const ExpressionLimits& limits_;
  std::size_t at_ = 0;
  std::vector<std::int64_t> numbers_;
};

}  // namespace

std::string Rational::Text() const {
  return denominator == 1 ? std::to_string(numerator)
                          : fmt::format("{}/{}", numerator, denominator);
}

// |numerators|, denominators < 2^63, so each product is below 2^126 and a sum of two below 2^127:
// no 128-bit overflow.
Result<Rational> Add(const Rational& a, const Rational& b) {
  return Reduced(Wide{a.numerator} * b.denominator + Wide{b.numerator} * a.denominator,
                 Wide{a.denominator} * b.denominator);
}
Result<Rational> Subtract(const Rational& a, const Rational& b) {
  return Reduced(Wide{a.numerator} * b.denominator - Wide{b.numerator} * a.denominator,
                 Wide{a.denominator} * b.denominator);
}
Result<Rational> Multiply(const Rational& a, const Rational& b) {
  return Reduced(Wide{a.numerator} * b.numerator, Wide{a.denominator} * b.denominator);
}
Result<Rational> Divide(const Rational& a, const Rational& b) {
  if (b.numerator == 0) return Fail(Blame::kPeer, "division by zero");
  return Reduced(Wide{a.numerator} * b.denominator, Wide{a.denominator} * b.numerator);
}
Result<Rational> Apply(char operation, const Rational& a, const Rational& b) {
  switch (operation) {
    case '+':
      return Add(a, b);
    case '-':
      return Subtract(a, b);
    case '*':
      return Multiply(a, b);
    case '/':
      return Divide(a, b);
    default:
      return Fail(Blame::kBug, "no operation '{}'", operation);
  }
}

Result<Evaluated> EvaluateExpression(std::string_view text, const ExpressionLimits& limits) {
  if (text.size() > limits.characters_max) {
    return Fail(Blame::kPeer, "an expression of {} characters, limit {}", text.size(),
                limits.characters_max);
  }
  return Parser(text, limits).Run();
}

}  // namespace waggle
